"""Where the data are, and where results go: here, on Kaggle and on Colab."""

import os
import re
import tempfile
from glob import glob
from pathlib import Path

from kit import sample

# Folders under which Kaggle and Colab show what a user attached.
INPUTS = ["/kaggle/input", "/content/yt8m", "/content/drive/MyDrive/yt8m"]
# The notebook that makes what has this in its name; all else is made by 4.
MAKERS = {"pretrain": 2, "finetune": 3, "model": 3, "ensemble": 5}


def workspace(output_dir: str | os.PathLike) -> Path:
    """The folder that results go to, created and checked to be writable.

    Args:
        output_dir: Its path, in which `~` and `$HOME` mean what they mean to
            a shell.

    Raises:
        ValueError: Where it cannot be created or written.
    """
    folder = Path(_expand(output_dir))
    try:
        if re.match(r"\w\w+:/", str(output_dir)):
            raise OSError(0, "an address, where nothing can be resumed")
        if "/content/drive" in str(folder) and not glob("/content/drive/*"):
            raise OSError(0, "Drive is not mounted")
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(
            "The output folder must be a local one that can be created and "
            f"written: name another. Received: output_dir={str(output_dir)!r} "
            f"({error.strerror})"
        ) from error
    return folder


def find_data(data_dir, output_dir: str | os.PathLike, seed: int):
    """The data set of a run: the given one, the host's, or the sample.

    Args:
        data_dir: Folder, glob or `gs://` pattern, or several of these in a
            list or separated by commas, which are taken as they are; or
            `"find"`, to look among what is attached on Kaggle or lies in
            Colab's `yt8m` folders and, failing that, to generate the sample.
        output_dir: The workspace, where the sample goes.
        seed: Seed of the generated sample.

    Returns:
        What the readers take: one place as text, or a list of several.
    """
    places = data_dir
    if data_dir == "find":
        places = _attached_data()
    elif not isinstance(data_dir, list | tuple):
        text = str(data_dir).strip(" ,")  # maybe one folder with a comma
        places = [text] if os.path.exists(_expand(text)) else text.split(",")
    if not places:
        folder = Path(output_dir, f"sample-{seed}")
        places = [sample.write_sample(folder, seed)]
    places = [_expand(place).strip() for place in places]
    return places[0] if len(places) == 1 else places


def _attached_data() -> list[Path]:
    """Folders of attached shards that are no sample, and their class tables."""
    shards = [
        path
        for path in _attached("*.tfrecord")
        if not sample.is_sample(path.parents[1])
    ]
    places = set()
    for split in ("train", "validate", "test"):
        every = [path for path in shards if path.name.startswith(split)]
        # The competition's excerpts repeat videos of the full partitions.
        full = [path for path in every if not path.match("*-sample/*/*")]
        places |= {path.parent for path in full or every}
    above = {folder for path in shards for folder in path.parents}
    tables = _attached("vocabulary.csv") + _attached("segment_label_ids.csv")
    return sorted(places | {path for path in tables if path.parent in above})


def _attached(name):
    """Files of that name, or pattern, at any depth of the host's inputs."""
    paths = [glob(f"{root}/**/{name}", recursive=True) for root in INPUTS]
    # A host may show the same data under two mounts.
    return sorted({Path(path).resolve() for path in sum(paths, [])})


def find_output(output_dir: str | os.PathLike, name: str) -> Path:
    """What an earlier notebook left, here or in an attached output.

    Args:
        output_dir: The workspace, looked at first.
        name: Path inside the workspace, such as `BERTMean/model.keras`.

    Raises:
        ValueError: Where it is nowhere.
    """
    path = Path(output_dir, name)
    path = path if path.exists() else find_attached(name)
    if path:
        return path
    makers = [number for word, number in MAKERS.items() if word in name]
    raise ValueError(
        f"`{name}` is made by notebook {[*makers, 4][0]}: run that first, with "
        "the same output folder, or attach its output. "
        f"Received: output_dir={str(output_dir)!r}"
    )


def find_attached(name: str) -> Path | None:
    """What an earlier session left, in an attached output; None for nothing.

    Args:
        name: Path inside the workspace of that session.
    """
    # Mounts were `<slug>/`, and are `notebooks/<owner>/<slug>/`.
    depths = ("*", "*/*", "*/*/*", "*/*/*/*")
    places = (f"{root}/{depth}/{name}" for root in INPUTS for depth in depths)
    paths = (path for place in places for path in sorted(glob(place)))
    return next(map(Path, paths), None)


def scratch(name: str) -> Path | None:
    """Room on Kaggle that is not saved with the output; elsewhere None."""
    return Path("/kaggle/temp", name) if os.path.isdir("/kaggle") else None


def _expand(place) -> str:
    """The path as a shell would read it."""
    return os.path.expandvars(os.path.expanduser(place))
