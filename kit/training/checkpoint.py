"""The file of a checkpoint: written whole or not at all, read whole or not."""

import json
from pathlib import Path

import numpy as np

from kit.replacing import replacing


def write(path: Path, record: dict, variables: list) -> None:
    """Writes Keras variables by their position; `.npz` adds their checksums.

    Args:
        path: Of an `.npz`.
        record: Anything that JSON can hold.
        variables: They are copied to memory one at a time.
    """
    with replacing(path) as partial:
        np.savez(partial, *variables, record=json.dumps(record))


def read_record(path: Path) -> dict | None:
    """The record of a checkpoint; `None` where the file is damaged."""
    try:
        # NumPy would leave a file open that it cannot read.
        with path.open("rb") as file, np.load(file) as arrays:
            if arrays.zip.testzip() is None:
                return json.loads(str(arrays["record"]))
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
            variable.assign(arrays[f"arr_{index}"])


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
