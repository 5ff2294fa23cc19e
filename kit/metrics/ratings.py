"""Ratings, and where a ranking has what they speak of."""

from typing import NamedTuple

import numpy as np


class RatedPairs(NamedTuple):
    """Rated pairs of the classes asked for, and their ranks in a ranking."""

    class_ids: np.ndarray  # (C,)
    video_ids: np.ndarray  # (V,) of the videos rated
    column: np.ndarray  # (P,) index into class_ids
    truth: np.ndarray  # (P,) bool
    video: np.ndarray  # (P,) index into video_ids
    start: np.ndarray  # (P,)
    rank: np.ndarray  # (P,) from 1; 0 not in the list up to K; -1 unknown


def rated_pairs(
    ranking, ratings, class_ids=None, k: int = 100_000
) -> RatedPairs:
    """The different rated pairs, by class, then by `(video_id, start)`."""
    video_id, start, label, score = _columns(ratings)
    classes = np.unique(label) if class_ids is None else class_ids
    classes = np.asarray(classes, np.int64)
    check(score, k)
    if not len(classes) or len(np.unique(classes)) < len(classes):
        raise ValueError(
            "MAP needs at least one class, each once. Received: "
            f"{len(classes)} classes"
        )
    for class_id in classes:
        listed = np.sort(ranking.indices(class_id))
        if (listed[1:] == listed[:-1]).any():
            raise ValueError(
                "A list must hold a segment once; remove the duplicates. "
                f"Received: class {class_id}"
            )
    keep = np.isin(label, classes)
    label, start = label[keep], start[keep]
    video_names, video = np.unique(video_id[keep], return_inverse=True)
    sorter = np.argsort(classes)
    column = sorter[np.searchsorted(classes, label, sorter=sorter)]
    truth = score[keep] == 1
    first = _once(column, video, start, truth)
    column, video, start = column[first], video[first], start[first]
    rank = ranking.ranks(classes[column], video_names[video], start)
    rank[rank > k] = 0
    return RatedPairs(
        classes, video_names, column, truth[first], video, start, rank
    )


def _columns(ratings):
    """Video ids, starts, labels and scores, refused where they are none."""
    names = ("video_id", "start", "label", "score")
    missing = [name for name in names if name not in ratings]
    columns = [np.asarray(ratings[n]) for n in names if n not in missing]
    lengths = [column.shape for column in columns]
    if missing or len(set(lengths)) > 1 or columns[0].ndim != 1:
        raise ValueError(
            f"Ratings need the columns {', '.join(names)}, of one length. "
            f"Received: lengths {lengths}, without {missing or 'none'}"
        )
    for place, name in enumerate(names[1:], 1):
        values = columns[place].astype(np.float64)
        bad = ~np.isfinite(values) | (values != np.floor(values))
        if name == "score":
            bad = (values != 0) & (values != 1)
        if bad.any():
            raise ValueError(
                "A rating's `start` and `label` must be whole numbers, its "
                "`score` 0 or 1; leave unrated pairs out. Received: "
                f"{name}={columns[place][bad][0]} in rating {np.argmax(bad)}"
            )
        columns[place] = values.astype(np.int64)
    return columns


def _once(column, video, start, truth):
    """Rows of the different pairs; a rating repeated counts once."""
    order = np.lexsort((truth, start, video, column))
    same = np.ones(max(len(order) - 1, 0), bool)
    for key in (column, video, start):
        same &= np.diff(key[order]) == 0
    clash = same & np.diff(truth[order])
    if clash.any():
        row = order[np.argmax(clash)]
        raise ValueError(
            "A segment cannot be both positive and negative for a class; "
            f"remove one rating. Received: start={start[row]}, rating {row}"
        )
    return order[np.r_[True, ~same][: len(order)]]


def check(targets, k) -> None:
    """Refuses answers that are none, and a cut that is none."""
    known = np.isin(targets, (-1, 0, 1))
    if not known.all():
        raise ValueError(
            "An answer must be 1 (yes), 0 (no) or -1 (unrated). Received: "
            f"{targets[~known][0]}"
        )
    if k < 1 or k % 1:
        raise ValueError(
            f"`k` must be a whole number of at least 1. Received: k={k}"
        )
