"""What benchmarks share: segments as the test split has them, and ratings."""

import numpy as np

from kit.ranking import Ranking

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


def ranking_of(order, ids, starts, scores=None):
    """A ranking whose lists `order`, `(num_classes, k)`, are all full."""
    num_classes, k = order.shape
    offsets = np.arange(num_classes + 1) * k
    classes = np.arange(num_classes)
    return Ranking(classes, ids, starts, offsets, order.ravel(), scores)
