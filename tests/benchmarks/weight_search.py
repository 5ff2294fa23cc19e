"""One evaluation of the local MAP against regenerating the fused list."""

import numpy as np

from kit import metrics
from kit.ensemble import LocalMap, fuse
from tests.benchmarks.cases import ranking_of, ratings_of, segments
from tests.benchmarks.fuse import fuse_lists
from tests.benchmarks.map import literal_precision
from tests.benchmarks.report import options, ratio, table, timed
from tests.rankings import listed, truths_of


def make_case(num_classes, num_segments, num_rated, num_members=9, seed=0):
    """Members of rising skill over a hold-out, and its ratings."""
    rng = np.random.default_rng(seed)
    ids, starts = segments(np.arange(num_segments))
    rated = rng.integers(0, num_segments, (num_classes, num_rated))
    truth = rng.random(rated.shape) < 0.557
    shared = rng.normal(size=(num_classes, num_segments)).astype(np.float32)
    raised = np.take_along_axis(shared, rated, 1) + truth.astype(np.float32)
    np.put_along_axis(shared, rated, raised, 1)
    members = []
    for number in range(num_members):
        order = np.empty((num_classes, num_segments), np.uint32)
        for column in range(num_classes):
            noise = rng.normal(size=num_segments).astype(np.float32)
            scores = shared[column] + (1.5 - 0.1 * number) * noise
            order[column] = np.argsort(-scores)
        members.append(ranking_of(order, ids, starts))
    ratings = ratings_of(ids, starts, rated, truth)
    # Each segment once a class.
    pairs = ratings["label"] * num_segments + rated.ravel()
    _, once = np.unique(pairs, return_index=True)
    return members, {name: values[once] for name, values in ratings.items()}


def regenerate(members, ratings, weights, classes, k):
    """Fuses by dictionaries, then scores item by item."""
    values = []
    for class_id in classes:
        lists = [listed(member, class_id) for member in members]
        fused = [segment for segment, _ in fuse_lists(lists, weights, k)]
        places = range(len(fused), 0, -1)
        truths = truths_of(ratings, class_id)
        values.append(literal_precision(fused, places, truths, k))
    return values


def weight_search(argv):
    """Prints the comparison."""
    given = options(argv, classes=1_000, segments=20_000, rated=18, slice=3)
    members, ratings = make_case(given.classes, given.segments, given.rated)
    weights = np.random.default_rng(1).dirichlet(np.ones(len(members)))
    local, prepared = timed(LocalMap, members, ratings)
    values, ours = timed(lambda: [local(weights) for _ in range(20)])
    measure = metrics.mean_average_precision
    exact, whole = timed(lambda: measure(fuse(members, weights), ratings))
    classes = range(given.slice)
    expected, slow = timed(
        regenerate, members, ratings, weights, classes, 100_000
    )
    gap = np.abs(local.precisions(weights)[: given.slice] - expected).max()
    ours, slow = ours / 20, slow * given.classes / given.slice
    table(
        f"Local MAP of {len(members)} members, {len(ratings['label']):,} "
        f"rated pairs, {given.classes:,} classes, {given.segments:,} "
        f"segments; MAP {values[0]:.4f}, {abs(values[0] - exact):.0e} from "
        f"kit's, {gap:.0e} from the reference",
        ["", "s"],
        [
            ["ours, one evaluation", ours],
            ["ours, once before", prepared],
            ["kit's own fusion and MAP", whole],
            ["dictionaries and a loop (extrapolated)", slow],
        ],
    )
    ratio(slow / ours)
