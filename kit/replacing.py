"""Files and folders that are there whole, or not at all."""

import contextlib
import re
import shutil
from pathlib import Path


@contextlib.contextmanager
def replacing(path):
    """A name to write a file or folder to, which replaces `path` at the end.

    Where the writing fails, `path` stays as it was and nothing beside it.  An
    address, such as `gs://`, is a `ValueError`: it would become a folder here.
    """
    if re.match(r"\w\w+:/", str(path)):
        rule = "Files are written to a local folder: copy them from there."
        raise ValueError(f"{rule} Received: {str(path)!r}")
    path = Path(path)
    new, old = _beside(path, "new"), _beside(path, "old")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove(new)  # of a run that was killed
    try:
        yield new
        if path.is_dir():
            _remove(old)
            path.rename(old)
        new.replace(path)
        _remove(old)
    except OSError as error:
        raise OSError(
            f"{path} could not be written; is the disk full? Received: {error}"
        ) from error
    finally:
        _remove(new)


def last_whole(path) -> Path:
    """`path`, or what it replaces where a kill came between the two."""
    old = _beside(Path(path), "old")
    return old if old.exists() and not Path(path).exists() else Path(path)


def _beside(path, word):
    return path.with_name(f"{word}-{path.name}")  # the ending stays last


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
