"""The parameters of a notebook, turned into the settings of a run."""

import argparse
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

from kit import data, inference, presets
from kit.runtime.places import find_data, time_limit, workspace
from kit.spec import FrameSpec
from kit.splits import Holdout

# What a setting that is None means, where no notebook says otherwise.
PAPER = {
    "members": list(presets.MEMBERS),
    "scale": "paper",
    "batch_size": 128,
    "num_classes": 3862,
    "holdout_fraction": Holdout().fraction,
}
SAMPLE = {
    "members": ["BERTMean", "BERTCrossAttn", "GatedNetVLAD", "MixNeXtVLAD-60"],
    "scale": "tiny",
    "batch_size": 64,
    "holdout_fraction": 0.4,
}

# Every setting a notebook may have, and the type of its value.
SETTINGS = {
    "data_dir": list,
    "output_dir": str,
    "pack_dir": str,
    "snippets": int,
    "seed": int,
    "members": list,
    "baseline": bool,
    "only": str,
    "workers": int,
    "devices": str,
    "scale": str,
    "num_classes": int,
    "frame_spec": list,
    "steps": int,
    "batch_size": int,
    "learning_rate": float,
    "warmup_steps": int,
    "averaging_share": float,
    "evaluate_every": int,
    "patience": int,
    "from_scratch": bool,
    "precision": str,
    "holdout_fraction": float,
    "time_limit": float,
    "restart": bool,
    "evaluations": int,
    "averaging": str,
    "submissions": str,
    "leave_out_edges": bool,
    "video_level": bool,
    "top_classes": int,
    "part": str,
}
CHOICES = {
    "scale": ("paper", "tiny"),
    "averaging": inference.AVERAGING,
    "devices": ("each", "all"),
    "submissions": ("best", "all"),
    "only": ("pretrain", "finetune"),
}
MAY_BE_ZERO = {"seed", "warmup_steps", "averaging_share"}
STARTED = time.time()


def flags(parameters: Mapping) -> dict:
    """The settings that `parameters` has, each in its type; those of a script
    after its command line."""
    chosen = {name: parameters[name] for name in SETTINGS if name in parameters}
    # A kernel has no file, and its arguments are not ours.
    if parameters.get("__name__") == "__main__" and "__file__" in parameters:
        chosen = _flags(chosen, parameters["__file__"])
    return {name: _checked(name, value) for name, value in chosen.items()}


def settings(
    parameters: Mapping, *, needs=(), packed=(), paper=None, sample=None
) -> SimpleNamespace:
    """Turns the parameters of a notebook into the settings of a run.

    When the notebook runs as a script, command-line flags win over the values
    given here, and `--help` shows the comment behind each parameter.  The
    workspace is created, the data are found, and both are checked before any
    long work starts.

    Args:
        parameters: The notebook's parameters by name; `globals()` will do, of
            which those named in `SETTINGS` are taken.
        needs: The splits that the notebook reads, of `"train"`, `"validate"`
            and `"test"`.  Without any, no data are looked for.
        packed: Those of them that a pack stands in for, where one is given.
        paper: What a parameter that is `None` means on real data.
        sample: What it means on the generated sample.

    Returns:
        Every setting as an attribute, None where it was not given, with
        `output_dir` and `data_dir` as found; what was `given`; `is_sample`,
        true where the data are simulated; `deadline`, when to stop, in seconds
        since the epoch or None; and, where data are needed, `spec`, `holdout`,
        `num_classes` of the video labels, the ids of the `segment_classes`
        and the `names` of classes by id.

    Raises:
        ValueError: A value of the wrong type, a workspace that cannot be
            written, no data, or data without a needed split.
    """
    given = flags(parameters)
    run = SimpleNamespace(**dict.fromkeys(SETTINGS) | given, given=given)
    run.output_dir = workspace(run.output_dir)
    run.is_sample = False
    hours = run.time_limit or time_limit()
    run.deadline = STARTED + 3600 * hours if hours else None
    if run.pack_dir is not None:
        needs = [split for split in needs if split not in packed]
    if needs:
        run.data_dir, run.is_sample = find_data(
            run.data_dir, run.output_dir, run.seed, needs
        )
        shared, own = (SAMPLE, sample) if run.is_sample else (PAPER, paper)
        for name, value in {**shared, **(own or {})}.items():
            if getattr(run, name) is None:
                setattr(run, name, value)
    _announce(run, given)
    if needs:
        run.holdout = Holdout(run.holdout_fraction)
        _describe_classes(run, data.list_shards(run.data_dir, needs[0]))
    return run


