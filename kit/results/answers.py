"""What rankings are scored on, and which videos of it are worth a look."""

from pathlib import Path

import numpy as np
import pandas as pd

from kit import data, synthetic

MEASURES = {
    "hold-out": "holdout",
    "test": "test",
    "test truth": "test",
}


def known_answers(data_dir, validate, holdout, spec) -> dict[str, pd.DataFrame]:
    """The ratings that rankings can be scored on, by measure.

    `"hold-out"` are those of the half of the hold-out that picked no
    checkpoint.  The sample also has what Kaggle keeps: `"test"`, the ratings
    of the test split, and `"test truth"`, a row for every segment and class.
    """
    answers = {
        "hold-out": data.ratings(
            validate, spec=spec, holdout=holdout, part="ensemble"
        )
    }
    if synthetic.is_sample(data_dir):
        answers["test"] = synthetic.load_test_ratings(data_dir)
        answers["test truth"] = synthetic.load_truth(data_dir)
    return answers


def save_answers(folder, answers: dict[str, pd.DataFrame]) -> None:
    """Leaves the answers for notebook 5, a CSV a measure, and no others."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for measure in MEASURES:
        _answers(folder, measure).unlink(missing_ok=True)
    for measure, ratings in answers.items():
        ratings.to_csv(_answers(folder, measure), index=False)


def load_answers(folder, *others) -> dict[str, pd.DataFrame]:
    """What `save_answers` left.

    Raises:
        ValueError: Where it left something else in one of `others`.
    """
    answers = {
        measure: pd.read_csv(
            _answers(folder, measure),
            dtype={"video_id": str},
            keep_default_na=False,
        )
        for measure in MEASURES
        if _answers(folder, measure).exists()
    }
    for other in others:
        found = load_answers(other)
        if list(found) != list(answers) or not all(
            found[measure].equals(answers[measure]) for measure in found
        ):
            raise ValueError(
                "Members must be ranked on the same data and hold-out to be "
                "compared: run 04_tta_inference again for those that differ, "
                f"or detach them. Received: {folder} and {other}"
            )
    return answers


def save_names(folder, names: dict[int, str]) -> None:
    """Leaves the names of classes for notebook 5."""
    table = pd.Series(names, name="name", dtype=str)
    table.to_csv(Path(folder, "names.csv"), index_label="class_id")


def load_names(folder) -> dict[int, str]:
    """What `save_names` left; nothing where it left nothing."""
    path = Path(folder, "names.csv")
    if not path.exists():
        return {}
    table = pd.read_csv(path, index_col="class_id", keep_default_na=False)
    return table["name"].to_dict()


def _answers(folder, measure):
    return Path(folder, f"{measure.replace(' ', '_')}.csv")


def richest_video(truth, most: int = 4) -> tuple[str, list[int]]:
    """The video with the most concepts, and those of them that show longest.

    Args:
        truth: Columns `video_id`, `label` and `score`.
        most: How many classes to return.
    """
    yes = truth[truth["score"] == 1]
    video_id = yes.groupby("video_id")["label"].nunique().idxmax()
    shown = yes[yes["video_id"] == video_id]["label"].value_counts()
    return video_id, sorted(shown.index[:most])


def most_disputed(targets, most: int = 3) -> tuple[int, np.ndarray]:
    """The class with the most of both answers, and some segments of each.

    Args:
        targets: `(n, num_classes)`: 1 yes, 0 no, -1 not rated.
        most: So many segments an answer, at most.

    Returns:
        The column, and rows: those that say yes, then those that say no.
    """
    yes, no = targets == 1, targets == 0
    column = int(np.minimum(yes.sum(axis=0), no.sum(axis=0)).argmax())
    rows = [np.flatnonzero(said[:, column])[:most] for said in (yes, no)]
    return column, np.concatenate(rows)
