"""One evaluation of the local MAP against regenerating the fused list."""

import argparse
import time

import numpy as np

from kit import metrics
from kit.ensemble import LocalMap, fuse
from kit.ranking import Ranking
from tests.benchmarks.fuse import fuse_lists
from tests.benchmarks.map import literal_precision
from tests.benchmarks.report import ratio, table


def make_case(num_classes, num_segments, num_rated, num_members=9, seed=0):
    """Members of rising skill over a hold-out, and its ratings."""
    rng = np.random.default_rng(seed)
    video = np.arange(num_segments) // 46
    ids = np.char.mod("%04d", video).astype("S")
    starts = np.arange(num_segments) % 46 * 5
    rated = rng.integers(0, num_segments, (num_classes, num_rated))
    truth = rng.random(rated.shape) < 0.557
    shared = rng.normal(size=(num_classes, num_segments)).astype(np.float32)
    np.put_along_axis(
        shared,
        rated,
        np.take_along_axis(shared, rated, 1) + truth.astype(np.float32),
        1,
    )
    members = []
    for number in range(num_members):
        order = np.empty((num_classes, num_segments), np.uint32)
        for column in range(num_classes):
            noise = rng.normal(size=num_segments).astype(np.float32)
            scores = shared[column] + (1.5 - 0.1 * number) * noise
            order[column] = np.argsort(-scores)
        offsets = np.arange(num_classes + 1) * num_segments
        members.append(
            Ranking(np.arange(num_classes), ids, starts, offsets, order.ravel())
        )
    ratings = {
        "video_id": ids[rated.ravel()].astype("U4"),
        "start": starts[rated.ravel()],
        "label": np.repeat(np.arange(num_classes), num_rated),
        "score": truth.ravel().astype(int),
    }
    once = np.unique(
        ratings["label"] * num_segments + rated.ravel(), return_index=True
    )[1]
    return members, {name: values[once] for name, values in ratings.items()}


def regenerate(members, ratings, weights, classes, k):
    """Fuses by dictionaries, then scores item by item."""
    values = []
    for class_id in classes:
        mine = np.flatnonzero(ratings["label"] == class_id)
        truths = {
            (ratings["video_id"][i].encode(), ratings["start"][i]): int(
                ratings["score"][i]
            )
            for i in mine
        }
        lists = []
        for member in members:
            rows = member.indices(class_id)
            pairs = zip(
                member.video_ids[rows].tolist(),
                member.starts[rows].tolist(),
                strict=True,
            )
            lists.append(list(pairs))
        fused = [segment for segment, _ in fuse_lists(lists, weights, k)]
        places = range(len(fused), 0, -1)
        values.append(literal_precision(fused, places, truths, k))
    return values


def weight_search(arguments):
    """Prints the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--segments", type=int, default=20_000)
    parser.add_argument("--rated", type=int, default=18)
    parser.add_argument("--slice", type=int, default=3)
    options = parser.parse_args(arguments)
    members, ratings = make_case(
        options.classes, options.segments, options.rated
    )
    weights = np.random.default_rng(1).dirichlet(np.ones(len(members)))
    begun = time.perf_counter()
    local = LocalMap(members, ratings)
    prepared = time.perf_counter() - begun
    begun = time.perf_counter()
    for _ in range(20):
        value = local(weights)
    ours = (time.perf_counter() - begun) / 20
    begun = time.perf_counter()
    fused = fuse(members, weights)
    exact = metrics.mean_average_precision(fused, ratings)
    whole = time.perf_counter() - begun
    begun = time.perf_counter()
    classes = range(options.slice)
    expected = regenerate(members, ratings, weights, classes, 100_000)
    slow = (time.perf_counter() - begun) * options.classes / options.slice
    gap = np.abs(local.precisions(weights)[: options.slice] - expected).max()
    rows = [
        ["ours, one evaluation", ours],
        ["ours, once before", prepared],
        ["kit's own fusion and MAP", whole],
        ["dictionaries and a loop (extrapolated)", slow],
    ]
    table(
        f"Local MAP of {len(members)} members, {len(ratings['label']):,} "
        f"rated pairs, {options.classes:,} classes, {options.segments:,} "
        f"segments; MAP {value:.4f}, {abs(value - exact):.0e} from kit's, "
        f"{gap:.0e} from the reference",
        ["", "s"],
        rows,
    )
    ratio(slow / ours)
