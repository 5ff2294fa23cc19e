"""What a sample has beside its shards: a card, and answers of its own."""

import json
from pathlib import Path

import pandas as pd

CARD, FORMAT = "sample.json", "kit.sample 2"
OTHER = f"The folder must hold a sample of format {FORMAT!r}: write one anew."


def expect(good, rule: str, **received):
    """Raises `ValueError` with the rule and what was received, unless good."""
    if not good:
        values = [f"{name}={value!r}" for name, value in received.items()]
        raise ValueError(f"{rule} Received: {', '.join(values)}")


def is_sample(folder) -> bool:
    """Whether `folder` is a sample that `write_sample` wrote.

    A list of places, as a data set may be given, is none.
    """
    return isinstance(folder, str | Path) and Path(folder, CARD).is_file()


def read_card(folder: str | Path) -> dict:
    """What `sample.json` says: format, seed, num_videos, spec.

    Raises:
        ValueError: If `folder` is no sample, or one of another format.
    """
    card = is_sample(folder) and json.loads(Path(folder, CARD).read_text())
    expect(card and card["format"] == FORMAT, OTHER, folder=str(folder))
    return card


def load_answers(folder: str | Path, kind: str) -> pd.DataFrame:
    """The test split's ratings, or its planted truth in the same columns.

    Args:
        folder: A sample.
        kind: `"ratings"`, or `"truth"`, which has a row for every segment and
            rated class; `score` is 1 where the concept fills at least half of
            the segment's frames, else 0.

    Returns:
        A table with the columns video_id, start, label and score.
    """
    read_card(folder)
    # An id such as `1e05` is text, whatever pandas thinks.
    path = Path(folder, f"test_{kind}.csv")
    return pd.read_csv(path, dtype={"video_id": str})
