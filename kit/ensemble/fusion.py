"""Rankings made one, by eq. 20 of the paper or by their scores."""

import contextlib

import numpy as np

from kit import submission
from kit.ranking import Ranking
from kit.ranking.table import K, one_table
from kit.ranking.topk import best_first
from kit.replacing import replacing

METHODS = ("rank", "mean", "logit")


def fuse(
    rankings, weights, constant: float = 0.0, k: int = K, method: str = "rank"
) -> Ranking:
    """Fuses members into one ranking.

    A segment is worth the weighted mean of what the members give it.  By
    rank (eq. 20) the member that lists it at place j, from 1, gives it
    `1 / (constant + j)`, and nothing where it does not list it.  By "mean" or
    "logit" it gives its probability or the logit of it.  A segment that it
    does not list gets the lowest value in its list of the class, which is the
    most it could have had.  A member without the class gives nothing,
    and one of weight 0 takes no part.  Ties are ordered by
    `(video_id, start)`.

    Paper: the released code had `w / (w0 + j)` with a fitted `w0` and j from
    0, which is `constant = w0 - 1` here.

    Args:
        rankings: The members; classes and tables may differ.
        weights: One a member, not negative; only their proportions matter.
        constant: Above -1, added to each place: first places count less.
        k: The longest list of the result.
        method: "rank", "mean" or "logit".

    Returns:
        A ranking of all classes of the members that weigh, ascending, whose
        `scores` are the fused ones.

    Raises:
        ValueError: For unusable weights, an unknown method, or scores that are
            missing or no probabilities.

    Example: with weights 2 and 1, "a" gets (2/1 + 1/2) / 3.

    >>> one = Ranking.from_scores([[0.9], [0.1]], [3], ["a", "b"], [0, 0])
    >>> two = Ranking.from_scores([[0.1], [0.9]], [3], ["a", "b"], [0, 0])
    >>> fused = fuse([one, two], [2, 1])
    >>> fused.video_ids[fused.indices(3)].tolist(), fused.scores.round(3)
    ([b'a', b'b'], array([0.833, 0.667], dtype=float32))
    """
    weights = check_weights(weights, len(rankings))
    check_method(method, constant)
    video_ids, starts, rows = shared_table(rankings)
    members = [m for m in zip(rankings, rows, weights, strict=True) if m[2] > 0]
    class_ids = np.unique(np.concatenate([m[0].class_ids for m in members]))
    scores, order = [], []
    for class_id in class_ids:
        lists = []
        for ranking, row, weight in members:
            own = ranking.indices(class_id)
            gains, lowest = list_gains(ranking, class_id, method, constant)
            own = own if row is None else row[own]
            lists.append((own, weight, gains, lowest))
        best_scores, best = _fused(lists, len(starts), k)
        scores.append(best_scores)
        order.append(best)
    offsets = np.cumsum([0, *map(len, order)])
    order, scores = np.concatenate(order), np.concatenate(scores)
    return Ranking(class_ids, video_ids, starts, offsets, order, scores)


def fuse_csv(paths, weights, output, constant: float = 0.0, k: int = K) -> None:
    """Fuses submissions into one by rank, as `fuse` does.

    Class by class: memory does not grow with their number.

    Args:
        paths: `.csv` or `.csv.gz` files.
        weights, constant, k: As for `fuse`.
        output: The `.csv` or `.csv.gz` to write.
    """
    weights = check_weights(weights, len(paths))
    check_method("rank", constant)
    members = [
        (path, submission.find_rows(path), weight)
        for path, weight in zip(paths, weights, strict=True)
        if weight > 0
    ]
    with replacing(output) as scratch, contextlib.ExitStack() as stack:
        files = [
            (stack.enter_context(submission.open_bytes(path)), *rest)
            for path, *rest in members
        ]
        classes = sorted(set().union(*(places for _, places, _ in members)))
        fused = (_fused_row(files, c, constant, k) for c in classes)
        submission.write_rows(scratch, fused)


def _fused_row(files, class_id, constant, k):
    files = [member for member in files if class_id in member[1]]
    segments = [
        submission.read_row(file, places[class_id]) for file, places, _ in files
    ]
    video_ids, starts, rows = one_table(segments)
    lists = []
    for (file, places, weight), own in zip(files, rows, strict=True):
        submission.check_once(file.name, places[class_id], own)
        lists.append((own, weight, _rank_gains(len(own), constant), 0.0))
    _, best = _fused(lists, len(starts), k)
    return class_id, submission.segment_names(video_ids[best], starts[best])


def _fused(lists, num_segments, k):
    """`(scores, rows)` best first of `(rows, weight, gains, lowest)` lists."""
    rows = np.concatenate([rows for rows, *_ in lists]).astype(np.int64)
    gains = np.concatenate([weight * gains for _, weight, gains, _ in lists])
    listed = np.zeros(num_segments, bool)
    listed[rows] = True
    union = np.flatnonzero(listed)
    base = sum(weight * lowest for _, weight, _, lowest in lists)
    total = np.bincount(rows, gains, num_segments)[union] + base
    return best_first(total, union, k)


def list_gains(ranking, class_id, method, constant):
    """What a member gives to its list of a class.

    Returns:
        `(gains, lowest)`: `(n,)` how much more it gives to those that it
        lists, and what it gives to all segments.
    """
    length = len(ranking.indices(class_id))
    if method == "rank" or not length:
        return _rank_gains(length, constant), 0.0
    if ranking.scores is None:
        raise ValueError(
            "A mean of scores needs members with scores; fuse by rank. "
            "Received: a ranking with scores=None"
        )
    values = ranking.scores[ranking.span(class_id)].astype(np.float64)
    if not 0 <= values.min() <= values.max() <= 1:
        raise ValueError(
            "A mean of scores needs probabilities; fuse by rank. Received: "
            f"scores from {values.min()} to {values.max()}"
        )
    if method == "logit":  # finite also at 0 and 1, as float32 has them
        values = values.clip(np.finfo(np.float32).tiny, 1 - 2**-25)
        values = np.log(values) - np.log1p(-values)
    return values - values.min(), values.min()


def _rank_gains(length, constant):
    return 1 / (constant + np.arange(1, length + 1))


def check_weights(weights, num_members) -> np.ndarray:
    """Weights with sum 1, refused where they cannot weigh the members."""
    weights = np.asarray(weights, np.float64)
    fits = weights.shape == (num_members,) and (weights >= 0).all()
    if not fits or not 0 < weights.sum() < np.inf:
        raise ValueError(
            "`weights` must be one number a member, finite and not negative, "
            f"not all zero. Received: weights={weights.tolist()} for "
            f"{num_members} members"
        )
    return weights / weights.sum()


def check_method(method, constant) -> None:
    """Refuses an unknown method and a constant that divides by zero."""
    if method not in METHODS or not -1 < constant < np.inf:
        raise ValueError(
            f"`method` must be one of {METHODS} and `constant` above -1. "
            f"Received: method={method!r}, constant={constant}"
        )


def shared_table(rankings):
    """`one_table` of the members' tables; None for rows that stay the same."""
    first = rankings[0]
    if all(
        np.array_equal(ranking.starts, first.starts)
        and np.array_equal(ranking.video_ids, first.video_ids)
        for ranking in rankings[1:]
    ):
        return first.video_ids, first.starts, [None] * len(rankings)
    return one_table([(r.video_ids, r.starts) for r in rankings])
