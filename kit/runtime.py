"""Where a notebook runs, where its data are, and what its settings mean."""

import argparse
import dataclasses
import os
import re
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import keras

from kit import data, inference, models, presets, synthetic
from kit.spec import FrameSpec
from kit.splits import Holdout

WORKSPACES = {
    "kaggle": "/kaggle/working",
    "colab": "/content/outputs",
    "here": "outputs",
}
# Folders under which a host shows what a user attached.
INPUTS = {
    "kaggle": ["/kaggle/input"],
    "colab": ["/content/yt8m", "/content/drive/MyDrive/yt8m"],
    "here": [],
}

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
    "data_dir": str,
    "output_dir": str,
    "seed": int,
    "members": list,
    "scale": str,
    "num_classes": int,
    "steps": int,
    "batch_size": int,
    "learning_rate": float,
    "evaluate_every": int,
    "patience": int,
    "holdout_fraction": float,
    "evaluations": int,
    "averaging": str,
    "leave_out_edges": bool,
    "video_level": bool,
    "top_classes": int,
    "part": str,
}

# Segments at the start and the end of a video that annotators never rated.
UNRATED_EDGES = (6, 2)


def host() -> str:
    """`"kaggle"`, `"colab"` or `"here"`."""
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "kaggle"
    return "colab" if "COLAB_RELEASE_TAG" in os.environ else "here"


def settings(
    *, needs=(), paper=None, sample=None, **parameters
) -> SimpleNamespace:
    """Turns the parameters of a notebook into the settings of a run.

    When the notebook runs as a script, command-line flags win over the values
    given here, and `--help` shows the comment behind each parameter.  The
    workspace is created, the data are found, and both are checked before any
    long work starts.

    Args:
        needs: The splits that the notebook reads, of `"train"`, `"validate"`
            and `"test"`.  Without any, no data are looked for.
        paper: What a parameter that is `None` means on real data.
        sample: What it means on the generated sample.
        **parameters: The notebook's parameters by name, see `SETTINGS`.

    Returns:
        The parameters as attributes, with `output_dir` and `data_dir` as
        found; `is_sample`, true where the data are simulated; and, where data
        are needed, `spec`, `holdout`, `num_classes` of the video labels, the
        ids of the `segment_classes` and the `names` of classes by id.

    Raises:
        ValueError: An unknown setting, a value of the wrong type, a workspace
            that cannot be written, no data, or data without a needed split.
    """
    for name in parameters:
        if name not in SETTINGS:
            raise ValueError(
                "A notebook's settings are named in `kit.runtime.SETTINGS`: "
                f"{', '.join(SETTINGS)}. Received: {name}"
            )
    chosen = _flags(parameters) if _is_script() else parameters
    run = SimpleNamespace(
        **{name: _checked(name, value) for name, value in chosen.items()}
    )
    run.output_dir = workspace(run.output_dir)
    run.is_sample = False
    if needs:
        run.data_dir = find_data(run.data_dir, run.output_dir, run.seed, needs)
        run.is_sample = synthetic.is_sample(run.data_dir)
        shared, own = (SAMPLE, sample) if run.is_sample else (PAPER, paper)
        for name, value in {**shared, **(own or {})}.items():
            if getattr(run, name, None) is None:
                setattr(run, name, value)
    _announce(run, parameters)
    if needs:
        run.holdout = Holdout(run.holdout_fraction)
        _describe_classes(run)
    return run


def workspace(output_dir: str | None = None) -> Path:
    """The folder a run writes to, created and checked to be writable.

    Raises:
        ValueError: Where it cannot be created or written.
    """
    folder = Path(output_dir or WORKSPACES[host()])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            "The output folder must be one that can be written: give another "
            f"with --output-dir. Received: output_dir={str(folder)!r} "
            f"({error.strerror})"
        ) from error
    return folder


def find_data(data_dir, output_dir, seed, needs) -> str:
    """The data set of a run: the given one, the host's, or the sample.

    Args:
        data_dir: Folder, glob or `gs://` pattern, or `None` to look among the
            host's inputs and, failing that, to generate the sample of `seed`
            in the workspace.
        output_dir: The workspace.
        seed: Seed of the generated sample.
        needs: The splits that must be there.

    Raises:
        ValueError: Where a needed split has no shard, naming what was looked
            for and where.
    """
    if data_dir is None:
        data_dir = _attached_data()
    if data_dir is None:
        folder = Path(output_dir, f"sample-{seed}")
        if not synthetic.is_sample(folder):
            print(
                f"No data set given or attached: simulating one in {folder} "
                "(about 120 MB). Give --data-dir to use real shards."
            )
            synthetic.write_sample(folder, seed=seed)
        data_dir = str(folder)
    for split in needs:
        try:
            data.list_shards(data_dir, split)
        except ValueError as error:
            raise ValueError(
                f"{error}. Frame-level shards come from the YouTube-8M "
                "download page: `train` from partition 2/frame, `validate` and "
                "`test` from 3/frame. Leave --data-dir out to simulate a "
                "sample instead."
            ) from error
    return data_dir


