"""The file of a checkpoint: written whole or not at all, read whole or not."""

import contextlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np


@contextlib.contextmanager
def replacing(path: Path):
    """Gives a temporary name beside `path`, and renames it when all is well."""
    # Keras tells the format by the ending, so the mark goes in front.
    partial = path.with_name(f"partial-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write(path: Path, record: dict, variables: list) -> None:
    """Writes Keras variables by their position, each with a checksum.

    Args:
        path: Of an `.npz`.
        record: Anything that JSON can hold.
        variables: They are copied to memory one at a time.
    """
    record = {**record, "variables": len(variables)}
    with replacing(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        archive.writestr("record.json", json.dumps(record))
        for index, variable in enumerate(variables):
            with archive.open(f"{index}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(variable))


def read_record(path: Path) -> dict | None:
    """The record of a checkpoint; `None` where the file is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            record = json.loads(archive.read("record.json"))
            names = [f"{index}.npy" for index in range(record["variables"])]
            if archive.namelist()[1:] == names and archive.testzip() is None:
                return record
    except Exception:  # a damaged file may end in a dozen ways
        pass
    print(f"{path} is damaged: looking for an older checkpoint.")
    return None


def restore(path: Path, variables: list) -> None:
    """Assigns the arrays of a checkpoint to the variables they came from."""
    with np.load(path) as arrays:
        saved = len(arrays.files) - 1  # without the record
        check_same({"variables": len(variables)}, {"variables": saved}, path)
        for index, variable in enumerate(variables):
            variable.assign(arrays[f"{index}"])


def check_same(now: dict, saved: dict, path: Path) -> None:
    """Raises a `ValueError` that says which settings differ."""
    different = [
        f"{name} was {saved.get(name)!r} and is {now.get(name)!r}"
        for name in sorted({*now, *saved})
        if now.get(name) != saved.get(name)
    ]
    if different:
        raise ValueError(
            "Training resumes as it began: give the same settings, or another "
            "folder, or delete this one to begin anew. "
            f"Received: {'; '.join(different)} (in {path})"
        )