def _describe_classes(run, shards):
    """Adds what the data say about their frames and classes."""
    run.spec = FrameSpec(*map(int, run.frame_spec or ()))
    # Beside the shards too, where the data set is a glob.
    above = {str(folder) for path in shards for folder in
             list(Path(path).parents)[:2] if "://" not in path}  # fmt: skip
    places = [run.data_dir, sorted(above, key=len)]
    vocabulary = data.read_vocabulary(places)
    run.segment_classes = data.read_segment_classes(places)
    run.names = {}
    if vocabulary is not None:
        run.names = {
            class_id: name or f"class {class_id}"
            for class_id, name in vocabulary[["Index", "Name"]].to_numpy()
        }
    if run.is_sample:
        run.num_classes = max(run.names) + 1
    # The vocabulary that Kaggle gives lists the segment classes alone.
    if run.segment_classes is None and 0 < len(run.names) < run.num_classes:
        run.segment_classes = vocabulary["Index"].to_numpy(int)
    if run.segment_classes is None:
        raise ValueError(
            "The segment task needs to know its classes: put "
            "`segment_label_ids.csv` of the YouTube-8M download page, or "
            "Kaggle's `vocabulary.csv`, into the data folder. Received: "
            f"data_dir={run.data_dir!r}"
        )


def _flags(parameters, file):
    """Reads the command line of a script; its comments are the help texts."""
    source = Path(file).read_text()
    comments = dict(re.findall(r"^(\w+) = .*?  # (.+)$", source, re.MULTILINE))
    parser = argparse.ArgumentParser(
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    for name, default in parameters.items():
        kind = SETTINGS[name]
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type={list: str, bool: _yes_or_no}.get(kind, kind),
            default=default,
            help=comments.get(name, name).replace("%", "%%"),
        )
    return vars(parser.parse_args())


def _yes_or_no(text):
    if text.lower() not in ("yes", "no", "true", "false"):
        raise argparse.ArgumentTypeError(f"yes or no, not {text!r}")
    return text.lower() in ("yes", "true")


def _checked(name, value):
    """The value of a setting, in its type."""
    if value is None:
        return None
    kind = SETTINGS[name]
    if isinstance(value, os.PathLike):
        value = str(value)
    if kind is list and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if kind is list and not value:
        raise ValueError(
            f"`{name}` must name something. Received: {name}={value!r}"
        )
    if name == "frame_spec" and not all(str(x).isdecimal() for x in value):
        raise ValueError(
            "`frame_spec` must be whole numbers: rgb, audio, max_frames, "
            f"segment_frames. Received: frame_spec={value!r}"
        )
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ValueError(
            f"`{name}` must be of type {kind.__name__}, or None for its "
            f"default. Received: {name}={value!r}"
        )
    least = 0 if name in MAY_BE_ZERO else 1e-12
    if kind in (int, float) and not value >= least:
        raise ValueError(f"`{name}` must be positive. Received: {name}={value}")
    if name in CHOICES and value not in CHOICES[name]:
        raise ValueError(
            f"`{name}` must be one of {CHOICES[name]}. "
            f"Received: {name}={value!r}"
        )
    if name == "members":
        for member in value:
            presets.member(member)
        if len(set(value)) < len(value):
            raise ValueError(
                "`members` must name each member once; remove the others. "
                f"Received: members={value}"
            )
    if name == "part":
        inference.parse_part(value)
    return value


def _announce(run, names):
    for name in names:
        value = getattr(run, name)
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:>16}: {text}")
    if run.is_sample:
        print("The data are SIMULATED: no score here is one of YouTube-8M.")
