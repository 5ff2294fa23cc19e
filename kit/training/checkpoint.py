"""A checkpoint on the disk: one `.npz`, written whole or not at all."""

import errno
import json
import os
import reprlib
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

FORMAT = 2
# What reading a damaged zip file ends with.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    KeyError,
    EOFError,
    OSError,
    RuntimeError,
)


class Damaged(Exception):
    """A checkpoint that cannot be read."""


class _Arrays:
    """The arrays of an open checkpoint, each read when it is asked for."""

    def __init__(self, file):
        self.file = file
        self.opened = self._try(lambda: np.load(file))

    def __contains__(self, name):
        return name in self.opened

    def __getitem__(self, name):
        return self._try(lambda: self.opened[name])

    def record(self) -> dict:
        return self._try(lambda: json.loads(self["record"].tobytes()))

    def _try(self, read):
        try:
            return read()
        except DAMAGE as error:
            raise Damaged(error) from error


def read(path, plan, take) -> dict:
    """Gives a checkpoint of this plan to `take`; returns its record.

    Raises:
        Damaged: Where it cannot be read.
        ValueError: Where it is of another plan.
    """
    with path.open("rb") as file:
        arrays = _Arrays(file)
        record = arrays.record()
        check_same(record, {"format": FORMAT}, path)
        check_same(record["plan"], plan, path)
        take(record, arrays)
    return record


def write(path: Path, record: dict, arrays: Iterable) -> None:
    """Writes a checkpoint; a checksum stands on each array.

    Args:
        record: Anything that JSON can hold.
        arrays: Pairs of name and array, taken one after the other.

    Raises:
        ValueError: Where the disk is full.
    """
    text = np.frombuffer(json.dumps(record).encode(), np.uint8)

    def save(scratch):
        with zipfile.ZipFile(scratch, "w") as archive:
            for name, array in [("record", text), *arrays]:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, None, False)

    replace(path, save)


def differences(then: dict, now: dict) -> list[str]:
    """What a plan says otherwise than a record does."""
    return [
        f"{name} was {reprlib.repr(then.get(name))} and is "
        f"{reprlib.repr(value)}"
        for name, value in now.items()
        if then.get(name) != value
    ]


def check_same(then: dict, now: dict, where) -> None:
    different = differences(then, now)
    if different:
        raise ValueError(
            "A run goes on only with what it began with: give the same "
            "settings, another --output-dir, or begin anew with `restart` "
            "(--restart yes, with --only finetune where the pre-training is to "
            f"stay). Received: in {where}, {'; '.join(different)}"
        )


def replace(path, write) -> None:
    """Writes to a temporary name beside `path`, then renames."""
    path = Path(path)
    # Keras tells the format by the ending, so the mark goes in front.
    scratch = path.with_name(f"partial-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(scratch)
        os.replace(scratch, path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise ValueError(
                "The disk is full: free some room and run the same again; it "
                f"goes on from the last checkpoint. Received: {path}"
            ) from error
        raise


def replace_text(path, text: str) -> None:
    replace(path, lambda scratch: scratch.write_text(text))
