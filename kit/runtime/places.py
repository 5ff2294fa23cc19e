"""Where a notebook runs, where its data are, where results go."""

import glob
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import kit
from kit import data, synthetic

DRIVE = "/content/drive/MyDrive"
WORKSPACES = {
    "kaggle": "/kaggle/working",
    "colab": "/content/outputs",
    "here": "outputs",
}
# Folders under which a host shows what a user attached.
INPUTS = {
    "kaggle": ["/kaggle/input"],
    "colab": ["/content/yt8m", f"{DRIVE}/yt8m"],
    "here": [],
}
# Room that a host does not keep, for what only an unfinished stage needs.
SCRATCH = {"kaggle": "/kaggle/temp"}
# Where the competition's folder has a few shards of the full partitions.
EXCERPTS = {"frame-sample", "validate-sample"}
# How deep below these the output of another notebook may lie: mounts were
# `<slug>/` and are `notebooks/<owner>/<slug>/`.
DEPTHS = ("*", "*/*", "*/*/*", "*/*/*/*")


def host() -> str:
    """`"kaggle"`, `"colab"` or `"here"`."""
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "kaggle"
    return "colab" if "COLAB_RELEASE_TAG" in os.environ else "here"


def time_limit() -> float | None:
    """Hours until the host ends a session, less what it takes to save.

    Kaggle's are 12, and 9 with a TPU, whose images set variables of that name.
    """
    if host() != "kaggle":
        return None
    return 8.5 if any(name.startswith("TPU_") for name in os.environ) else 11.5


def install_missing() -> None:
    """Makes scikit-optimize importable on a host that lacks it.

    From the wheels that `make kaggle` puts beside the kit, which need no
    internet: one of plain Python can be imported as it is.  Else, on Colab,
    pip installs it.
    """
    if host() == "here" or importlib.util.find_spec("skopt"):
        return
    wheels = Path(kit.__file__).resolve().parents[1].glob("*.whl")
    sys.path += sorted(map(str, wheels))
    if host() == "colab" and not importlib.util.find_spec("skopt"):
        pip = [sys.executable, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "scikit-optimize"], check=True)


def workspace(output_dir: str | None = None) -> Path:
    """The folder a run writes to, created and checked to be writable.

    On Colab that is a folder of Drive where Drive is mounted, since the
    machine and all it holds are gone when the session ends.

    Raises:
        ValueError: Where it cannot be created or written.
    """
    if output_dir is None and host() == "colab" and Path(DRIVE).is_dir():
        output_dir = f"{DRIVE}/yt8m-outputs"
    _reach_drive(output_dir)
    folder = Path(output_dir or WORKSPACES[host()])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            "The output folder must be one that can be created and written: "
            "give another with --output-dir. Received: "
            f"output_dir={str(folder)!r} ({error.strerror})"
        ) from error
    return folder


def find_data(data_dir, output_dir, seed, needs):
    """The data set of a run: the given one, the host's, or the sample.

    Args:
        data_dir: Folder, glob or `gs://` pattern, a list of these, or `None`
            to look among the host's inputs and, failing that, to generate the
            sample of `seed` in the workspace.
        output_dir: The workspace.
        seed: Seed of the generated sample.
        needs: The splits that must be there.

    Returns:
        What `data.list_shards` takes, and whether it is a sample; a sample is
        named by its folder.

    Raises:
        ValueError: Where a needed split has no shard, naming what was looked
            for and where; or where real shards and simulated ones are mixed.
    """
    _reach_drive(data_dir)
    if data_dir is None:
        data_dir = _attached_data()
    if data_dir is None:
        data_dir = str(Path(output_dir, f"sample-{seed}"))
        if not synthetic.is_sample(data_dir):
            print(
                f"No data set given or attached: simulating one in {data_dir} "
                "(about 120 MB). Give --data-dir to use real shards."
            )
            synthetic.write_sample(data_dir, seed=seed)
    shards = []
    for split in needs:
        try:
            shards += data.list_shards(data_dir, split)
        except ValueError as error:
            raise ValueError(
                f"{error}. Frame-level shards come from the YouTube-8M "
                "download page: `train` from partition 2/frame, `validate` and "
                "`test` from 3/frame. Leave --data-dir out to simulate a "
                "sample instead."
            ) from error
    samples = {_sample_of(shard) for shard in shards}
    if samples == {None}:
        return data_dir, False
    if len(samples) > 1:
        raise ValueError(
            "Simulated shards cannot be mixed with others: name the folders "
            "to use in --data-dir, separated by commas. Received: "
            f"data_dir={data_dir!r}, with shards of {samples}"
        )
    return samples.pop(), True


def find_output(output_dir, name: str, made_by: str) -> Path:
    """What an earlier notebook left, here or in an attached output.

    Args:
        output_dir: The workspace, looked at first.
        name: Path inside the workspace, such as `BERTMean/model.keras`.
        made_by: The notebook that makes it, for the error.

    Raises:
        ValueError: Where it is nowhere.
    """
    return find_outputs(output_dir, name, made_by)[0]


def find_outputs(output_dir, name: str, made_by: str) -> list[Path]:
    """As `find_output`, all there are: one each where members were split."""
    found = outputs(output_dir, name)
    if not found:
        raise ValueError(
            f"`{name}` is made by notebook {made_by}: run that first, with the "
            "same --output-dir, or attach its output. Looked in: "
            f"{', '.join([str(output_dir), *INPUTS[host()]])}"
        )
    return found


def outputs(output_dir, name: str) -> list[Path]:
    """Where `name` is in the workspace and in attached outputs, in order."""
    places = [str(output_dir)]
    for root in INPUTS[host()]:
        for depth in DEPTHS:
            places += sorted(glob.glob(f"{root}/{depth}/"))
    found = [Path(place, name) for place in places]
    return [path for path in found if path.exists()]


def _reach_drive(place) -> None:
    """Mounts Drive where a path, or one of a list of them, lies on it."""
    if host() == "colab" and DRIVE in str(place) and not Path(DRIVE).is_dir():
        from google.colab import drive

        drive.mount(str(Path(DRIVE).parent))


def _sample_of(shard: str):
    """The sample that a shard is part of, as text, or None."""
    if "://" in shard:
        return None
    for folder in list(Path(shard).parents)[:3]:
        if synthetic.is_sample(folder):
            return str(folder)
    return None


def _attached_data():
    """The host's inputs with real shards and class tables, else a sample."""
    samples = [card.parent for card in _attached(synthetic.CARD)]

    def real(name):
        for path in _attached(name):
            if not any(sample in path.parents for sample in samples):
                yield path

    shards = list(real("*.tfrecord"))
    if not shards:
        return str(min(samples)) if samples else None
    # An excerpt repeats videos of the partition: beside that it is left out.
    whole = {path.name for path in shards if not EXCERPTS & set(path.parts)}
    splits = ("train", "validate", "test")
    there = tuple(s for s in splits if any(n.startswith(s) for n in whole))
    places = {
        str(path.parent)
        for path in shards
        if not (EXCERPTS & set(path.parts) and path.name.startswith(there))
    }
    tables = ("vocabulary.csv", "segment_label_ids.csv")
    return sorted(
        places | {str(path) for name in tables for path in real(name)}
    )


def _attached(name):
    """Files of that name, or pattern, at any depth of the host's inputs."""
    found = [
        path
        for root in INPUTS[host()]
        for path in glob.glob(f"{root}/**/{name}", recursive=True)
    ]
    # A host may show the same data under two mounts.
    return sorted({Path(path).resolve() for path in found})
