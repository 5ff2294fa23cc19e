"""What each stage of training is worth on simulated test splits.

    python -m tests.benchmarks.study_stages WORKSPACE SEED [SEED ...]

For each seed a sample is generated below WORKSPACE and one member of each
family is trained four ways: pre-trained alone, fine-tuned from scratch, both,
and both with unrated classes taken for negatives, as the released code did.
A difference is that of two MAPs, without shifts, paired, with its 95 % interval
by a bootstrap over videos: on the test ratings, and on the planted truth of
every segment and class.  What is trained already is not trained again.  All
data are simulated; report generator seeds that nothing was tuned on.
"""

import argparse
import contextlib
import io
from pathlib import Path

import keras

from kit import (
    data,
    inference,
    metrics,
    models,
    presets,
    runtime,
    stages,
    synthetic,
    training,
)

FAMILIES = ("BERTMean", "GatedNetVLAD", "MixNeXtVLAD-60")
PAIRS = (
    ("both", "pre-training alone"),
    ("both", "fine-tuning alone"),
    ("fine-tuning alone", "pre-training alone"),
    ("both", "both, unrated as negative"),
)


def settings(workspace, seed, stage, **more):
    parameters = {"output_dir": str(workspace), "seed": seed, **more}
    return runtime.settings(
        dict.fromkeys(runtime.SETTINGS) | parameters, **stages.PLANS[stage]
    )


def with_negatives(run, name, evaluate):
    """Fine-tuning as the released code did it."""
    before = runtime.pretrained(run, name)
    keras.utils.set_random_seed(run.seed)
    model = models.restrict_classes(presets.load(before), run.segment_classes)
    rated = stages.segment_batches(run)

    def batches(interval):
        import tensorflow as tf

        return rated(interval).map(
            lambda inputs, targets: (inputs, tf.maximum(targets, 0))
        )

    factor = presets.member(name).learning_rate_factor
    training.fit(
        model,
        batches,
        evaluate=evaluate,
        stage=training.Stage(run.output_dir / name / "negatives"),
        steps=run.steps,
        batch_size=run.batch_size,
        learning_rate=run.learning_rate * factor,
        evaluate_every=run.evaluate_every,
        patience=run.patience,
    )
    return model


def trained(workspace, seed, name, **more) -> dict:
    """The member, trained the four ways."""
    run = settings(workspace, seed, "pretrain", **more)
    evaluate = stages.evaluation(run)
    stages.pretrain(run, name, evaluate)
    before = presets.load(runtime.pretrained(run, name))
    found = {
        "pre-training alone": models.restrict_classes(
            before, run.segment_classes
        )
    }
    run = settings(workspace, seed, "finetune", **more)
    stages.finetune(run, name, evaluate)
    found["both"] = keras.saving.load_model(runtime.finetuned(run, name))
    found["both, unrated as negative"] = with_negatives(run, name, evaluate)
    more |= {"from_scratch": True, "data_dir": run.data_dir}
    run = settings(workspace / "scratch", seed, "finetune", **more)
    stages.finetune(run, name, evaluate)
    found["fine-tuning alone"] = keras.saving.load_model(
        runtime.finetuned(run, name)
    )
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--members", nargs="+", default=FAMILIES)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--steps", type=int, help="of each stage, to try it")
    options = parser.parse_args()
    print("seed", "measure", "what", "member", "value", "low", "high",
          sep="\t")  # fmt: skip
    for seed in options.seeds:
        for name in options.members:
            workspace = options.workspace / f"seed-{seed}"
            with contextlib.redirect_stdout(io.StringIO()):
                found = trained(workspace, seed, name, steps=options.steps)
                sample = workspace / f"sample-{seed}"
                shards = data.list_shards(sample, "test")
                ranked = {
                    what: inference.rank_segments(model, shards)["plain"]
                    for what, model in found.items()
                }
            classes = data.read_segment_classes(sample)
            for measure, answers in {
                "ratings": synthetic.load_test_ratings(sample),
                "truth": synthetic.load_truth(sample),
            }.items():
                compare(seed, name, measure, ranked, answers, classes,
                        options.samples)  # fmt: skip


def compare(seed, name, measure, ranked, answers, classes, num_samples):
    """Prints each score, and then each difference with its interval."""
    for what, ranking in ranked.items():
        score = metrics.mean_average_precision(ranking, answers, classes)
        print(seed, measure, what, name, score, sep="\t", flush=True)
    for one, other in PAIRS:
        interval = metrics.bootstrap(
            ranked[one],
            answers,
            ranked[other],
            classes,
            num_samples=num_samples,
        )
        what = f"{one} less {other}"
        print(seed, measure, what, name, *interval, sep="\t", flush=True)


if __name__ == "__main__":
    main()
