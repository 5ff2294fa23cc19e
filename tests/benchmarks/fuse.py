"""Fusing nine members of full length, from submissions and from rankings."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np

from kit import ensemble, submission
from tests.benchmarks.cases import ranking_of, segments
from tests.benchmarks.report import options, peak_gib, ratio, table, timed
from tests.rankings import listed

NUM_CLASSES = 1_000
WEIGHTS = np.linspace(0.5, 1.5, 9)


def make_members(num_classes, num_segments, k, num_members=9, seed=0):
    """Members that agree in part, over videos of 46 segments."""
    rng = np.random.default_rng(seed)
    ids, starts = segments(np.arange(num_segments))
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
        yield ranking_of(order, ids, starts)


def fuse_lists(lists, weights, k):
    """Eq. 20 with a dictionary of ids, as usually done."""
    relevance = {}
    for own, weight in zip(lists, weights, strict=True):
        for place, segment in enumerate(own, 1):
            relevance[segment] = relevance.get(segment, 0) + weight / place
    return sorted(relevance.items(), key=lambda item: (-item[1], item[0]))[:k]


def same_list(fused, expected):
    """Whether two lists agree where float32 tells the scores apart."""
    relevance = dict(expected)
    own = [relevance.get(segment, np.nan) for segment in fused]
    return np.allclose(own, list(relevance.values()), rtol=1e-6, atol=0)


def fuse_csv(arguments):
    """Nine CSVs to one."""
    given = _options(arguments)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{i}.csv") for i in range(9)]
        members = make_members(given.classes, given.segments, given.k)
        for path, member in zip(paths, members, strict=True):
            submission.write_csv(member, path)
        fused, slow = Path(folder, "fused.csv"), Path(folder, "slow.csv")
        _, ours = timed(ensemble.fuse_csv, paths, WEIGHTS, fused, k=given.k)
        expected, reference = timed(_reference, paths, given, slow)
        with open(fused) as file:
            lines = [next(file) for _ in range(given.slice + 1)][1:]
    lists = [line.rstrip("\n").split(",")[1].split(" ") for line in lines]
    equal = all(map(same_list, lists, expected))
    _report("CSVs", given, ours, reference, equal)


def _reference(paths, given, output):
    """The lists of the first classes, which it writes to `output`."""
    fused = []
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open(path)) for path in paths]
        file = stack.enter_context(open(output, "w"))
        for each in files:
            next(each)
        for _ in range(given.slice):
            lines = [next(each).rstrip("\n").split(",") for each in files]
            lists = [own.split(" ") for _, own in lines]
            fused.append(fuse_lists(lists, WEIGHTS, given.k))
            names = " ".join(segment for segment, _ in fused[-1])
            file.write(f"{lines[0][0]},{names}\n")
    return fused


def fuse_rankings(arguments):
    """Nine rankings in memory to one, against dictionaries of ids."""
    given = _options(arguments)
    members = list(make_members(given.classes, given.segments, given.k))
    fused, ours = timed(ensemble.fuse, members, WEIGHTS, k=given.k)
    equal, reference = True, 0.0
    for class_id in range(given.slice):
        lists = [listed(member, class_id) for member in members]
        expected, seconds = timed(fuse_lists, lists, WEIGHTS, given.k)
        reference += seconds
        equal &= same_list(listed(fused, class_id), expected)
    _report("rankings", given, ours, reference, equal)


def _options(argv):
    given = options(argv, classes=50, slice=2, segments=2_060_000, k=100_000)
    given.slice = min(given.slice, given.classes)
    return given


def _report(kind, given, ours, reference, equal):
    ours, reference = ours / given.classes, reference / given.slice
    table(
        f"Nine {kind}, {given.k:,} ids a class; ours on {given.classes} "
        f"classes, the reference on {given.slice}; same result: {equal}; "
        f"peak of the process, generator included, {peak_gib():.2f} GiB",
        ["", "s a class", f"s for {NUM_CLASSES:,} (extrapolated)"],
        [
            ["ours", ours, ours * NUM_CLASSES],
            ["dictionaries", reference, reference * NUM_CLASSES],
        ],
    )
    ratio(reference / ours)
