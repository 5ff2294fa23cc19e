"""Weights of an ensemble by Bayesian optimisation, section 6 of the paper."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kit.ensemble.fusion import fuse
from kit.ensemble.local_map import K, LocalMap
from kit.ensemble.optimise import search
from kit.ranking import Ranking, as_ids

FORMAT = 1


@dataclass
class WeightSearch:
    """What a search of weights found, and what a notebook shows of it.

    Attributes:
        weights: `(M,)`, with sum 1, by Bayesian optimisation.
        constant: Of the rank weights `w / (constant + j)`.
        converged: Whether the search ended by its rule, not by its budget.
        comparison: A row a method: `chosen`, its MAP on the videos that its
            weights were chosen on; `cross_fitted`, on videos that they were
            not chosen on; `evaluations`.  Believe the latter.
        history: A row an evaluation of each method on all videos: `method`,
            `evaluation`, `map`, `best` so far, and a `weight of ...` each.
        members: A row a member: `alone`, its own MAP; `weight`; `without`,
            the MAP of the others; `gain`, what it adds to them.
        agreement: `(M, M)`, rank correlation of members on the rated pairs
            of a class.
        classes: A row a class: AP of the ensemble and of the best single
            member, and the `gain`.
        folds: A row a fold: its `videos`, and a column a method with the
            weights and the constant that it chose on the other videos.
    """

    weights: np.ndarray
    constant: float
    converged: bool
    comparison: pd.DataFrame
    history: pd.DataFrame
    members: pd.DataFrame
    agreement: pd.DataFrame
    classes: pd.DataFrame
    folds: pd.DataFrame

    def cross_fitted(self, rankings, method="Bayesian optimisation") -> Ranking:
        """One ranking in which no video had a say in the weights it got.

        For `kit.metrics.bootstrap`, which then tells how sure a cross-fitted
        gain is.  Folds are joined by the places that their weights give in a
        list of all videos; the members' classes must be the same.

        Args:
            rankings: Those of the search.
            method: One of `comparison`.
        """
        # A list fused with itself alone has the score 1 / place.
        return Ranking.merge(
            fuse([fuse(rankings, *chosen)], [1]).restrict(videos)
            for videos, chosen in zip(
                self.folds["videos"], self.folds[method], strict=True
            )
        )


def search_weights(
    rankings,
    ratings,
    names=None,
    class_ids=None,
    k: int = K,
    constant: float | None = 0.0,
    max_evaluations: int = 100,
    patience: int = 30,
    tolerance: float = 1e-4,
    folds: int = 2,
    seed: int = 0,
    checkpoint=None,
    progress=None,
) -> WeightSearch:
    """Finds weights whose fusion has the highest MAP on rated segments.

    The four steps of section 6: each member's region from its own score, the
    MAP of given weights, a Gaussian process that proposes the next ones, and
    so on until converged: until the last `patience` evaluations bettered the
    best before them by no more than `tolerance`.

    The same is done `folds` times on the videos outside a fold, to be scored
    on the fold.  Give ratings of videos that chose no checkpoint.

    Args:
        rankings: The members, over the same hold-out videos.  Best restrict
            them to the videos that `ratings` come from: with no more than
            `k` segments, no cut slows the search.
        ratings, class_ids, k: As for `kit.metrics.mean_average_precision`.
        names: Of the members, for the tables.
        constant: Of `fuse`; None searches it too, from 0 to 1,000.
        max_evaluations: The most that one search may take.
        folds: Parts of the videos for cross-fitting, by seed.
        checkpoint: A JSON file that keeps every evaluation.  A search that
            was cut off goes on from it, to the identical result.
        progress: Called with `(search, evaluation, map, best)`;
            `print_progress` prints them.

    Raises:
        ValueError: For options out of range, members that do not match, a
            fold without positives, or a checkpoint of another search.
    """
    names = list(names or (f"member {i}" for i in range(len(rankings))))
    if not 2 <= len(rankings) == len(names) == len(set(names)):
        raise ValueError(
            "A search needs two members or more, each by its name; one needs "
            "no weights, its `<member>/submission.csv` is the result. "
            f"Received: {len(rankings)} rankings, names={names}"
        )
    rule = max_evaluations, patience, tolerance
    if (
        min(max_evaluations, patience, folds - 1) < 1
        or not 0 <= tolerance < np.inf
    ):
        raise ValueError(
            "`max_evaluations` and `patience` must be at least 1, `folds` at "
            f"least 2, `tolerance` not negative. Received: {rule}, {folds}"
        )
    whole = LocalMap(rankings, ratings, class_ids, k)
    notes = _Notes(checkpoint, progress, whole, [k, constant, folds, seed])
    found = search("all", whole, constant, rule, seed, notes)
    videos = np.unique(whole.pairs.video)
    shuffled = np.random.default_rng(seed).permutation(videos)
    crossed, parts = [], []
    for fold in range(folds):
        inside = np.isin(videos, shuffled[fold::folds])
        chooser, judge = whole.only(videos[~inside]), whole.only(videos[inside])
        walks = search(f"fold {fold + 1}", chooser, constant, rule, seed, notes)
        crossed.append([judge(*walk.best) for walk in walks])
        parts.append({walk.method: walk.best for walk in walks})
        parts[-1]["videos"] = whole.pairs.video_ids[videos[inside]]
    crossed = np.mean(crossed, axis=0)
    return _result(names, whole, found, crossed, pd.DataFrame(parts))


def print_progress(search, evaluation, value, best):
    """Prints every tenth evaluation."""
    if evaluation % 10 == 0:
        print(f"{search}: {evaluation:4d}  {value:.5f}  best {best:.5f}")


def _result(names, whole, found, crossed, folds) -> WeightSearch:
    single, bayes = found[0], found[-1]
    weights, constant = bayes.best
    fused = whole.precisions(weights, constant)
    alone = whole.precisions(*single.best)
    others = weights * (1 - np.eye(len(names)))
    without = [whole(w, constant) if w.any() else np.nan for w in others]
    comparison = pd.DataFrame(
        {
            "method": [walk.method for walk in found],
            "chosen": [max(walk.values) for walk in found],
            "cross_fitted": crossed,
            "evaluations": [len(walk.values) for walk in found],
        }
    )
    members = pd.DataFrame(
        {
            "member": names,
            "alone": single.values,
            "weight": weights,
            "without": without,
            "gain": max(bayes.values) - np.array(without),
        }
    )
    classes = pd.DataFrame(
        {
            "class_id": whole.pairs.class_ids,
            "ensemble": fused,
            "best_single": alone,
            "gain": fused - alone,
        }
    )
    return WeightSearch(
        weights,
        constant,
        bayes.converged,
        comparison,
        pd.concat([_history(walk, names) for walk in found], ignore_index=True),
        members,
        pd.DataFrame(whole.agreement(), names, names),
        classes,
        folds,
    )


def _history(walk, names):
    tried = {
        "method": walk.method,
        "evaluation": np.arange(1, len(walk.values) + 1),
        "map": walk.values,
        "best": np.maximum.accumulate(walk.values),
    }
    weights = np.array([walk.split(point)[0] for point in walk.points])
    for name, column in zip(names, weights.T, strict=True):
        tried[f"weight of {name}"] = column
    return pd.DataFrame(tried)


class _Notes:
    """The points of every search, kept in a JSON file."""

    def __init__(self, path, progress, whole, options):
        self.path, self.progress = path and Path(path), progress
        pairs = whole.pairs._replace(video_ids=as_ids(whole.pairs.video_ids))
        data = hashlib.blake2b(digest_size=16)
        arrays = [whole.rank, *pairs]
        if whole.cut:  # then all that is listed tells
            for r in whole.members.rankings:
                arrays += [r.class_ids, r.video_ids, r.starts]
                arrays += [r.offsets, r.order]
        for array in arrays:
            data.update(np.ascontiguousarray(array).data)
        self.search, self.points = [*options, data.hexdigest()], {}
        if self.path and self.path.exists():
            self.points = self._kept()

    def _kept(self):
        """The points in the file, refused where it is of another search."""
        try:
            kept = json.loads(self.path.read_text())
            if (kept["format"], kept["search"]) == (FORMAT, self.search):
                return kept["points"]
            reason = "is of another search"
        except (KeyError, TypeError, ValueError) as error:
            reason = f"is damaged or no checkpoint ({error!r})"
        raise ValueError(
            "A search goes on from a checkpoint of the same seed, k, members "
            "and ratings; remove the file or name another. Received: "
            f"checkpoint={str(self.path)!r}, which {reason}"
        )

    def take(self, name, walk):
        self.points[name] = list(walk.points)
        if self.path:
            kept = dict(format=FORMAT, search=self.search, points=self.points)
            scratch = self.path.with_name(self.path.name + ".tmp")
            scratch.write_text(json.dumps(kept))
            os.replace(scratch, self.path)
        if self.progress:
            count, best = len(walk.points), max(walk.values)
            self.progress(name, count, walk.values[-1], best)
