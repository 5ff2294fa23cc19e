"""MAP@100K of a full-size ranking against a loop over its items."""

import heapq

import numpy as np

from kit import metrics
from tests.benchmarks.cases import ranking_of, ratings_of, segments
from tests.benchmarks.report import options, ratio, table, timed
from tests.rankings import listed, truths_of


def make_case(num_classes, num_segments, k, num_rated=180, seed=0):
    """A ranking of random order and ratings of random segments."""
    rng = np.random.default_rng(seed)
    ids, starts = segments(np.arange(num_segments))
    order = np.empty((num_classes, k), np.uint32)
    rated = np.empty((num_classes, num_rated), np.int64)
    for column in range(num_classes):
        order[column] = rng.choice(num_segments, k, replace=False, shuffle=True)
        rated[column] = rng.choice(num_segments, num_rated, replace=False)
    scores = np.tile(np.linspace(1, 0, k, dtype=np.float32), num_classes)
    truth = rng.random(rated.shape) < 0.557
    ratings = ratings_of(ids, starts, rated, truth)
    return ranking_of(order, ids, starts, scores), ratings


def literal_precision(names, scores, truths, k):
    """AP with a heap of (score, segment), one item at a time."""
    heap = []
    for name, score in zip(names, scores, strict=True):
        heapq.heappush(heap, (-score, name))
    seen = hits = 0
    total = 0.0
    for _ in range(min(k, len(heap))):
        _, name = heapq.heappop(heap)
        if name in truths:
            seen += 1
            if truths[name]:
                hits += 1
                total += hits / seen
    return total / sum(truths.values())


def name(segment):
    """A segment as submissions write it."""
    return f"{segment[0].decode()}:{segment[1]}"


def mean_ap(argv):
    """Prints the comparison."""
    given = options(argv, classes=1000, segments=2_062_258, k=100_000, slice=5)
    ranking, ratings = make_case(given.classes, given.segments, given.k)
    mean_ap_of = metrics.mean_average_precision
    value, ours = timed(mean_ap_of, ranking, ratings, k=given.k)
    reference, gap = 0.0, 0.0
    for class_id in range(given.slice):
        names = list(map(name, listed(ranking, class_id)))
        pairs = truths_of(ratings, class_id).items()
        truths = {name(pair): score for pair, score in pairs}
        scores = ranking.scores[ranking.span(class_id)].tolist()
        expected, seconds = timed(
            literal_precision, names, scores, truths, given.k
        )
        reference += seconds * given.classes / given.slice
        own = mean_ap_of(ranking, ratings, [class_id], given.k)
        gap = max(gap, abs(expected - own))
    table(
        f"MAP@{given.k:,} of {given.classes:,} classes: {value:.4f}; the "
        f"reference on {given.slice} classes, largest gap {gap:.1e}",
        ["", "s"],
        [["ours", ours], ["loop with a heap (extrapolated)", reference]],
    )
    ratio(reference / ours)
