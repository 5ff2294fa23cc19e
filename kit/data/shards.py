"""Finding the shards of a data set."""

import glob
import os
from fnmatch import fnmatchcase

SPLITS = ("train", "validate", "test")


def list_shards(data_dir, split: str) -> list[str]:
    """The TFRecord shards of a split, sorted.

    A shard of a split is a file named `{split}*.tfrecord`, at any depth:
    `trainpj.tfrecord` of the bucket and `train0000.tfrecord` of the download
    script alike.

    Args:
        data_dir: A folder, a file, a glob of either (local, or `gs://`), or a
            list of these.
        split: `"train"`, `"validate"` or `"test"`.

    Raises:
        ValueError: Where `split` is none of these, a place or what a glob
            asks for is not there, or no shard is found.
    """
    if split not in SPLITS:
        rule = f"`split` must be one of {', '.join(map(repr, SPLITS))}."
        raise ValueError(f"{rule} Received: split={split!r}")
    pattern = f"{split}*.tfrecord"
    found = {path for place in expand(data_dir) for path in files_in(place)}
    shards = [p for p in found if fnmatchcase(os.path.basename(p), pattern)]
    if not shards:
        raise ValueError(
            f"A data set must hold shards named `{pattern}`: give the folder "
            "they are in, at any depth, or a glob. "
            f"Received: data_dir={data_dir!r}, split={split!r}"
        )
    return sorted(shards)


def expand(data_dir) -> list[str]:
    """The files and folders that a path, a glob or a list of these means."""
    from tensorflow.io import gfile

    if not isinstance(data_dir, str | os.PathLike):
        return [place for one in data_dir for place in expand(one)]
    path, places = os.fspath(data_dir), []
    if "://" not in path:
        path = os.path.abspath(path)
    if gfile.exists(path):
        return [path.rstrip("/")]
    if "://" not in path:
        places = glob.glob(path, recursive=True)
    elif "**" not in path:  # TensorFlow takes it for one level
        places = gfile.glob(path)
    if not places:
        raise ValueError(
            "A data path must exist, and a glob of a bucket must not have "
            "`**`: check the path, or name a folder, whose shards are "
            f"found at any depth. Received: data_dir={data_dir!r}"
        )
    return places


def files_in(place: str) -> list[str]:
    """A shard itself, or all files of a folder, at any depth."""
    from tensorflow.io import gfile

    if place.endswith(".tfrecord"):
        return [place]
    # Python's walk, unlike TensorFlow's, skips folders that it may not read.
    remote = "://" in place
    walk = gfile.walk(place) if remote else os.walk(place, followlinks=True)
    return [os.path.join(folder, n) for folder, _, names in walk for n in names]


def as_paths(shards) -> list[str]:
    """The paths of at least one shard, as text."""
    one = isinstance(shards, str | os.PathLike)
    paths = [os.fspath(path) for path in ([shards] if one else shards)]
    if not 0 < len(set(paths)) == len(paths):
        rule = "`shards` must name at least one file, and each once."
        raise ValueError(f"{rule} Received: shards={shards!r}")
    return paths
