"""What the stages, the shifts and the fusion gain on simulated test splits.

    python -m tests.benchmarks.study outputs-1 outputs-2 outputs-3

Each argument is a workspace that `make demo` left.  A difference is that of
two MAPs on the test ratings, paired, with its 95 % interval by a bootstrap
over videos.  All data are simulated; report generator seeds that nothing was
tuned on.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from kit import data, inference, metrics, models, presets, results, synthetic
from kit.ensemble import fuse
from kit.ranking import Ranking


def rankings_of(workspace, name, shards, class_ids):
    """The test split ranked by one member: pre-trained, fine-tuned, TTA."""
    shifts = presets.member(name).shifts
    first = models.restrict_classes(
        presets.load(workspace / name / "pretrain"), class_ids
    )
    model = keras.saving.load_model(workspace / name / "model.keras")
    found = inference.rank_segments(model, shards, shifts=shifts)
    return {
        "pre-trained": inference.rank_segments(first, shards)["tta"],
        "fine-tuned": found["plain"],
        "+ TTA": found["tta"],
    }


def differences(workspace, num_samples):
    """Rows of (what, member, difference, low, high) of one workspace."""
    sample = next(workspace.glob("sample-*"))
    class_ids = data.read_segment_classes(sample)
    shards = data.list_shards(sample, "test")
    ratings = synthetic.load_test_ratings(sample)
    names = results.ranked_members(workspace)
    ranked = {
        name: rankings_of(workspace, name, shards, class_ids) for name in names
    }
    rows = []

    def compare(what, name, one, other):
        interval = metrics.bootstrap(
            one, ratings, other, class_ids, num_samples=num_samples
        )
        rows.append((what, name, *interval))

    for name, stages in ranked.items():
        compare("fine-tuned less pre-trained", name, stages["fine-tuned"],
                stages["pre-trained"])  # fmt: skip
        compare("TTA less none", name, stages["+ TTA"], stages["fine-tuned"])
    answers = results.load_answers(workspace)["hold-out"]
    alone = {
        name: metrics.mean_average_precision(
            Ranking.load(workspace / name / "holdout.npz"), answers, class_ids
        )
        for name in names
    }
    best = max(alone, key=alone.get)
    fused = Ranking.load(workspace / "ensemble" / "test.npz")
    compare("ensemble less best single", best, fused, ranked[best]["+ TTA"])
    lists = [ranked[name]["+ TTA"] for name in names]
    equal = fuse(lists, np.ones(len(lists)))
    compare("equal weights less best single", best, equal,
            ranked[best]["+ TTA"])  # fmt: skip
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspaces", nargs="+", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    tables = []
    for workspace in options.workspaces:
        rows = differences(workspace, options.samples)
        table = pd.DataFrame(
            rows, columns=["what", "member", "difference", "low", "high"]
        )
        sample = next(workspace.glob("sample-*"))
        table.insert(0, "seed", synthetic.read_card(sample)["seed"])
        tables.append(table)
    table = pd.concat(tables)
    print("SIMULATED data; differences of MAP on the test ratings")
    print(table.round(4).to_string(index=False))
    print("\nmean over seeds")
    means = table.groupby(["what", "member"])["difference"].mean()
    print(means.round(4).to_string())


if __name__ == "__main__":
    main()
