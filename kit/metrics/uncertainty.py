"""How sure a MAP is, or the difference of two: a bootstrap over videos."""

from typing import NamedTuple

import numpy as np

from kit.metrics.precision import rated_pairs
from kit.ranking.table import K


class Interval(NamedTuple):
    """An estimate with the ends of its bootstrap interval.

    >>> print(Interval(0.012, -0.0031, 0.025))
    +0.0120 (-0.0031 to +0.0250)
    """

    estimate: float
    low: float
    high: float

    def __str__(self):
        return "{:+.4f} ({:+.4f} to {:+.4f})".format(*self)


def bootstrap(
    ranking,
    ratings,
    other=None,
    class_ids=None,
    k: int = K,
    num_samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """MAP@K, or a difference of two, with an interval over videos.

    Videos, not ratings, are drawn with replacement: segments of a video are
    alike.  A video drawn m times has its segments m times, one after the
    other, where they stand in the list; lists stay cut where they were.  A
    class without positives in a sample is left out of that sample's mean.

    Args:
        ranking, ratings, class_ids, k: As for `mean_average_precision`.
        other: Where given, the result is the MAP of `ranking` less that of
            `other`, both on the same samples: a paired difference.
        num_samples: Samples drawn.
        level: Mass between the two ends, which are percentiles.
        seed: Of the samples.

    Raises:
        ValueError: As `mean_average_precision` does.
    """
    pairs = rated_pairs(ratings, class_ids)
    rankings = [ranking] if other is None else [ranking, other]
    orders = [pairs.listed(pairs.ranks(r, k)) for r in rankings]
    videos, video = np.unique(pairs.video_ids, return_inverse=True)
    rng, samples = np.random.default_rng(seed), []
    while len(samples) < num_samples:
        drawn = rng.integers(0, len(videos), len(videos))
        copies = np.bincount(drawn, minlength=len(videos))[video]
        if copies[pairs.truth].any():  # else no class has a positive
            samples.append(_difference(pairs, orders, copies))
    tail = 50 * (1 - level)
    low, high = np.percentile(samples, [tail, 100 - tail])
    return Interval(_difference(pairs, orders), float(low), float(high))


def _difference(pairs, orders, copies=None):
    """MAP of the first order, less that of the second."""
    values = [
        float(np.nanmean(pairs.precisions(order, copies))) for order in orders
    ]
    return values[0] - sum(values[1:])
