"""Fusing nine members of full length, from submissions and from rankings."""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from kit import ensemble, submission
from kit.ranking import Ranking
from tests.benchmarks.report import ratio, table

NUM_CLASSES = 1_000


def make_members(num_classes, num_segments, k, num_members=9, seed=0):
    """Members that agree in part, over videos of 46 segments."""
    rng = np.random.default_rng(seed)
    video = np.arange(num_segments) // 46
    letters = np.array(list("0123456789abcdefghijklmnopqrstuvwxyz"), "S1")
    digits = video[:, None] // 36 ** np.arange(3, -1, -1) % 36
    ids = letters[digits].view("S4")[:, 0]
    starts = (np.arange(num_segments) % 46 * 5).astype(np.int32)
    pool = min(4 * k, num_segments)  # what any member may list
    chosen = [
        rng.choice(num_segments, pool, replace=False)
        for _ in range(num_classes)
    ]
    shared = rng.normal(size=(num_classes, pool)).astype(np.float32)
    for _ in range(num_members):
        order = np.empty((num_classes, k), np.uint32)
        for column in range(num_classes):
            noise = rng.normal(size=pool).astype(np.float32)
            best = np.argsort(-shared[column] - 0.7 * noise)[:k]
            order[column] = chosen[column][best]
        offsets = np.arange(num_classes + 1) * k
        yield Ranking(
            np.arange(num_classes), ids, starts, offsets, order.ravel()
        )


def fuse_lists(lists, weights, k):
    """Eq. 20 with a dictionary of ids, as usually done."""
    relevance = {}
    for segments, weight in zip(lists, weights, strict=True):
        for place, segment in enumerate(segments, 1):
            relevance[segment] = relevance.get(segment, 0) + weight / place
    return sorted(relevance.items(), key=lambda item: (-item[1], item[0]))[:k]


def same_list(fused, expected):
    """Whether two lists agree where float32 tells the scores apart."""
    relevance = dict(expected)
    own = [relevance.get(segment, np.nan) for segment in fused]
    return np.allclose(own, list(relevance.values()), rtol=1e-6, atol=0)


def fuse_csv(arguments):
    """Nine CSVs to one."""
    options = _options(arguments)
    weights = np.linspace(0.5, 1.5, 9)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.csv" for i in range(9)]
        members = make_members(options.classes, options.segments, options.k)
        for path, member in zip(paths, members, strict=True):
            submission.write_csv(member, path)
        begun = time.perf_counter()
        ensemble.fuse_csv(
            paths, weights, Path(folder) / "fused.csv", k=options.k
        )
        ours = (time.perf_counter() - begun) / options.classes
        begun = time.perf_counter()
        slow = Path(folder) / "slow.csv"
        expected = _reference(paths, weights, options, slow)
        reference = (time.perf_counter() - begun) / options.slice
        with open(Path(folder) / "fused.csv") as file:
            lines = [next(file) for _ in range(options.slice + 1)][1:]
    equal = all(
        same_list(line.rstrip("\n").split(",")[1].split(" "), own)
        for line, own in zip(lines, expected, strict=True)
    )
    _report("CSVs", options, ours, reference, equal)


def _reference(paths, weights, options, output):
    files = [open(path) for path in paths]
    for file in files:
        next(file)
    fused = []
    with open(output, "w") as file:
        for _ in range(options.slice):
            lines = [next(each).rstrip("\n").split(",") for each in files]
            lists = [segments.split(" ") for _, segments in lines]
            fused.append(fuse_lists(lists, weights, options.k))
            names = " ".join(segment for segment, _ in fused[-1])
            file.write(f"{lines[0][0]},{names}\n")
    for file in files:
        file.close()
    return fused


def fuse_rankings(arguments):
    """Nine rankings in memory to one, against dictionaries of ids."""
    options = _options(arguments)
    weights = np.linspace(0.5, 1.5, 9)
    members = list(make_members(options.classes, options.segments, options.k))
    begun = time.perf_counter()
    fused = ensemble.fuse(members, weights, k=options.k)
    ours = (time.perf_counter() - begun) / options.classes
    equal, reference = True, 0.0
    for class_id in range(options.slice):
        named = []
        for member in members:
            rows = member.indices(class_id)
            pairs = zip(
                member.video_ids[rows].tolist(),
                member.starts[rows].tolist(),
                strict=True,
            )
            named.append(list(pairs))
        begun = time.perf_counter()
        expected = fuse_lists(named, weights, options.k)
        reference += (time.perf_counter() - begun) / options.slice
        rows = fused.indices(class_id)
        own = zip(
            fused.video_ids[rows].tolist(),
            fused.starts[rows].tolist(),
            strict=True,
        )
        equal &= same_list(own, expected)
    _report("rankings", options, ours, reference, equal)


def _options(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--slice", type=int, default=2)
    parser.add_argument("--segments", type=int, default=2_060_000)
    parser.add_argument("--k", type=int, default=100_000)
    options = parser.parse_args(arguments)
    options.slice = min(options.slice, options.classes)
    return options


def _report(kind, options, ours, reference, equal):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    table(
        f"Nine {kind}, {options.k:,} ids a class; ours on {options.classes} "
        f"classes, the reference on {options.slice}; same result: {equal}; "
        f"peak of the process, generator included, {peak:.2f} GiB",
        ["", "s a class", f"s for {NUM_CLASSES:,} (extrapolated)"],
        [
            ["ours", ours, ours * NUM_CLASSES],
            ["dictionaries", reference, reference * NUM_CLASSES],
        ],
    )
    ratio(reference / ours)
