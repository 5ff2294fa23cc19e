"""MAP@100K of a full-size ranking against a loop over its items."""

import argparse
import heapq
import time

import numpy as np

from kit import metrics
from kit.ranking import Ranking
from tests.benchmarks.report import ratio, table


def make_case(num_classes, num_segments, k, num_rated=180, seed=0):
    """A ranking of random order and ratings of random segments."""
    rng = np.random.default_rng(seed)
    video = np.arange(num_segments) // 46
    letters = np.array(list("0123456789abcdefghijklmnopqrstuvwxyz"), "S1")
    digits = video[:, None] // 36 ** np.arange(3, -1, -1) % 36
    ids = letters[digits].view("S4")[:, 0]
    starts = np.arange(num_segments) % 46 * 5
    order = np.empty((num_classes, k), np.uint32)
    rated = np.empty((num_classes, num_rated), np.int64)
    for column in range(num_classes):
        order[column] = rng.choice(num_segments, k, replace=False, shuffle=True)
        rated[column] = rng.choice(num_segments, num_rated, replace=False)
    scores = np.tile(np.linspace(1, 0, k, dtype=np.float32), num_classes)
    ranking = Ranking(
        np.arange(num_classes),
        ids,
        starts,
        np.arange(num_classes + 1) * k,
        order.ravel(),
        scores,
    )
    ratings = {
        "video_id": ids[rated.ravel()].astype("U4"),
        "start": starts[rated.ravel()],
        "label": np.repeat(np.arange(num_classes), num_rated),
        "score": (rng.random(rated.size) < 0.557).astype(int),
    }
    return ranking, ratings


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


def mean_ap(arguments):
    """Prints the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--segments", type=int, default=2_062_258)
    parser.add_argument("--k", type=int, default=100_000)
    parser.add_argument("--slice", type=int, default=5)
    options = parser.parse_args(arguments)
    ranking, ratings = make_case(options.classes, options.segments, options.k)
    begun = time.perf_counter()
    value = metrics.mean_average_precision(ranking, ratings, k=options.k)
    ours = time.perf_counter() - begun
    own = [
        metrics.mean_average_precision(ranking, ratings, [class_id], options.k)
        for class_id in range(options.slice)
    ]
    reference, gap = 0.0, 0.0
    for class_id in range(options.slice):
        span = ranking.span(class_id)
        rows = ranking.order[span]
        names = [
            f"{video.decode()}:{start}"
            for video, start in zip(
                ranking.video_ids[rows].tolist(),
                ranking.starts[rows].tolist(),
                strict=True,
            )
        ]
        mine = np.flatnonzero(ratings["label"] == class_id)
        truths = {
            f"{ratings['video_id'][i]}:{ratings['start'][i]}": int(
                ratings["score"][i]
            )
            for i in mine
        }
        scores = ranking.scores[span].tolist()
        begun = time.perf_counter()
        expected = literal_precision(names, scores, truths, options.k)
        reference += time.perf_counter() - begun
        gap = max(gap, abs(expected - own[class_id]))
    reference *= options.classes / options.slice
    table(
        f"MAP@{options.k:,} of {options.classes:,} classes: {value:.4f}; the "
        f"reference on {options.slice} classes, largest gap {gap:.1e}",
        ["", "s"],
        [["ours", ours], ["loop with a heap (extrapolated)", reference]],
    )
    ratio(reference / ours)
