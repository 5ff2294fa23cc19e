"""What a ranking lists and what was rated, as plain pairs."""

import numpy as np
import pandas as pd


def pairs(video_ids, starts):
    """`(video_id, start)` of segments."""
    return list(zip(video_ids.tolist(), starts.tolist(), strict=True))


def listed(ranking, class_id):
    """The pairs that a ranking lists for a class, in order."""
    rows = ranking.indices(class_id)
    return pairs(ranking.video_ids[rows], ranking.starts[rows])


def rated(video_ids, score, start=0, label=0):
    """A table of ratings."""
    places = {"video_id": video_ids, "start": start}
    return pd.DataFrame(places | {"label": label, "score": score})


def truths_of(ratings, class_id):
    """Each pair that was rated for a class, and its score."""
    own = ratings["label"] == class_id
    names = np.asarray(ratings["video_id"][own], "S")
    rated = pairs(names, ratings["start"][own])
    return dict(zip(rated, ratings["score"][own].tolist(), strict=True))
