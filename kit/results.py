"""What the rankings of a run scored: answers, references, tables."""

from pathlib import Path

import numpy as np
import pandas as pd

from kit import data, metrics, presets, synthetic
from kit.ranking import Ranking, TopK

ORACLE = "Oracle"
STAGES = ["random", "pre-trained", "fine-tuned", "+ TTA"]
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


def shift_gains(rankings, ratings, class_ids) -> pd.DataFrame:
    """What test-time augmentation gains each member on the hold-out.

    Args:
        rankings, class_ids: As for `score_table`.
        ratings: The answers of the hold-out.

    Returns:
        A row a member: `gain`, its MAP with shifts less that without, and
        `low` and `high`, between which it lies with 95 %, by a paired
        bootstrap over videos.
    """
    rows = {
        name: metrics.bootstrap(
            ranking, ratings, rankings[name, split, "fine-tuned"], class_ids
        )
        for (name, split, stage), ranking in rankings.items()
        if (split, stage) == ("holdout", "+ TTA")
    }
    columns = ["gain", "low", "high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


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


def load_scores(*paths) -> pd.DataFrame:
    """The tables of `score_table` that notebook 4 left, in one.

    Where members were ranked apart, each table has the references as well;
    the first is kept.
    """
    index = ["member", "measure"]
    table = pd.concat([pd.read_csv(path, index_col=index) for path in paths])
    return table[~table.index.duplicated()]


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


def scores_by_place(rankings, names, points: int = 200) -> pd.DataFrame:
    """The score that each member gives the segment at a place of its list.

    Args:
        rankings: The members, with scores.
        names: Of the members.
        points: Look at so many places, on a logarithmic scale.

    Returns:
        A row per place, from 1; a column per member: the median of classes.
    """
    lists = {
        name: [ranking.scores[ranking.span(i)] for i in ranking.class_ids]
        for name, ranking in zip(names, rankings, strict=True)
    }
    lengths = [len(scores) for each in lists.values() for scores in each]
    shortest = min(filter(None, lengths))  # a class may be left out
    places = np.unique(np.geomspace(1, shortest, points).astype(int))
    medians = {
        name: np.median([s[places - 1] for s in each if len(s)], axis=0)
        for name, each in lists.items()
    }
    return pd.DataFrame(medians, index=pd.Index(places, name="place"))


def to_submit(scores: pd.DataFrame, which: str) -> list[str]:
    """The member that is `"best"` on the hold-out with TTA, or `"all"`."""
    found = scores.xs("hold-out", level="measure")["+ TTA"].dropna()
    return list(found.index) if which == "all" else [found.idxmax()]


def members_of(scores: pd.DataFrame) -> list[str]:
    """The paper's members in a table of scores, baselines left out."""
    found = scores.index.get_level_values("member")
    return [name for name in presets.MEMBERS if name in found]


def stop_if_alone(names) -> None:
    """Ends a run with one member, which leaves nothing to fuse.

    Raises:
        SystemExit: With 0, since the result is there.
    """
    if len(names) == 1:
        print(
            "One member has nothing to be fused with: the result is "
            f"{names[0]}/submission.csv, which 04_tta_inference writes with "
            '`submissions = "all"`, or if no other is better.'
        )
        raise SystemExit(0)


def final_table(scores, fused, answers, search) -> pd.DataFrame:
    """The scores of notebook 4 with the ensemble's rows and the weights.

    Args:
        scores: From `load_scores`.
        fused: Split to the ensemble's ranking.
        answers: From `load_answers`.
        search: A `kit.ensemble.WeightSearch`.  On the hold-out the ensemble's
            score is the cross-fitted one, on videos its weights did not see.
    """
    methods = search.comparison.set_index("method")
    rows = {
        ("Ensemble", measure): {
            "+ TTA": metrics.mean_average_precision(
                fused[split], answers[measure], fused[split].class_ids
            )
        }
        for measure, split in MEASURES.items()
        if measure in answers
    }
    rows["Ensemble", "hold-out"] = {
        "+ TTA": methods.loc["Bayesian optimisation", "cross_fitted"]
    }
    ensemble = pd.DataFrame.from_dict(rows, orient="index")
    ensemble.index.names = scores.index.names
    table = pd.concat([scores, ensemble]).reindex(columns=STAGES)
    weight = search.members.set_index("member")["weight"]
    table["weight"] = table.index.get_level_values("member").map(weight)
    # On the same footing as the ensemble's row, which those above are not.
    table.attrs["cross_fitted"] = {
        method: round(float(methods.loc[method, "cross_fitted"]), 4)
        for method in ("best single", "equal weights")
        if method in methods.index
    }
    return table


def as_text(table: pd.DataFrame) -> str:
    """A table of scores with four decimals, and what must be known of it."""
    lines = [table.round(4).to_string(na_rep="", sparsify=True)]
    if "test truth" in table.index.get_level_values("measure"):
        lines.insert(0, "SIMULATED data: no score here is one of YouTube-8M.")
        lines.append(
            f"{ORACLE}: not trained; it knows the planted signatures and looks "
            "at the segment alone."
        )
    if "Ensemble" in table.index.get_level_values("member"):
        lines.append(
            "Ensemble, hold-out: cross-fitted, the mean of two halves, each "
            "with weights from the other; compare it with "
            f"{table.attrs.get('cross_fitted')}, not with the rows above."
        )
    return "\n".join(lines)