def find_output(output_dir, name: str, made_by: str) -> Path:
    """What an earlier notebook left, here or in an attached output.

    Args:
        output_dir: The workspace, looked at first.
        name: Path inside the workspace, such as `BERTMean/model.keras`.
        made_by: The notebook that makes it, for the error.

    Raises:
        ValueError: Where it is nowhere.
    """
    here = Path(output_dir, name)
    if here.exists():
        return here
    for root in INPUTS[host()]:
        for depth in ("*", "*/*/*"):
            for found in sorted(Path(root).glob(f"{depth}/{name}")):
                return found
    raise ValueError(
        f"`{name}` is made by notebook {made_by}: run that first, with the "
        "same --output-dir, or attach its output. Looked in: "
        f"{', '.join([str(output_dir), *INPUTS[host()]])}"
    )


def prepare(seed: int, precision: str | None = None) -> str:
    """Seeds everything and picks the precision that suits the device.

    float16 with float32 variables on a T4 and its like, bfloat16 on newer GPUs
    and TPUs, float32 on a CPU, unless `precision` names a Keras policy.

    Returns:
        One line that says what was chosen.
    """
    keras.utils.set_random_seed(seed)
    name, suited = _device()
    keras.config.set_dtype_policy(precision or suited)
    return (
        f"device: {name}, backend: {keras.backend.backend()}, "
        f"precision: {precision or suited}, seed: {seed}"
    )


def _device():
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        name, kind = device.device_kind, device.platform
        modern = kind == "tpu" or (
            float(getattr(device, "compute_capability", 0)) >= 8
        )
    else:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        details = (
            tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
        )
        kind = "gpu" if gpus else "cpu"
        name = details.get("device_name", kind.upper())
        modern = details.get("compute_capability", (0, 0)) >= (8, 0)
    if kind == "cpu":
        return name, "float32"
    return name, "mixed_bfloat16" if modern else "mixed_float16"


def _attached_data():
    """The host's inputs where they hold shards; real ones before a sample."""
    for root in map(Path, INPUTS[host()]):
        if not root.is_dir():
            continue
        marks = sorted(root.rglob(synthetic.CARD))
        samples = [mark.parent for mark in marks]
        for shard in root.rglob("*.tfrecord"):
            if not any(sample in shard.parents for sample in samples):
                return str(root)
        if samples:
            return str(samples[0])
    return None


def _describe_classes(run):
    """Adds what the data say about their frames and classes."""
    run.spec = FrameSpec()
    vocabulary = data.read_vocabulary(run.data_dir)
    if run.is_sample:
        run.num_classes = int(vocabulary["Index"].max()) + 1
    run.segment_classes = data.read_segment_classes(run.data_dir)
    run.names = {}
    if vocabulary is not None:
        run.names = {
            class_id: name or f"class {class_id}"
            for class_id, name in vocabulary[["Index", "Name"]].to_numpy()
        }
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


def _is_script():
    main = getattr(sys.modules["__main__"], "__file__", None) or ""
    return bool(re.fullmatch(r"\d\d_\w+\.py", Path(main).name))


def _flags(parameters):
    """Reads the command line of a script; its comments are the help texts."""
    source = Path(sys.modules["__main__"].__file__).read_text()
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
    kind = SETTINGS[name]
    if kind is list and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if kind is float and type(value) is int:
        value = float(value)
    if kind is str and isinstance(value, os.PathLike):
        value = str(value)
    if value is not None and type(value) is not kind:
        raise ValueError(
            f"`{name}` must be of type {kind.__name__}, or None for its "
            f"default. Received: {name}={value!r}"
        )
    if name == "members":
        for member in value or []:
            presets.member(member)
    if kind in (int, float) and name != "seed" and value is not None:
        if not value > 0:
            raise ValueError(
                f"`{name}` must be positive. Received: {name}={value}"
            )
    return value


def _announce(run, names):
    for name in names:
        value = getattr(run, name)
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:>16}: {text}")
    if run.is_sample:
        print("The data are SIMULATED: no score here is one of YouTube-8M.")


def stage(run) -> dict:
    """The settings of a run that `kit.training.fit` takes."""
    names = ("steps", "batch_size", "learning_rate", "evaluate_every")
    return {name: getattr(run, name) for name in names}


def scoring(run, name: str, model) -> dict:
    """The options of `kit.inference` that a run asks for, for one member."""
    return {
        "shifts": presets.member(name).shifts,
        "averaging": run.averaging,
        "leave_out": UNRATED_EDGES if run.leave_out_edges else (0, 0),
        "video_level": (
            inference.mean_over_snippets(model)
            if run.video_level or run.top_classes
            else None
        ),
        "top_classes": run.top_classes,
    }


def facts(name: str, run, model, scale: str) -> dict:
    """What a stage's `config.json` records of its member."""
    return {
        "member": name,
        "scale": scale,
        "seed": run.seed,
        "class_ids": models.class_ids(model).tolist(),
        "spec": dataclasses.asdict(models.frame_spec(model)),
        "holdout": dataclasses.asdict(run.holdout),
        "simulated": run.is_sample,
    }


def earlier_stage(run, name: str) -> Path:
    """The finished pre-training of a member, by the same hold-out as this run.

    Raises:
        ValueError: Where it is missing, unfinished, or has trained on videos
            that this run holds out.
    """
    stage = find_output(run.output_dir, f"{name}/pretrain", "02_pretrain")
    trained = presets.stage_config(stage)["holdout"]
    if Holdout(**trained) != run.holdout:
        raise ValueError(
            "Both stages must hold out the same videos, or scores are of "
            "videos that were trained on: give the same --holdout-fraction, "
            f"or pre-train again. Received: {trained} in {stage}, "
            f"{dataclasses.asdict(run.holdout)} now"
        )
    return stage
