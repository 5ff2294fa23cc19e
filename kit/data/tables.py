"""The class tables beside the shards."""

import io
import os

import numpy as np
import pandas as pd

from kit.data.shards import expand, files_in

TABLES = "segment_label_ids.csv", "vocabulary.csv"


def read_classes(data_dir) -> tuple[np.ndarray, dict[int, str]]:
    """The classes of the segment task, and the names of classes.

    Tables are looked for in the folders named, the shallowest first. If there
    is none, they are looked for in the folders right above. The files used
    are printed.

    Args:
        data_dir: As `list_shards` takes it.

    Returns:
        The ids of `segment_label_ids.csv`, or without that file those of
        `vocabulary.csv`, which on Kaggle lists the segment classes alone; and
        a dict from class id to name, `class 7` where it has none.

    Raises:
        ValueError: Where there is no table, or one that cannot be used.
    """
    paths = _find(data_dir)
    if not paths:
        raise ValueError(
            "The classes of the segment task must be known: put "
            "`segment_label_ids.csv` of the YouTube-8M download page, or "
            "Kaggle's `vocabulary.csv`, into the data folder. "
            f"Received: data_dir={data_dir!r}"
        )
    print("classes:", *paths.values())
    tables = [_read(paths[name]) for name in TABLES if name in paths]
    names = {}
    for class_id, name in pd.concat(tables).itertuples(index=False):
        names[class_id] = name or f"class {class_id}"
    return tables[0]["Index"].to_numpy(), names


def _find(data_dir) -> dict[str, str]:
    """Paths of the tables by their names, all of one neighbourhood."""
    from tensorflow.io import gfile

    folders = {
        os.path.dirname(place) if place.endswith(".tfrecord") else place
        for place in expand(data_dir)
    }
    inside = [path for folder in folders for path in files_in(folder)]
    above = {os.path.dirname(folder) for folder in folders}
    beside = [os.path.join(folder, name) for folder in above for name in TABLES]
    for paths in inside, filter(gfile.exists, beside):
        paths = [path for path in paths if os.path.basename(path) in TABLES]
        # The shallowest last, so that it is the one that stays.
        paths.sort(key=lambda path: (path.count("/"), path), reverse=True)
        if paths:
            return {os.path.basename(path): path for path in paths}
    return {}


def _read(path: str) -> pd.DataFrame:
    """The columns `Index` and `Name` of a table, names as text."""
    import tensorflow as tf

    with tf.io.gfile.GFile(path, "rb") as file:
        content = io.BytesIO(file.read())
    options = {"dtype": {"Name": str}, "keep_default_na": False}
    try:
        table = pd.read_csv(content, encoding="utf-8-sig", **options)
        ids = table["Index"]
        good = ids.dtype.kind == "i" and ids.is_unique and ids.min() >= 0
    except (KeyError, ValueError):
        good = False
    if not good:
        raise ValueError(
            "A table of classes must be CSV in UTF-8 with a column `Index`, "
            "in which each class id is a whole number and stands once: mend "
            f"it, or take it away. Received: file={path!r}"
        )
    return table.reindex(columns=["Index", "Name"], fill_value="")
