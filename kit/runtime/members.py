"""What a run asks of one member, and what earlier notebooks left of it."""

import dataclasses
from pathlib import Path

import keras

from kit import inference, models, presets, training
from kit.runtime.places import (
    SCRATCH,
    find_output,
    find_outputs,
    host,
    outputs,
)
from kit.splits import Holdout

# Segments at the start and the end of a video that annotators never rated.
UNRATED_EDGES = (6, 2)


def stage(run, name: str, which: str) -> training.Stage:
    """Where a member's `"pretrain"` or `"finetune"` is, or will be."""
    inside = f"{name}/{which}"
    scratch = SCRATCH.get(host())
    return training.Stage(
        run.output_dir / inside,
        scratch and Path(scratch, inside),
        outputs(run.output_dir, inside),
    )


def scoring(run, name: str, model: keras.Model) -> dict:
    """The options of `kit.inference` that a run asks for, for one member."""
    by_video = run.video_level or run.top_classes is not None
    return {
        "shifts": presets.member(name).shifts,
        "averaging": run.averaging,
        "leave_out": UNRATED_EDGES if run.leave_out_edges else (0, 0),
        "video_level": inference.mean_over_snippets(model)
        if by_video
        else None,
        "multiply": run.video_level,
        "top_classes": run.top_classes,
    }


def rank_member(run, name: str, file, splits: dict, scored) -> dict:
    """Ranks the hold-out and this run's part of the test split.

    Each is saved as soon as it is ranked, as `<split>.npz`; what the same run
    left before is not ranked again.

    Args:
        file: The member's `model.keras`.
        splits: `"holdout"` and `"test"` to what `data.videos` takes.
        scored: The splits whose answers are known; the others are ranked
            with shifts only.

    Returns:
        Split to what `inference.rank_part` returns; nothing for a test split
        that lacks parts.
    """
    model = keras.saving.load_model(file)
    options = scoring(run, name, model)
    shares = {"holdout": "1/1", "test": run.part}
    return {
        split: inference.rank_part(
            model,
            **reading,
            share=shares[split],
            folder=run.output_dir / name,
            split=split,
            scratch=_unsaved(run, name),
            scoring={**options, "plain": split in scored},
            progress=inference.print_progress(f"{name}, {split}: "),
        )
        for split, reading in splits.items()
    }


def rank_pretrained(run, name: str, stage, splits: dict, scored) -> dict:
    """Ranks the splits in `scored` by a member as pre-training left it.

    Returns:
        Split to `Ranking`, without shifts, of the segment classes.
    """
    model = models.restrict_classes(presets.load(stage), run.segment_classes)
    return {
        split: inference.rank_part(
            model,
            **splits[split],
            share="1/1",
            folder=_unsaved(run, name),
            split=f"{split}-pretrained",
            scoring={"plain": False},
        )["tta"]
        for split in sorted(scored)
    }


def _unsaved(run, name):
    """Where a member leaves what nobody needs once scores are known."""
    return Path(SCRATCH.get(host(), run.output_dir), name)


def pretrained(run, name: str) -> Path:
    """The finished pre-training of a member, by the same hold-out as this run.

    Raises:
        ValueError: Where it is missing, unfinished, or has trained on videos
            that this run holds out.
    """
    places = stage(run, name, "pretrain").sources()
    found = [place for place in places if (place / "config.json").exists()]
    if not found:  # or one that is unfinished, which is told next
        found = find_outputs(run.output_dir, f"{name}/pretrain", "02_pretrain")
    folder = found[0]
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


def pretrained_before(run, names) -> dict[str, Path]:
    """The pre-training of those members that were not fine-tuned from scratch.

    Raises:
        ValueError: As `pretrained` does.
    """
    found = {}
    for name in names:
        folder = finetuned(run, name).parent / "finetune"
        if presets.stage_config(folder)["pretrained"] is not None:
            found[name] = pretrained(run, name)
    return found


def finetuned(run, name: str) -> Path:
    """The `model.keras` of a member, made for the data of this run.

    Raises:
        ValueError: Where it is missing, or its classes, frames or hold-out
            differ from those of the data.
    """
    path = find_output(run.output_dir, f"{name}/model.keras", "03_finetune")
    config = presets.stage_config(path.parent / "finetune")
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
