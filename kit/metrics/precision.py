"""Average precision as the competition scores it, and that of chance.

The order that every number here rests on is that of the ranking; equal scores
stand in the order of `(video_id, start)`.  `ratings` is anything with columns
`video_id`, `start`, `label` (a class id) and `score` (1 yes, 0 no): a
DataFrame or a dict of arrays.  A pair that is not in it is unrated: unknown,
not wrong.
"""

import numpy as np

from kit.metrics.ratings import check, rated_pairs

K = 100_000


def average_precision(relevance, num_positives=None, k: int = K) -> float:
    """Average precision of one list, eq. 1 of the paper for one class.

    The list is cut at `k`, then unrated segments are dropped.

    Args:
        relevance: The list, best first: 1 yes, 0 no, -1 unrated.
        num_positives: Of the class, also those missing from the list, by
            default the ones in it.  Without any, the result is NaN.
        k: Where the list is cut, and the most positives that count.

    Raises:
        ValueError: For other values than these, or fewer positives than the
            list holds.

    Example: after the cut at 4 and without the unrated, the list reads yes,
    no, yes.  The precisions at its positives are 1/1 and 2/3, and the class
    has three positives: (1 + 2/3 + 0) / 3.

    >>> round(average_precision([1, -1, 0, 1, 1], num_positives=3, k=4), 4)
    0.5556
    """
    relevance = np.asarray(relevance)
    check(relevance, k)
    listed = int((relevance == 1).sum())
    if num_positives is None:
        num_positives = listed
    if not num_positives >= listed:
        raise ValueError(
            "`num_positives` counts those in the list too. Received: "
            f"num_positives={num_positives}, {listed} in the list"
        )
    if not num_positives:
        return float("nan")
    rated = relevance[:k][relevance[:k] >= 0]
    precision = np.cumsum(rated) / np.arange(1, len(rated) + 1)
    return float((precision * rated).sum() / min(num_positives, k))


def mean_average_precision(
    ranking, ratings, class_ids=None, k: int = K, no_positives="exclude"
) -> float:
    """MAP@K of a ranking on the rated segments, eq. 1 of the paper.

    Args:
        ranking: A `kit.ranking.Ranking`.
        ratings: See the module.  All positives of a class count, also those
            that the ranking does not know.
        class_ids: The classes to average over, where a class that is not
            ranked counts 0.  Default: all that are rated.
        k: Where each list is cut, before unrated segments are dropped.
        no_positives: What becomes of a class without a positive rating:
            "exclude" leaves it out of the mean, "zero" counts it as 0.

    Raises:
        ValueError: For an unusable rating, a segment twice in a list,
            whether rated or not, or where no class is left to average over.
    """
    rated = rated_pairs(ranking, ratings, class_ids, k)
    return _mean(class_precisions(rated, k), no_positives)


def mean_average_precision_of_scores(
    scores, targets, k: int = K, no_positives="exclude"
) -> float:
    """The same from scores and targets `(S, C)`; -1 is unrated.

    Equal scores stand in the order of their rows.
    """
    scores, targets = _matrices(scores, targets, k)
    best = np.argsort(-scores, axis=0, kind="stable")
    lists = np.take_along_axis(targets, best, axis=0)
    positives = (targets == 1).sum(axis=0)
    values = [
        average_precision(lists[:, c], int(n), k)
        for c, n in enumerate(positives)
    ]
    return _mean(np.array(values), no_positives)


def per_class_table(ranking, ratings, class_ids=None, k: int = K, seed=0):
    """A DataFrame with a row a class: what was rated, AP, AP by chance.

    Columns: `class_id`, `ratings`, `positives`, `average_precision` (NaN
    without positives) and `random_floor`, see the function of that name.
    """
    import pandas as pd

    rated = rated_pairs(ranking, ratings, class_ids, k)
    size = len(rated.class_ids)
    return pd.DataFrame(
        {
            "class_id": rated.class_ids,
            "ratings": np.bincount(rated.column, minlength=size),
            "positives": _positives(rated),
            "average_precision": class_precisions(rated, k),
            "random_floor": _floor(ranking, rated, k, 100, seed),
        }
    )


