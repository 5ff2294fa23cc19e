"""What rankings scored: references, and the tables of all notebooks."""

import numpy as np
import pandas as pd

from kit import data, metrics, presets, synthetic
from kit.ranking import Ranking, TopK
from kit.results.answers import MEASURES

ORACLE = "Oracle"
STAGES = ["random", "pre-trained", "fine-tuned", "+ TTA"]


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


def load_scores(*paths) -> pd.DataFrame:
    """The tables of `score_table` that notebook 4 left, in one.

    Where members were ranked apart, each table has the references as well;
    the first is kept.
    """
    index = ["member", "measure"]
    table = pd.concat([pd.read_csv(path, index_col=index) for path in paths])
    return table[~table.index.duplicated()]


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
