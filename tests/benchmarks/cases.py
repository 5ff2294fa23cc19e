"""What benchmarks share: segments as the test split has them, and ratings."""

import numpy as np

LETTERS = np.array(list("0123456789abcdefghijklmnopqrstuvwxyz"), "S1")


def segments(number):
    """Ids and starts of segments of these numbers, 46 of them a video."""
    digits = number[:, None] // 46 // 36 ** np.arange(3, -1, -1) % 36
    ids = LETTERS[digits].view("S4")[:, 0]
    return ids, (number % 46 * 5).astype(np.int32)


def ratings_of(ids, starts, rated, truth):
    """A table of ratings: `rated` and `truth` are `(num_classes, n)`."""
    num_classes, count = rated.shape
    return {
        "video_id": ids[rated.ravel()].astype("U4"),
        "start": starts[rated.ravel()],
        "label": np.repeat(np.arange(num_classes), count),
        "score": truth.ravel().astype(int),
    }


def truths_of(ratings, class_id):
    """`(video id, start)` to score of what was rated for a class."""
    own = ratings["label"] == class_id
    videos = np.char.encode(ratings["video_id"][own]).tolist()
    starts, scores = ratings["start"][own], ratings["score"][own]
    pairs = zip(videos, starts.tolist(), strict=True)
    return dict(zip(pairs, scores.tolist(), strict=True))


def listed(ranking, class_id):
    """`(video id, start)` of what a ranking lists for a class, in order."""
    rows = ranking.indices(class_id)
    videos, starts = ranking.video_ids[rows], ranking.starts[rows]
    return list(zip(videos.tolist(), starts.tolist(), strict=True))
