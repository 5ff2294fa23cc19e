"""Kaggle's submission file: written, read, checked."""

from kit.submission.files import (
    K,
    Writer,
    index_rows,
    read_csv,
    read_row,
    read_rows,
    validate,
    write_csv,
)

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