def random_floor(
    ranking,
    ratings,
    class_ids=None,
    k: int = K,
    num_permutations: int = 100,
    seed: int = 0,
    no_positives="exclude",
) -> float:
    """The MAP@K that a random order of the same candidates would get.

    Print it beside every local MAP: only rated segments count, most of them
    are positive, so chance alone scores high.  A list shorter than both `k`
    and the table holds all its candidates; a list that fills `k` was cut, and
    its candidates are the whole table.
    """
    if num_permutations < 1:
        raise ValueError(
            "`num_permutations` must be at least 1. Received: "
            f"num_permutations={num_permutations}"
        )
    rated = rated_pairs(ranking, ratings, class_ids, k)
    floor = _floor(ranking, rated, k, num_permutations, seed)
    return _mean(floor, no_positives)


def gap(scores, targets, k: int = 20) -> float:
    """Global average precision of the best `k` classes a video.

    The pairs of all videos form one list by score, equal scores in the order
    of rows, then columns.  Positives beyond a video's best `k` are missed.
    Scores and targets are `(videos, classes)`; a target -1 is left out.
    """
    scores, targets = _matrices(scores, targets, k)
    best = np.sort(np.argsort(-scores, axis=1, kind="stable")[:, :k], axis=1)
    chosen = np.take_along_axis(scores, best, axis=1).ravel()
    truth = np.take_along_axis(targets, best, axis=1).ravel()
    order = np.argsort(-chosen, kind="stable")
    positives = int((targets == 1).sum())
    return average_precision(truth[order], positives, max(targets.size, 1))


def _matrices(scores, targets, k):
    scores, targets = np.asarray(scores), np.asarray(targets)
    if scores.shape != targets.shape or scores.ndim != 2:
        raise ValueError(
            "`scores` and `targets` must both be (rows, classes). "
            f"Received: {scores.shape} and {targets.shape}"
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            "`scores` must be finite, or they have no order. Received: "
            f"{scores[~np.isfinite(scores)][0]}"
        )
    check(targets, k)
    return scores, targets


def _positives(rated):
    size = len(rated.class_ids)
    return np.bincount(rated.column[rated.truth], minlength=size)


def class_precisions(rated, k) -> np.ndarray:
    """AP of every class; NaN without positives."""
    size = len(rated.class_ids)
    listed = np.flatnonzero(rated.rank > 0)
    listed = listed[np.lexsort((rated.rank[listed], rated.column[listed]))]
    column, truth = rated.column[listed], rated.truth[listed]
    begin = np.searchsorted(column, column)  # where the class begins
    hits = np.cumsum(truth)
    hits -= (hits - truth)[begin] if len(begin) else 0
    seen = np.arange(1, len(column) + 1) - begin
    total = np.bincount(column, truth * hits / seen, minlength=size)
    positives = _positives(rated)
    with np.errstate(invalid="ignore"):
        return np.where(positives > 0, total / np.minimum(positives, k), np.nan)


def _mean(values, no_positives) -> float:
    if no_positives not in ("exclude", "zero"):
        raise ValueError(
            '`no_positives` must be "exclude" or "zero". Received: '
            f"no_positives={no_positives!r}"
        )
    missing = np.isnan(values)
    if missing.all():
        raise ValueError(
            "No class has a positive rating, so there is nothing to score; "
            f"look at the ratings. Received: {len(values)} classes"
        )
    if no_positives == "exclude":
        return float(values[~missing].mean())
    return float(np.where(missing, 0, values).mean())


def _floor(ranking, rated, k, num_permutations, seed):
    rng = np.random.default_rng(seed)
    size = len(rated.class_ids)
    listed = np.array([len(ranking.indices(c)) for c in rated.class_ids])
    table = len(ranking.starts)
    candidates = np.where(listed < min(k, table), listed, table)
    # Only what is listed, or lies in the table of a list that was cut, can
    # be met; of those, the number above the cut is hypergeometric.
    cut = candidates[rated.column] > listed[rated.column]
    known = np.flatnonzero((rated.rank > 0) | (cut & (rated.rank == 0)))
    column = rated.column[known]
    rated_here = np.bincount(column, minlength=size)
    total = np.zeros(size)
    for _ in range(num_permutations):
        rank = np.zeros_like(rated.rank)
        order = known[np.lexsort((rng.random(len(known)), column))]
        begin = np.searchsorted(rated.column[order], rated.column[order])
        place = np.arange(1, len(order) + 1) - begin
        above = rng.hypergeometric(
            rated_here,
            np.maximum(candidates - rated_here, 0),
            np.minimum(candidates, k),
        )
        rank[order] = np.where(place <= above[rated.column[order]], place, 0)
        total += class_precisions(rated._replace(rank=rank), k)
    return total / num_permutations
