"""Average precision as the competition scores it, and that of chance.

The order that every number here rests on is that of the ranking; equal scores
stand in the order of `(video_id, start)`.
"""

import numpy as np

from kit.metrics.ratings import rated_pairs

K = 100_000


def average_precision(
    relevance, num_positives: int | None = None, k: int = K
) -> float:
    """Average precision of one list, eq. 1 of the paper for one class.

    The list is cut at `k`, then unrated segments are dropped.

    Args:
        relevance: The list, best first: 1 yes, 0 no, -1 unrated.
        num_positives: Of the class, also those missing from the list, by
            default the ones in it.  Without any, the result is NaN.
        k: Where the list is cut.

    Example: after the cut at 4 and without the unrated, the list reads yes,
    no, yes.  The precisions at its positives are 1/1 and 2/3, and the class
    has three positives: (1 + 2/3 + 0) / 3.

    >>> round(average_precision([1, -1, 0, 1, 1], num_positives=3, k=4), 4)
    0.5556
    """
    relevance = np.asarray(relevance)
    if num_positives is None:
        num_positives = np.count_nonzero(relevance == 1)
    rated = relevance[:k][relevance[:k] >= 0]
    column = np.zeros(len(rated), int)
    values = average_precisions(column, rated == 1, np.array([num_positives]))
    return float(values[0])


def average_precisions(column, truth, num_positives) -> np.ndarray:
    """Average precision of many classes, whose lists stand one after another.

    Args:
        column: `(N,)`, the number of the class that an entry belongs to,
            rising; within a class the entries stand best first.
        truth: bool `(N,)`, whether the entry is positive.
        num_positives: `(C,)`, of each class, also those not listed.

    Returns:
        `(C,)`, NaN for a class without positives.
    """
    size = len(num_positives)
    begin = np.searchsorted(column, np.arange(size))  # of each list
    place = np.arange(1, len(column) + 1) - begin[column]
    hits = np.append(0, np.cumsum(truth))
    hits = hits[1:] - hits[begin][column]
    total = np.bincount(column, truth * hits / place, minlength=size)
    with np.errstate(invalid="ignore"):
        return total / num_positives  # of which there are 0 only with total 0


def list_order(pairs, ranks) -> np.ndarray:
    """Which rated pairs are listed, class after class, best first."""
    order = np.lexsort((ranks, pairs.column))
    return order[ranks[order] > 0]


def mean_average_precision(
    ranking, ratings, class_ids=None, k: int = K
) -> float:
    """MAP@K of a ranking on the rated segments, eq. 1 of the paper.

    Args:
        ranking: A `kit.ranking.Ranking`.
        ratings: As for `rated_pairs`.  All positives of a class count, also
            those that the ranking does not list.
        class_ids: The classes to average over, where a class that is not
            ranked counts 0 and one without a positive rating is left out.
            Default: all that are rated.
        k: Where each list is cut, before unrated segments are dropped.

    Raises:
        ValueError: For unusable ratings, or where none of their segments
            occurs in the ranking.
    """
    pairs = rated_pairs(ratings, class_ids)
    order = list_order(pairs, pairs.ranks(ranking, k))
    values = average_precisions(
        pairs.column[order], pairs.truth[order], pairs.count_positives()
    )
    return float(np.nanmean(values))


def map_of_scores(scores, targets) -> float:
    """MAP of scores `(n, C)` on targets `(n, C)`: 1 yes, 0 no, below unrated.

    The list of a class is its rated rows by score, equal scores in the order
    of the rows.  Classes without a positive are left out of the mean.

    Example: the first class lists no, yes; of the second one row is rated.

    >>> scores = [[0.9, 0.1], [0.2, 0.6], [0.5, 0.3]]
    >>> map_of_scores(scores, [[0, -1], [-1, 1], [1, -1]])
    0.75
    """
    scores, targets = np.asarray(scores), np.asarray(targets)
    if scores.shape != targets.shape or np.isnan(scores).any():
        raise ValueError(
            "`scores` must be numbers, one a target; look for the model's "
            f"NaN. Received: scores.shape={scores.shape} with "
            f"{np.isnan(scores).sum()} NaN, targets.shape={targets.shape}"
        )
    positives = _count_positives(targets)
    column, row = np.nonzero(targets.T >= 0)
    order = np.lexsort((-scores[row, column], column))
    truth = targets[row, column][order] == 1
    values = average_precisions(column[order], truth, positives)
    return float(np.nanmean(values))


def floor_of_targets(targets) -> float:
    """The mean of `map_of_scores` over all orders of the rated rows."""
    targets = np.asarray(targets)
    positives, rated = _count_positives(targets), (targets >= 0).sum(axis=0)
    values = [
        _expected_precision(n, p, n, n) / p
        for n, p in zip(rated, positives, strict=True)
        if p
    ]
    return float(np.mean(values))


def random_floor(ranking, ratings, class_ids=None, k: int = K) -> float:
    """The mean of MAP@K over all orders of the same candidates.

    Print it beside every local MAP: only rated segments count, most of them
    are positive, so chance alone scores high.  A list shorter than both `k`
    and the table holds all its candidates; a list that fills `k` was cut, and
    its candidates are the whole table.
    """
    pairs = rated_pairs(ratings, class_ids)
    ranks = pairs.ranks(ranking, np.iinfo(np.int64).max)
    table = len(ranking.starts)
    values = []
    for column, positives in enumerate(pairs.count_positives()):
        listed = len(ranking.indices(pairs.class_ids[column]))
        whole = listed < min(k, table)
        own = pairs.column == column
        own &= ranks > 0 if whole else ranks >= 0
        if positives:
            total = _expected_precision(
                np.count_nonzero(own),
                np.count_nonzero(pairs.truth[own]),
                listed if whole else table,
                k,
            )
            values.append(total / positives)
    return float(np.mean(values))


def _expected_precision(rated, positives, candidates, k):
    """Mean over all orders of the sum of the precisions at the positives.

    Of `candidates` in a list that is cut at `k`, some are `rated`, and some
    of these `positives`.
    """
    if not positives:
        return 0.0
    k = min(k, candidates)
    # How many rated ones the cut leaves is hypergeometric: from the ratio of
    # each probability to the one before.
    left = np.arange(max(0, k - candidates + rated), min(rated, k) + 1)
    n = left[:-1]
    ratio = (rated - n) / (n + 1) * (k - n) / (candidates - rated - k + n + 1)
    log = np.append(0, np.cumsum(np.log(ratio)))
    probability = np.exp(log - log.max())
    probability /= probability.sum()
    # An entry is positive with positives / rated; the precision there counts
    # itself, and each entry before it with `others`.  Summed over the places
    # j = 1, 2, ... that is others * (j - 1) / j + 1 / j.
    others = (positives - 1) / max(rated - 1, 1)
    harmonic = np.append(0, np.cumsum(1 / np.arange(1, rated + 1)))[left]
    total = probability @ (others * left + (1 - others) * harmonic)
    return positives / rated * total


def _count_positives(targets):
    positives = (targets == 1).sum(axis=0)
    if not positives.any():
        raise ValueError(
            "A metric needs a positive target; look at the ratings. Received: "
            f"targets.shape={targets.shape}, none of them 1"
        )
    return positives
