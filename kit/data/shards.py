"""Finding the shards of a data set."""

import fnmatch
import glob
import os
from collections.abc import Iterator

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
        raise ValueError(
            f"`split` must be one of {', '.join(map(repr, SPLITS))}. "
            f"Received: split={split!r}"
        )
    pattern = f"{split}*.tfrecord"
    shards = sorted(
        {
            path
            for place in expand(data_dir)
            for path in _files(place)
            if fnmatch.fnmatchcase(os.path.basename(path), pattern)
        }
    )
    if not shards:
        raise ValueError(
            f"A data set must hold shards named `{pattern}`: give the folder "
            "they are in, at any depth, or a glob. "
            f"Received: data_dir={data_dir!r}, split={split!r}"
        )
    return shards


def expand(data_dir) -> list[str]:
    """The files and folders that a path, a glob or a list of these means."""
    from tensorflow.io import gfile

    if not isinstance(data_dir, str | os.PathLike):
        return [place for one in data_dir for place in expand(one)]
    data_dir = os.fspath(data_dir)
    if gfile.exists(data_dir):
        return [data_dir]
    remote = "://" in data_dir
    if remote and "**" in data_dir:
        # TensorFlow takes it for one level and would leave files out.
        raise ValueError(
            "A glob of a bucket cannot hold `**`: name a folder, whose shards "
            f"are found at any depth. Received: data_dir={data_dir!r}"
        )
    places = []
    if glob.has_magic(data_dir) and remote:
        places = gfile.glob(data_dir)
    elif glob.has_magic(data_dir):
        places = glob.glob(data_dir, recursive=True)
    if not places:
        raise ValueError(
            "What is named as data must be there: check the path. "
            f"Received: data_dir={data_dir!r}"
        )
    return places


def _files(place: str) -> Iterator[str]:
    """The file itself, or all files of the folder, at any depth."""
    from tensorflow.io import gfile

    if not gfile.isdir(place):
        yield place
        return
    for folder, _, names in gfile.walk(place):
        yield from (os.path.join(folder, name) for name in names)


def as_paths(shards) -> list[str]:
    """The paths of at least one shard, as text."""
    one = isinstance(shards, str | os.PathLike)
    paths = [os.fspath(path) for path in ([shards] if one else shards)]
    if not paths:
        raise ValueError(
            "`shards` must name at least one file: see `list_shards`. "
            f"Received: shards={shards!r}"
        )
    return paths
