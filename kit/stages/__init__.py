"""The two stages that a member goes through, for notebooks and the queue.

pretrain: labels of whole videos; each example is a few frames from anywhere
    in a video, which has its labels.
finetune: rated segments, from the pre-trained weights or from scratch.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import keras
import pandas as pd

from kit import data, models, presets, runtime, training
from kit.stages import queue
from kit.stages.examples import (
    segment_batches,
    segment_data,
    video_batches,
    video_data,
)
from kit.stages.queue import table
from kit.training import hosts

__all__ = [
    "PLANS",
    "STAGES",
    "begin_anew",
    "check",
    "evaluation",
    "facts",
    "finetune",
    "pretrain",
    "queue",
    "segment_batches",
    "table",
    "train",
    "video_batches",
]

# What a setting of a stage that is None means, as `runtime.settings` takes it.
# Section 7 of the paper; how often to look is ours.
PLANS = {
    "pretrain": {
        "needs": ("train", "validate"),
        "packed": ("train",),
        "paper": {
            "steps": 200_000,
            "learning_rate": 1e-4,
            "evaluate_every": 5_000,
        },
        "sample": {"steps": 240, "learning_rate": 1e-3, "evaluate_every": 40},
    },
    "finetune": {
        "needs": ("validate",),
        "paper": {
            "steps": 20_000,
            "learning_rate": 5e-5,
            "evaluate_every": 200,
            "patience": 25,
        },
        "sample": {
            "steps": 300,
            "learning_rate": 3e-4,
            "evaluate_every": 25,
            "patience": 8,
        },
    },
}


def evaluation(run) -> training.SegmentEvaluation:
    """MAP on the half of the hold-out that picks checkpoints."""
    shards = data.list_shards(run.data_dir, "validate")
    where = {"spec": run.spec, "holdout": run.holdout}
    known = data.ratings(shards, part="holdout", **where)
    ours = run.holdout.select(known["video_id"], "checkpoint")
    ratings = known[ours].reset_index(drop=True)
    segments = data.rated_segments(
        shards,
        class_ids=run.segment_classes,
        with_ids=True,
        part="checkpoint",
        **where,
    )
    evaluate = training.SegmentEvaluation(
        segments, ratings, run.segment_classes
    )
    if ours.all():
        raise ValueError(
            "Both halves of the hold-out must have rated videos, and the one "
            "that weighs members has none: give more validate shards, or "
            "another --holdout-fraction. Received: holdout_fraction="
            f"{run.holdout.fraction}"
        )
    positive = set(ratings["label"][ratings["score"] == 1])
    none = sorted(set(run.segment_classes.tolist()) - positive)
    print(
        f"{len(evaluate.starts):,} rated segments in this half of the hold-out"
    )
    if none:
        print(
            f"{len(none)} classes have no positive there and are left out of "
            f"its MAP: {', '.join(map(str, none[:9]))}"
        )
    return evaluate


def pretrain(run, name: str, evaluate) -> pd.DataFrame:
    """Trains a member on video labels; see `training.fit`.

    Args:
        run: From `runtime.settings`, of notebook 2.
        name: A key of `presets.MEMBERS` or `presets.BASELINES`.
        evaluate: From `evaluation`.
    """
    model = presets.build(
        name, run.num_classes, scale=run.scale, spec=run.spec, seed=run.seed
    )
    return training.fit(
        model,
        video_batches(run, name),
        evaluate=evaluate,
        keep="last",
        stage=runtime.stage(run, name, "pretrain"),
        facts=facts(run, model, name, run.scale, video_data(run, name)),
        **_options(run, name),
    )


def finetune(run, name: str, evaluate) -> pd.DataFrame:
    """Trains a member on rated segments, and writes its `model.keras`."""
    scale, digest = run.scale, None
    options = _options(run, name)
    if run.from_scratch:
        if run.given.get("learning_rate") is None:
            # Fresh weights have the way of pre-training to go.
            plan = PLANS["pretrain"]["sample" if run.is_sample else "paper"]
            options["learning_rate"] *= (
                plan["learning_rate"] / run.learning_rate
            )
        model = presets.build(
            name,
            class_ids=run.segment_classes,
            scale=scale,
            spec=run.spec,
            seed=run.seed,
        )
    else:
        before = runtime.pretrained(run, name)
        scale = presets.stage_config(before)["scale"]
        keras.utils.set_random_seed(run.seed)
        model = models.restrict_classes(
            presets.load(before), run.segment_classes
        )
        with (before / "stage.weights.h5").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return training.fit(
        model,
        segment_batches(run),
        evaluate=evaluate,
        patience=run.patience,
        export=run.output_dir / name / "model.keras",
        stage=runtime.stage(run, name, "finetune"),
        facts=facts(run, model, name, scale, segment_data(run))
        | {"pretrained": digest},
        **options,
    )


STAGES = {"pretrain": pretrain, "finetune": finetune}


def begin_anew(run, stages: Sequence[str], names: Sequence[str]) -> None:
    """Clears all of these stages before the first begins, so that a run that
    is killed in it does not find an old second one when it goes on."""
    if hosts.host()[0] == 0:
        for name in names:
            for stage in stages:
                place = runtime.stage(run, name, stage)
                with place.locked():
                    place.clear()
            if "finetune" in stages:
                model = run.output_dir / name / "model.keras"
                model.unlink(missing_ok=True)
    hosts.agree(True)  # all wait until that is done


def check(stage: str, run, names: Sequence[str]) -> None:
    """Has what would fail a member fail before any long work.

    Raises:
        ValueError: Where a member lacks its data or its pre-training, or was
            trained otherwise before.
    """
    for name in names:
        if stage == "pretrain":
            video_data(run, name)
        elif not run.from_scratch:
            runtime.pretrained(run, name)
        if not run.restart:
            asked = {"steps": run.steps, "seed": run.seed}
            runtime.stage(run, name, stage).finished(asked)


def train(
    stage: str, run, names: Sequence[str], evaluate
) -> dict[str, pd.DataFrame]:
    """Takes members through a stage: each on a GPU of its own where there are
    several, else one after the other.

    Returns:
        Name to the history of the stage, of those members that have one.
    """
    names = list(dict.fromkeys(names))
    check(stage, run, names)
    places = queue.slots(run)
    if len(places) > 1 and len(names) > 1:
        if run.restart:
            begin_anew(run, [stage], names)
        queue.work(run, [stage], names, places)
        found = {
            name: runtime.stage(run, name, stage).history() for name in names
        }
    else:
        found = {}
        for name in names:
            print(f"\n{name}: {stage}")
            found[name] = STAGES[stage](run, name, evaluate)
    return {name: history for name, history in found.items() if len(history)}


def facts(run, model: keras.Model, name: str, scale: str, data_of) -> dict:
    """What a stage must have in common with another to go on with it."""
    return {
        "data": data_of,
        "member": name,
        "scale": scale,
        "seed": run.seed,
        "class_ids": models.class_ids(model).tolist(),
        "spec": dataclasses.asdict(models.frame_spec(model)),
        "holdout": dataclasses.asdict(run.holdout),
        "simulated": run.is_sample,
    }


def _options(run, name) -> dict:
    """What `training.fit` takes of the settings of a run."""
    factor = presets.member(name).learning_rate_factor
    return {
        "steps": run.steps,
        "batch_size": run.batch_size,
        "learning_rate": run.learning_rate * factor,
        "evaluate_every": run.evaluate_every,
        "warmup_steps": run.warmup_steps or 0,
        "averaging": run.averaging_share or 0.0,
        "restart": bool(run.restart),
        "deadline": run.deadline,
    }
