"""The best 100,000 segments of 1,000 classes out of a stream of scores."""

import heapq
import tempfile

import numpy as np

from kit.ranking import TopK
from tests.benchmarks.cases import segments
from tests.benchmarks.report import options, peak_gib, ratio, table, timed


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
        yield scores, *segments(begin + np.arange(count))


def collect(batches, num_classes, k):
    """The ranking, and the seconds without those that make the batches."""
    collector = TopK(np.arange(num_classes), k)
    spent = sum(timed(collector.add, *batch)[1] for batch in batches)
    ranking, last = timed(collector.ranking)
    return ranking, spent + last


def collect_in_heaps(batches, num_classes, k):
    """A text line a segment, then a heap a class, as the field does it."""
    with tempfile.TemporaryFile("w+") as file:
        spent = sum(timed(write, file, *batch)[1] for batch in batches)
        file.seek(0)
        heaps, last = timed(read_into_heaps, file, num_classes, k)
    return heaps, spent + last


def write(file, scores, ids, starts):
    for row, video, start in zip(scores, ids, starts, strict=True):
        numbers = " ".join(f"{column}:{p:.9g}" for column, p in enumerate(row))
        file.write(f"{video.decode()}:{start},{numbers}\n")


def read_into_heaps(file, num_classes, k):
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
    return heaps


def collect_top_k(arguments):
    """Prints the comparison."""
    given = options(
        arguments, segments=2_062_258, classes=1_000, k=100_000, slice=2_000
    )
    sizes = given.classes, given.k
    before = peak_gib()
    ranking, ours = collect(stream(given.segments, given.classes), *sizes)
    peak = peak_gib()
    heaps, slow = collect_in_heaps(stream(given.slice, given.classes), *sizes)
    part, _ = collect(stream(given.slice, given.classes), *sizes)
    own = [part.scores[part.span(column)] for column in range(given.classes)]
    expected = [np.float32([score for score, _ in heap]) for heap in heaps]
    equal = all(map(np.array_equal, own, expected))
    reference = slow * given.segments / given.slice
    table(
        f"Best {given.k:,} of {given.segments:,} segments x "
        f"{given.classes:,} classes ({len(ranking.order):,} kept); the "
        f"reference on {given.slice:,} segments, where both agree: {equal}",
        ["", "s", "peak GiB of the process", "of which before"],
        [
            ["ours", ours, peak, before],
            ["text and heaps (extrapolated)", reference, "", ""],
        ],
    )
    ratio(reference / ours)
