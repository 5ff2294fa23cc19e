"""Average precision as the competition scores it.

The order that every number here rests on is that of the ranking; equal scores
stand in the order of `(video_id, start)`.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from kit.ranking.table import K, as_ids, check_classes, sort_key

COLUMNS = ["video_id", "start", "label", "score"]


def average_precisions(column, truth, num_positives) -> np.ndarray:
    """Average precision of many classes, whose lists stand one after another.

    Eq. 1 of the paper before the mean over classes.  The lists were cut at K
    and then lost their unrated segments, so they hold rated ones alone.

    Args:
        column: `(N,)`, the number of the class that an entry belongs to,
            rising; within a class the entries stand best first.
        truth: bool `(N,)`, whether the entry is positive.
        num_positives: `(C,)`, of each class, also those not listed.

    Returns:
        `(C,)`, NaN for a class without positives.

    Example: the first class lists yes, no, yes of its three positives, with
    the precisions 1/1 and 2/3: (1 + 2/3 + 0) / 3.  The second lists no, yes.

    >>> truth = np.array([True, False, True, False, True])
    >>> average_precisions(np.array([0, 0, 0, 1, 1]), truth, [3, 1]).round(4)
    array([0.5556, 0.5   ])
    """
    size = len(num_positives)
    begin = np.searchsorted(column, np.arange(size))  # of each list
    place = np.arange(1, len(column) + 1) - begin[column]
    hits = np.append(0, np.cumsum(truth))
    hits = hits[1:] - hits[begin][column]
    total = np.bincount(column, truth * hits / place, minlength=size)
    with np.errstate(invalid="ignore"):
        return total / num_positives  # NaN, 0 / 0, without positives


def mean_average_precision(
    ranking, ratings, class_ids=None, k: int = K
) -> float:
    """MAP@K of a ranking on the rated segments, eq. 1 of the paper.

    Args:
        ranking: A `kit.ranking.Ranking`.
        ratings: A DataFrame or a dict of arrays with `video_id`, `start`,
            `label` (a class id) and `score` (1 yes, 0 no).  A pair that is
            not in it is unrated: unknown, not wrong.  All positives of a
            class count, also those that the ranking does not list.
        class_ids: The classes to average over, where a class that is not
            ranked counts 0 and one without a positive rating is left out.
            Default: all that are rated.
        k: Where each list is cut, before unrated segments are dropped.

    Raises:
        ValueError: For unusable ratings, or where none of their segments
            occurs in the ranking.
    """
    pairs = rated_pairs(ratings, class_ids)
    order = pairs.listed(pairs.ranks(ranking, k))
    return float(np.nanmean(pairs.precisions(order)))


def map_of_scores(scores, targets) -> float:
    """MAP of scores `(n, C)` on targets `(n, C)`: 1 yes, 0 no, below unrated.

    The list of a class is its rated rows by score, equal scores in the order
    of the rows.  Classes without a positive are left out of the mean.

    Example: the first class lists no, yes; of the second one row is rated.

    >>> scores = [[0.9, 0.1], [0.2, 0.6], [0.5, 0.3]]
    >>> map_of_scores(scores, [[0, -1], [-1, 1], [1, -1]])
    0.75
    """
    scores, targets = np.asarray(scores), np.asarray(targets)
    if scores.shape != targets.shape or np.isnan(scores).any():
        raise ValueError(
            "`scores` must be numbers, one a target; look for the model's "
            f"NaN. Received: scores.shape={scores.shape} with "
            f"{np.isnan(scores).sum()} NaN, targets.shape={targets.shape}"
        )
    positives = count_positives(targets)
    column, row = np.nonzero(targets.T >= 0)
    order = np.lexsort((-scores[row, column], column))
    truth = targets[row, column][order] == 1
    values = average_precisions(column[order], truth, positives)
    return float(np.nanmean(values))


def count_positives(targets) -> np.ndarray:
    """Positives `(C,)` of targets `(n, C)`, refused where there is none."""
    positives = (targets == 1).sum(axis=0)
    if not positives.any():
        raise ValueError(
            "A metric needs a positive target; look at the ratings. Received: "
            f"targets.shape={targets.shape}, none of them 1"
        )
    return positives


class RatedPairs(NamedTuple):
    """The different rated (segment, class) pairs, P of them.

    They stand by class, then by `(video_id, start)`.
    """

    class_ids: np.ndarray  # (C,)
    column: np.ndarray  # (P,) index into class_ids
    truth: np.ndarray  # (P,) bool
    video_ids: np.ndarray  # (P,) bytes
    starts: np.ndarray  # (P,)

    def ranks(self, ranking, k: int) -> np.ndarray:
        """Ranks `(P,)` in a ranking, from 1.

        0 stands for a pair that the list up to `k` lacks, -1 for a segment
        that the ranking does not know.

        Raises:
            ValueError: Where it knows none of the segments.
        """
        ranks = ranking.ranks(
            self.class_ids[self.column], self.video_ids, self.starts
        )
        if (ranks < 0).all():
            raise ValueError(
                "Ratings must be of the segments that are ranked, and none of "
                "them is; are they of another split? Received: ratings of "
                f"{self.video_ids[:3].tolist()}..., a ranking of "
                f"{ranking.video_ids[:3].tolist()}..."
            )
        return np.where(ranks > k, 0, ranks)

    def listed(self, ranks) -> np.ndarray:
        """Which pairs are listed, class after class, best first."""
        order = np.lexsort((ranks, self.column))
        return order[ranks[order] > 0]

    def precisions(self, order, copies=None) -> np.ndarray:
        """AP `(C,)` of each class, NaN without positives.

        Args:
            order: Which of the pairs are listed, class after class, within a
                class best first.
            copies: `(P,)`, how often each pair counts.  Default: once.
        """
        if copies is None:
            copies = np.ones(len(self.truth), int)
        drawn = np.repeat(order, copies[order])
        positives = np.bincount(
            self.column, copies * self.truth, len(self.class_ids)
        )
        return average_precisions(
            self.column[drawn], self.truth[drawn], positives
        )


def rated_pairs(ratings, class_ids=None) -> RatedPairs:
    """Rated pairs out of a table of ratings; one that is repeated is one.

    Args:
        ratings: As for `mean_average_precision`.
        class_ids: The classes to keep.  Default: all that are rated.

    Raises:
        ValueError: For a score that is neither 0 nor 1, a pair rated both
            ways, or where there is no positive rating.
    """
    table = pd.DataFrame({name: np.asarray(ratings[name]) for name in COLUMNS})
    valid = table["score"].isin([0, 1])
    if not valid.all():
        raise ValueError(
            "A rating's `score` must be 1 (yes) or 0 (no); leave unrated pairs "
            f"out. Received: {table[~valid].iloc[0].to_dict()}"
        )
    table = table.astype({"start": int, "label": int, "score": int})
    video_ids = as_ids(table["video_id"])
    table["video_id"] = np.unique(sort_key(video_ids), return_inverse=True)[1]
    if class_ids is None:
        class_ids = np.unique(table["label"])
    else:
        class_ids = check_classes(class_ids)
    table["column"] = pd.Index(class_ids).get_indexer(table["label"])
    pair = ["column", "video_id", "start"]
    table = table[table["column"] >= 0].drop_duplicates().sort_values(pair)
    both = table.index[table.duplicated(pair)]
    if len(both):
        raise ValueError(
            "A segment cannot be both positive and negative for a class; "
            f"remove one rating. Received: {video_ids[both[0]]!r} with "
            f"{table.loc[both[0], COLUMNS[1:]].to_dict()}"
        )
    if not table["score"].any():
        raise ValueError(
            "A metric needs a positive rating; look at the ratings. Received: "
            f"{len(table)} ratings of {len(class_ids)} classes, none positive"
        )
    return RatedPairs(
        class_ids,
        table["column"].to_numpy(),
        table["score"].to_numpy() == 1,
        video_ids[table.index],
        table["start"].to_numpy(),
    )
