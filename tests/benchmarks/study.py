"""What the stages, the shifts and the fusion gain on simulated test splits.

    python -m tests.benchmarks.study outputs-1 outputs-2 outputs-3

Each argument is a workspace that `make demo` left; of the concatenating family
with `MEMBERS=BERT-L2h12,BERTMean`.  A difference is that of two MAPs, paired,
with its 95 % interval by a bootstrap over videos; on the test ratings, except
where it says truth: there on the whole planted truth.
The workspaces are independent, so the interval of their mean is as wide as the
root of the sum of the squares of theirs, divided by how many they are.
All data are simulated; report generator seeds that nothing was tuned on.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from kit import data, inference, metrics, models, presets, results, synthetic
from kit.ensemble import fuse
from kit.ranking import Ranking, TopK

# Frame noise that is added to the features, in their own unit; the features
# of the sample spread by about 0.6.
NOISE = (0.0, 0.5, 1.0)
# Segments in a row that show a concept: intervals of 5, 10 and so on frames.
LENGTHS = {"1-2": (1, 2), "3-4": (3, 4), "5 or more": (5, 99)}
OPTIONS = {
    "geometric mean": dict(averaging="geometric"),
    "fusion by rank": dict(averaging="rank"),
    "edges left out": dict(leave_out=(2, 1)),
    "times video level": dict(video_level=True),
    "five best classes": dict(top_classes=5, multiply=False),
}


class Study:
    """One workspace and its test split."""

    def __init__(self, workspace, num_samples):
        self.workspace = workspace
        self.sample = next(workspace.glob("sample-*"))
        self.seed = synthetic.read_card(self.sample)["seed"]
        self.class_ids = data.read_segment_classes(self.sample)
        self.shards = data.list_shards(self.sample, "test")
        self.ratings = synthetic.load_test_ratings(self.sample)
        self.truth = synthetic.load_truth(self.sample)
        scores = results.load_scores(workspace / "scores.csv")
        self.names = results.members_of(scores)
        self.models = {
            name: keras.saving.load_model(workspace / name / "model.keras")
            for name in self.names
        }
        self.num_samples, self.rows = num_samples, []

    def compare(self, what, name, one, other, answers=None):
        interval = metrics.bootstrap(
            one,
            self.ratings if answers is None else answers,
            other,
            self.class_ids,
            num_samples=self.num_samples,
        )
        self.rows.append((self.seed, what, name, *interval))
        print(*self.rows[-1], sep="\t", flush=True)

    def rank(self, name, **options):
        model = self.models[name]
        by_video = options.pop("video_level", False)
        if by_video or "top_classes" in options:
            options["video_level"] = inference.mean_over_snippets(model)
        options = dict(shifts=presets.member(name).shifts) | options
        return inference.rank_segments(model, self.shards, **options)

    def stages(self):
        """Fine-tuning and TTA, and then the ensemble against its best."""
        tta = {}
        for name in self.names:
            first = models.restrict_classes(
                presets.load(self.workspace / name / "pretrain"),
                self.class_ids,
            )
            before = inference.rank_segments(first, self.shards)["tta"]
            after = self.rank(name)
            tta[name] = after["tta"]
            self.compare("fine-tuned less pre-trained", name, after["plain"],
                         before)  # fmt: skip
            self.compare("TTA less none", name, after["tta"], after["plain"])
        answers = results.load_answers(self.workspace / "answers")["hold-out"]
        alone = {
            name: metrics.mean_average_precision(
                Ranking.load(self.workspace / name / "holdout.npz"),
                answers,
                self.class_ids,
            )
            for name in self.names
        }
        best = max(alone, key=alone.get)
        fused = Ranking.load(self.workspace / "ensemble" / "test.npz")
        equal = fuse(list(tta.values()), np.ones(len(tta)))
        self.compare("ensemble less best single", best, fused, tta[best])
        self.compare("equal weights less best single", best, equal, tta[best])

    def options(self):
        """Each option of inference against the mean over shifts."""
        for name in self.names:
            mean = self.rank(name)["tta"]
            for what, options in OPTIONS.items():
                other = self.rank(name, **options)["tta"]
                self.compare(f"{what} less mean", name, other, mean)

    def lengths(self):
        """TTA by how long the concept stays, on the whole truth."""
        for name in self.names:
            found = self.rank(name)
            for what, (least, most) in LENGTHS.items():
                answers = _with_runs(self.truth, least, most)
                self.compare(f"TTA less none, truth, {what} segments", name,
                             found["tta"], found["plain"], answers)  # fmt: skip

    def noise(self):
        """TTA where the frames are noisier than those trained on."""
        for name in self.names:
            for level in NOISE:
                found = self._rank_noisy(name, level)
                self.compare(f"TTA less none, noise {level}", name,
                             found["tta"], found["plain"])  # fmt: skip

    def _rank_noisy(self, name, level):
        rng = np.random.default_rng(0)
        scoring = inference.Scoring(presets.member(name).shifts)
        best = {key: TopK(self.class_ids) for key in scoring.names}
        videos = data.videos(
            self.shards, num_classes=None, batch_size=32, with_ids=True
        )
        for inputs, _, ids in videos.as_numpy_iterator():
            frames, mask = inputs["frames"], inputs["mask"]
            noise = rng.normal(0, level * 255 / 4, frames.shape)
            frames = np.clip(np.rint(frames + noise), 0, 255).astype(np.uint8)
            rows, starts, scores = scoring.of_videos(
                self.models[name], frames, mask
            )
            for key, values in scores.items():
                best[key].add(values, ids[rows], starts)
        return {key: collector.ranking() for key, collector in best.items()}


def _with_runs(truth, least, most):
    """The truth without those positives whose run is shorter or longer."""
    truth = truth.sort_values(["label", "video_id", "start"])
    fresh = (
        (truth["score"] != truth["score"].shift())
        | (truth["video_id"] != truth["video_id"].shift())
        | (truth["label"] != truth["label"].shift())
    )
    length = truth.groupby(fresh.cumsum())["score"].transform("size")
    return truth[(truth["score"] == 0) | length.between(least, most)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspaces", nargs="+", type=Path)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument(
        "--parts", nargs="+", default=["stages", "options", "lengths", "noise"]
    )
    arguments = parser.parse_args()
    rows = []
    for workspace in arguments.workspaces:
        study = Study(workspace, arguments.samples)
        for part in arguments.parts:
            getattr(study, part)()
        rows += study.rows
    columns = ["seed", "what", "member", "difference", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    print("\nSIMULATED data; differences of MAP with 95 % intervals")
    print(table.round(4).to_string(index=False))
    print("\nmean over workspaces, with its 95 % interval")
    print(over_seeds(table).round(4).to_string())


def over_seeds(table):
    """The mean of each difference over workspaces, and its interval."""
    group = table.groupby(["what", "member"], sort=False)
    mean = group["difference"].mean()

    def reach(side):
        squares = (table[side] - table["difference"]) ** 2
        keys = [table["what"], table["member"]]
        total = squares.groupby(keys, sort=False).sum()
        return total**0.5 / group.size()

    low, high = mean - reach("low"), mean + reach("high")
    return pd.DataFrame({"difference": mean, "low": low, "high": high})


if __name__ == "__main__":
    main()
