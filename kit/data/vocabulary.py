"""The class tables beside the shards."""

import numpy as np
import pandas as pd

from kit.data.shards import find_files


def read_vocabulary(data_dir) -> pd.DataFrame | None:
    """The columns of `vocabulary.csv`, or None where there is none.

    Empty names stay empty text.
    """
    return _read_csv(data_dir, "vocabulary.csv")


def read_segment_classes(data_dir) -> np.ndarray | None:
    """Ids of `segment_label_ids.csv`, or None where there is none."""
    table = _read_csv(data_dir, "segment_label_ids.csv")
    return None if table is None else table["Index"].to_numpy(int)


def _read_csv(data_dir, name):
    """The shallowest file of that name, which needs a column `Index`."""
    import tensorflow as tf

    places = sorted(find_files(data_dir, name), key=lambda p: (p.count("/"), p))
    if not places:
        return None
    with tf.io.gfile.GFile(places[0]) as file:
        table = pd.read_csv(file, keep_default_na=False)
    if "Index" not in table or table["Index"].dtype.kind != "i":
        raise ValueError(
            f"`{name}` must have a column `Index` of class ids. "
            f"Received: file={places[0]!r}, columns={list(table.columns)}"
        )
    return table
