"""How sure a MAP is, or the difference of two: a bootstrap over videos."""

from typing import NamedTuple

import numpy as np

from kit.metrics.precision import K, class_precisions
from kit.metrics.ratings import rated_pairs


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
        other: Where given, the result is the MAP of `ranking` less that of
            `other`, both on the same samples: a paired difference.
        level: Mass between the two ends, which are percentiles.

    Raises:
        ValueError: As `mean_average_precision` does, or for options out of
            range.
    """
    if num_samples < 1 or not 0 < level < 1:
        raise ValueError(
            "`num_samples` must be at least 1, `level` between 0 and 1. "
            f"Received: num_samples={num_samples}, level={level}"
        )
    rankings = [r for r in (ranking, other) if r is not None]
    both = [rated_pairs(r, ratings, class_ids, k) for r in rankings]
    if not both[0].truth.any():
        raise ValueError(
            "A bootstrap needs positive ratings; give more videos. Received: "
            f"{len(both[0].truth)} ratings"
        )
    rng = np.random.default_rng(seed)
    samples = np.empty(num_samples)
    for i in range(num_samples):
        copies = _draw(rng, both[0])
        samples[i] = _difference([_resampled(r, copies) for r in both], k)
    tail = 50 * (1 - level)
    low, high = np.percentile(samples, [tail, 100 - tail])
    return Interval(_difference(both, k), float(low), float(high))


def _draw(rng, rated):
    """How often each pair is drawn; again where no positive is."""
    size = len(rated.video_ids)
    while True:
        drawn = rng.integers(0, size, size)
        copies = np.bincount(drawn, minlength=size)[rated.video]
        if copies[rated.truth].any():
            return copies


def _resampled(rated, copies):
    names = ("column", "truth", "rank")
    drawn = {n: np.repeat(getattr(rated, n), copies) for n in names}
    return rated._replace(**drawn)


def _difference(rated, k):
    values = [float(np.nanmean(class_precisions(r, k))) for r in rated]
    return values[0] - sum(values[1:])
