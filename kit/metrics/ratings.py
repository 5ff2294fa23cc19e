"""Ratings of segments, in the form that a metric reads."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from kit.ranking.table import as_ids, check_classes

COLUMNS = ["video_id", "start", "label", "score"]


class RatedPairs(NamedTuple):
    """The different rated (segment, class) pairs, P of them.

    They stand by class, then by `(video_id, start)`.
    """

    class_ids: np.ndarray  # (C,)
    column: np.ndarray  # (P,) index into class_ids
    truth: np.ndarray  # (P,) bool
    video_ids: np.ndarray  # (P,) bytes
    starts: np.ndarray  # (P,)

    def count_positives(self) -> np.ndarray:
        """Positives `(C,)` of each class."""
        size = len(self.class_ids)
        return np.bincount(self.column[self.truth], minlength=size)

    def ranks(self, ranking, k: int) -> np.ndarray:
        """Ranks `(P,)` in a ranking, from 1.

        0 stands for a pair that the list up to `k` lacks, -1 for a segment
        that the ranking does not know.

        Raises:
            ValueError: Where it knows none of the segments.
        """
        if k < 1:
            raise ValueError(f"`k` must be at least 1. Received: k={k}")
        ranks = ranking.ranks(
            self.class_ids[self.column], self.video_ids, self.starts
        )
        if (ranks < 0).all():
            raise ValueError(
                "Ratings must be of the segments that are ranked, and none of "
                "them is; are they of another split? Received: ratings of "
                f"{self.video_ids[:3].tolist()}..., a ranking of "
                f"{ranking.video_ids[:3].tolist()}..."
            )
        return np.where(ranks > k, 0, ranks)


def rated_pairs(ratings, class_ids=None) -> RatedPairs:
    """Rated pairs out of a table of ratings; one that is repeated is one.

    Args:
        ratings: A DataFrame or a dict of arrays with `video_id`, `start`,
            `label` (a class id) and `score` (1 yes, 0 no).  A pair that is
            not in it is unrated: unknown, not wrong.
        class_ids: The classes to keep.  Default: all that are rated.

    Raises:
        ValueError: For a column that is missing or holds something else, a
            pair rated both ways, or where there is no positive rating.
    """
    table = _table(ratings)
    if class_ids is None:
        class_ids = np.unique(table["label"])
    else:
        class_ids = check_classes(class_ids)
    table["column"] = pd.Index(class_ids).get_indexer(table["label"])
    pair = ["column", "video_id", "start"]
    table = table[table["column"] >= 0].drop_duplicates().sort_values(pair)
    both = table[table.duplicated(pair)]
    if len(both):
        raise ValueError(
            "A segment cannot be both positive and negative for a class; "
            f"remove one rating. Received: {both.iloc[0].to_dict()}"
        )
    if not table["score"].any():
        raise ValueError(
            "A metric needs a positive rating; look at the ratings. Received: "
            f"{len(table)} ratings of {len(class_ids)} classes, none positive"
        )
    return RatedPairs(
        class_ids,
        table["column"].to_numpy(),
        table["score"].to_numpy() == 1,
        as_ids(table["video_id"]),
        table["start"].to_numpy(),
    )


def _table(ratings):
    missing = [name for name in COLUMNS if name not in ratings]
    if missing:
        raise ValueError(
            f"Ratings need the columns {', '.join(COLUMNS)}. Received: "
            f"ratings without {', '.join(missing)}"
        )
    table = pd.DataFrame({name: np.asarray(ratings[name]) for name in COLUMNS})
    valid = table["score"].isin([0, 1])
    if not valid.all():
        raise ValueError(
            "A rating's `score` must be 1 (yes) or 0 (no); leave unrated pairs "
            f"out. Received: {table[~valid].iloc[0].to_dict()}"
        )
    table["video_id"] = as_ids(table["video_id"]).astype(object)
    return table.astype({"start": int, "label": int, "score": int})
