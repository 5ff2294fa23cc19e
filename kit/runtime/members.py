"""What a run asks of one member, and what earlier notebooks left of it."""

import dataclasses
import json
from pathlib import Path

import keras

from kit import inference, models, presets
from kit.runtime.places import find_output
from kit.splits import Holdout

# Segments at the start and the end of a video that annotators never rated.
UNRATED_EDGES = (6, 2)


def stage(run, name: str, model: keras.Model, scale: str) -> dict:
    """What `kit.training.fit` takes of a run's settings, for one member."""
    rate = run.learning_rate * presets.member(name).learning_rate_factor
    facts = {
        "member": name,
        "scale": scale,
        "seed": run.seed,
        "class_ids": models.class_ids(model).tolist(),
        "spec": dataclasses.asdict(models.frame_spec(model)),
        "holdout": dataclasses.asdict(run.holdout),
        "simulated": run.is_sample,
    }
    return {
        "steps": run.steps,
        "batch_size": run.batch_size,
        "learning_rate": rate,
        "evaluate_every": run.evaluate_every,
        "facts": facts,
    }


def scoring(run, name: str, model: keras.Model) -> dict:
    """The options of `kit.inference` that a run asks for, for one member."""
    by_video = run.video_level or run.top_classes
    return {
        "shifts": presets.member(name).shifts,
        "averaging": run.averaging,
        "leave_out": UNRATED_EDGES if run.leave_out_edges else (0, 0),
        "video_level": inference.mean_over_snippets(model)
        if by_video
        else None,
        "top_classes": run.top_classes,
    }


def pretrained(run, name: str) -> Path:
    """The finished pre-training of a member, by the same hold-out as this run.

    Raises:
        ValueError: Where it is missing, unfinished, or has trained on videos
            that this run holds out.
    """
    folder = find_output(run.output_dir, f"{name}/pretrain", "02_pretrain")
    config = presets.stage_config(folder)
    _check_holdout(run, folder, config)
    unknown = set(map(int, run.segment_classes)) - set(config["class_ids"])
    if unknown:
        raise ValueError(
            "A member must know the segment classes of the data: pre-train it "
            "on the same data set, or give another --output-dir. Received: "
            f"{folder}, which lacks classes {sorted(unknown)[:9]}"
        )
    return folder


def finetuned(run, name: str) -> Path:
    """The `model.keras` of a member, made for the data of this run.

    Raises:
        ValueError: Where it is missing, or its classes, frames or hold-out
            differ from those of the data.
    """
    path = find_output(run.output_dir, f"{name}/model.keras", "03_finetune")
    config = json.loads((path.parent / "finetune/config.json").read_text())
    _check_holdout(run, path, config)
    expected = {
        "class_ids": list(map(int, run.segment_classes)),
        "spec": dataclasses.asdict(run.spec),
        "simulated": run.is_sample,
    }
    different = [key for key in expected if config[key] != expected[key]]
    if different:
        raise ValueError(
            "A model must be made for the data it is given: fine-tune it on "
            "this data set, or give another --output-dir. Received: "
            f"{path}, which differs in {', '.join(different)}"
        )
    return path


def _check_holdout(run, path, config):
    if Holdout(**config["holdout"]) != run.holdout:
        raise ValueError(
            "All stages must hold out the same videos, or scores are of "
            "videos that were trained on: give the same --holdout-fraction, "
            f"or train again. Received: {config['holdout']} in {path}, "
            f"{dataclasses.asdict(run.holdout)} now"
        )
