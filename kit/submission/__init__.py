"""Kaggle's submission file: written, read, checked."""

from kit.submission.check import validate
from kit.submission.files import (
    Writer,
    index_rows,
    read_csv,
    read_row,
    read_rows,
    write_csv,
)
from kit.submission.segments import K

__all__ = [
    "K",
    "Writer",
    "index_rows",
    "read_csv",
    "read_row",
    "read_rows",
    "validate",
    "write_csv",
]
