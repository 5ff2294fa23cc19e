"""What training leaves to read."""

import io
import json
import math
from pathlib import Path

import pandas as pd


def history(folder) -> pd.DataFrame:
    """A row per epoch of `history.csv`, which `CSVLogger` writes.

    An epoch that was trained again after a kill is there once.
    """
    return pd.read_csv(io.StringIO(rows(Path(folder) / "history.csv")))


def read_about(folder) -> dict:
    """The settings that a stage of training was begun with."""
    return json.loads((Path(folder) / "about.json").read_text())


def rows(path: Path, stop: float = math.inf) -> str:
    """The text of a history, with each epoch before `stop` once.

    A last line that a kill has cut is left out.
    """
    lines = path.read_text().splitlines(keepends=True)
    header, *whole = [line for line in lines if line.endswith("\n")] or [""]
    last = {int(line.split(",")[0]): line for line in whole}
    kept = [line for epoch, line in last.items() if epoch < stop]
    return "".join([header, *kept]) if whole else ""
