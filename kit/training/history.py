"""What training leaves to read."""

import io
import json
from pathlib import Path

import pandas as pd


def history(folder) -> pd.DataFrame:
    """A row per epoch of `history.csv`, which `CSVLogger` writes.

    An epoch that was trained again after a kill is there once.
    """
    rows = whole_rows(Path(folder) / "history.csv")
    table = pd.read_csv(io.StringIO("".join(rows)))
    return table.drop_duplicates("epoch", keep="last", ignore_index=True)


def read_about(folder) -> dict:
    """The settings that a stage of training was begun with."""
    return json.loads((Path(folder) / "about.json").read_text())


def whole_rows(path: Path) -> list[str]:
    """The lines of a history, without any that a kill has cut."""
    lines = path.read_text().splitlines(keepends=True)
    whole = lines[0].count(",") if lines else 0
    return [
        line for line in lines if line[-1] == "\n" and line.count(",") == whole
    ]
