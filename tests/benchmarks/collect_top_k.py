"""The best 100,000 segments of 1,000 classes out of a stream of scores."""

import argparse
import heapq
import resource
import tempfile
import time

import numpy as np

from kit.ranking import TopK
from tests.benchmarks.report import ratio, table


def stream(num_segments, num_classes, seed=0, batch=4096):
    """Batches of scores as a model gives them: most are near zero."""
    rng = np.random.default_rng(seed)
    pool = rng.random((batch + 997, num_classes), np.float32) ** 8
    for begin in range(0, num_segments, batch):
        count = min(batch, num_segments - begin)
        # Fresh numbers would cost more than the collector: each batch shifts
        # and scales what one pool holds, a little differently.
        shift = int(rng.integers(0, 997))
        scores = pool[shift : shift + count] * np.float32(rng.random() + 0.5)
        segment = begin + np.arange(count)
        video = segment // 46
        letters = np.array(list("0123456789abcdefghijklmnopqrstuvwxyz"), "S1")
        digits = video[:, None] // 36 ** np.arange(3, -1, -1) % 36
        yield scores, letters[digits].view("S4")[:, 0], segment % 46 * 5


def collect(batches, num_classes, k):
    collector = TopK(np.arange(num_classes), k)
    spent = 0.0
    for batch in batches:
        begun = time.perf_counter()
        collector.add(*batch)
        spent += time.perf_counter() - begun
    begun = time.perf_counter()
    ranking = collector.ranking()
    return ranking, spent + time.perf_counter() - begun


def collect_in_heaps(batches, num_classes, k, file):
    """A text line a segment, then a heap a class, as the field does it."""
    spent = 0.0
    for scores, ids, starts in batches:
        begun = time.perf_counter()
        for row, video, start in zip(scores, ids, starts, strict=True):
            numbers = " ".join(
                f"{column}:{p:.9g}" for column, p in enumerate(row)
            )
            file.write(f"{video.decode()}:{start},{numbers}\n")
        spent += time.perf_counter() - begun
    file.seek(0)
    begun = time.perf_counter()
    heaps = [[] for _ in range(num_classes)]
    for line in file:
        segment, numbers = line.rstrip("\n").split(",")
        for number in numbers.split(" "):
            column, score = number.split(":")
            heap, entry = heaps[int(column)], (float(score), segment)
            if len(heap) < k:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
    for heap in heaps:
        heap.sort(reverse=True)
    return heaps, spent + time.perf_counter() - begun


def collect_top_k(arguments):
    """Prints the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--segments", type=int, default=2_062_258)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--k", type=int, default=100_000)
    parser.add_argument("--slice", type=int, default=2_000)
    options = parser.parse_args(arguments)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    ranking, ours = collect(
        stream(options.segments, options.classes), options.classes, options.k
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    with tempfile.TemporaryFile("w+") as file:
        heaps, slow = collect_in_heaps(
            stream(options.slice, options.classes),
            options.classes,
            options.k,
            file,
        )
    part, _ = collect(
        stream(options.slice, options.classes), options.classes, options.k
    )
    equal = all(
        np.array_equal(
            part.scores[part.span(column)],
            np.float32([score for score, _ in heaps[column]]),
        )
        for column in range(options.classes)
    )
    reference = slow * options.segments / options.slice
    table(
        f"Best {options.k:,} of {options.segments:,} segments x "
        f"{options.classes:,} classes ({len(ranking.order):,} kept); the "
        f"reference on {options.slice:,} segments, where both agree: {equal}",
        ["", "s", "peak GiB of the process", "of which before"],
        [
            ["ours", ours, peak, before],
            ["text and heaps (extrapolated)", reference, "", ""],
        ],
    )
    ratio(reference / ours)
