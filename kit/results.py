"""What the rankings of a run scored: answers, references, tables."""

from pathlib import Path

import numpy as np
import pandas as pd

from kit import data, metrics, presets, synthetic
from kit.ranking import Ranking, TopK

ORACLE = "Oracle"
SPLITS = ("holdout", "test")
STAGES = ["random", "pre-trained", "fine-tuned", "+ TTA"]
MEASURES = {
    "hold-out": "holdout",
    "test": "test",
    "test truth": "test",
}


def known_answers(data_dir, validate, holdout) -> dict[str, pd.DataFrame]:
    """The ratings that rankings can be scored on, by measure.

    `"hold-out"` are those of the half of the hold-out that picked no
    checkpoint.  The sample also has what Kaggle keeps: `"test"`, the ratings
    of the test split, and `"test truth"`, a row for every segment and class.
    """
    answers = {
        "hold-out": data.ratings(validate, holdout=holdout, part="ensemble")
    }
    if synthetic.is_sample(data_dir):
        answers["test"] = synthetic.load_test_ratings(data_dir)
        answers["test truth"] = synthetic.load_truth(data_dir)
    return answers


def oracle_rankings(data_dir, splits: dict) -> dict:
    """Rankings by an oracle that knows what was planted; none on real data.

    Args:
        data_dir: The data set.
        splits: Split name to the arguments of `data.videos` that read it.
    """
    if not synthetic.is_sample(data_dir):
        return {}
    oracle = synthetic.Oracle(data_dir)
    rankings = {}
    for split, arguments in splits.items():
        best = TopK(oracle.class_ids)
        videos = data.videos(num_classes=None, with_ids=True, **arguments)
        for inputs, _, ids in videos.as_numpy_iterator():
            for row, video_id in enumerate(ids):
                real = inputs["frames"][row][inputs["mask"][row]]
                scores = oracle.score(real).astype(np.float32)
                starts = oracle.world.spec.segment_frames * np.arange(
                    len(scores)
                )
                best.add(scores, [video_id] * len(scores), starts)
        rankings[ORACLE, split, "fine-tuned"] = best.ranking()
    return rankings


def score_table(
    rankings: dict[tuple[str, str, str], Ranking],
    answers: dict[str, pd.DataFrame],
    class_ids,
) -> pd.DataFrame:
    """MAP of every member, by measure and stage.

    Args:
        rankings: (member, split, stage) to its ranking; the splits are
            `"holdout"` and `"test"`, the stages those of `STAGES`.
        answers: Measure to ratings, see `known_answers`.
        class_ids: The classes that are averaged over.

    Returns:
        A row per member and measure, a column per stage; `random` is the
        score of a random order of the same candidates.
    """
    rows = {}
    for (name, split, stage), ranking in rankings.items():
        for measure, ratings in answers.items():
            if MEASURES[measure] != split:
                continue
            row = rows.setdefault((name, measure), {})
            row[stage] = metrics.mean_average_precision(
                ranking, ratings, class_ids
            )
            if "random" not in row:
                row["random"] = metrics.random_floor(
                    ranking, ratings, class_ids
                )
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=STAGES)
    table.index = pd.MultiIndex.from_tuples(
        table.index, names=["member", "measure"]
    )
    return table


def save_answers(folder, answers: dict[str, pd.DataFrame]) -> None:
    """Leaves the answers for notebook 5, a CSV a measure."""
    for measure, ratings in answers.items():
        path = _answers(folder, measure)
        path.parent.mkdir(parents=True, exist_ok=True)
        ratings.to_csv(path, index=False)


def load_answers(folder) -> dict[str, pd.DataFrame]:
    """What `save_answers` left."""
    return {
        measure: pd.read_csv(
            _answers(folder, measure),
            dtype={"video_id": str},
            keep_default_na=False,
        )
        for measure in MEASURES
        if _answers(folder, measure).exists()
    }


def _answers(folder, measure):
    return Path(folder, "answers", f"{measure.replace(' ', '_')}.csv")


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


def ranked_members(folder) -> list[str]:
    """The paper's members that left both rankings in the workspace.

    Raises:
        ValueError: Where there is none.
    """
    found = [
        name
        for name in presets.MEMBERS
        if all(Path(folder, name, f"{split}.npz").exists() for split in SPLITS)
    ]
    if not found:
        raise ValueError(
            "An ensemble needs rankings of members: run notebook "
            "04_tta_inference first, with the same --output-dir, or name the "
            f"attached ones with --members. Received: {folder} without any"
        )
    return found


def final_table(folder, fused, answers, search) -> pd.DataFrame:
    """The scores of notebook 4 with the ensemble's row and the weights.

    Args:
        folder: The workspace.
        fused: Split to the ensemble's ranking.
        answers: From `load_answers`.
        search: A `kit.ensemble.WeightSearch`.  On the hold-out the ensemble's
            score is the cross-fitted one, on videos its weights did not see.
    """
    before = pd.read_csv(
        Path(folder, "scores.csv"), index_col=["member", "measure"]
    )
    rows = {
        ("Ensemble", measure): {
            "+ TTA": metrics.mean_average_precision(
                fused[split], answers[measure], fused[split].class_ids
            )
        }
        for measure, split in MEASURES.items()
        if measure in answers
    }
    methods = search.comparison.set_index("method")
    rows["Ensemble", "hold-out"]["+ TTA"] = methods.loc[
        "Bayesian optimisation", "cross_fitted"
    ]
    ensemble = pd.DataFrame.from_dict(rows, orient="index")
    ensemble.index.names = before.index.names
    table = pd.concat([before, ensemble]).reindex(columns=STAGES)
    weight = search.members.set_index("member")["weight"]
    table["weight"] = table.index.get_level_values("member").map(weight)
    return table


def as_text(table: pd.DataFrame) -> str:
    """A table of scores with four decimals and blanks where nothing is."""
    return table.round(4).to_string(na_rep="", sparsify=True)
