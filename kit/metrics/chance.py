"""What a random order would score, exactly."""

import numpy as np

from kit.metrics.precision import count_positives, rated_pairs
from kit.ranking.table import K


def floor_of_targets(targets) -> float:
    """The mean of `map_of_scores` over all orders of the rated rows."""
    targets = np.asarray(targets)
    positives, rated = count_positives(targets), (targets >= 0).sum(axis=0)
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
    for column in range(len(pairs.class_ids)):
        listed = len(ranking.indices(pairs.class_ids[column]))
        whole = listed < min(k, table)
        own = pairs.column == column
        positives = np.count_nonzero(pairs.truth[own])
        own &= ranks > 0 if whole else ranks >= 0
        if positives:
            rated, yes = np.sum(own), np.sum(pairs.truth[own])
            size = listed if whole else table
            values.append(_expected_precision(rated, yes, size, k) / positives)
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
    # An entry is positive with probability positives / rated.  If it is, each
    # entry before it is positive with probability `others`, so the precision
    # at place j is others * (j - 1) / j + 1 / j, summed over j = 1, 2, ...
    others = (positives - 1) / max(rated - 1, 1)
    harmonic = np.append(0, np.cumsum(1 / np.arange(1, rated + 1)))[left]
    total = probability @ (others * left + (1 - others) * harmonic)
    return positives / rated * total
