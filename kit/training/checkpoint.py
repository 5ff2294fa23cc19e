"""The file of a checkpoint: written whole or not at all, read whole or not."""

import contextlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np
from keras import ops


@contextlib.contextmanager
def replacing(path: Path):
    """Gives a temporary name beside `path`, and renames it when all is well."""
    # Keras tells the format by the ending, so the mark goes in front.
    partial = path.with_name(f"partial-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if "No space left" in str(error):
            error.add_note(f"Free some room and run the same again: {path}")
        raise
    finally:
        partial.unlink(missing_ok=True)


def write(path: Path, record: dict, variables: list) -> None:
    """Writes Keras variables by their position, each with a checksum.

    Args:
        path: Of an `.npz`.
        record: Anything that JSON can hold.
        variables: They are copied to memory one at a time.
    """
    with replacing(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        archive.writestr("record.json", json.dumps(record))
        for index, variable in enumerate(variables):
            array = ops.convert_to_numpy(variable)
            with archive.open(f"{index}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def read_record(path: Path) -> dict | None:
    """The record of a checkpoint; `None` where any part of it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is None:
                return json.loads(archive.read("record.json"))
    except Exception as error:  # a damaged file may end in a dozen ways
        print(error)
    return None


def restore(path: Path, variables: list) -> None:
    """Assigns the arrays of a checkpoint to the variables they came from."""
    with np.load(path) as arrays:
        saved = len(arrays.files) - 1  # without the record
        if saved != len(variables):
            raise ValueError(
                "Training resumes with the model, the optimizer and the "
                "precision that it began with. Received: "
                f"{len(variables)} variables, and {saved} in {path}"
            )
        for index, variable in enumerate(variables):
            variable.assign(arrays[f"{index}"])
