"""The MAP of a fusion in milliseconds, for those who search its weights."""

import numpy as np
import pandas as pd

from kit.ensemble.fusion import Fuser, Members, check_weights
from kit.metrics import rated_pairs
from kit.ranking import as_ids

K = 100_000


class LocalMap:
    """MAP@K of a fusion on rated segments, as a function of the weights.

    Unrated segments are dropped before they are counted, so the ranks of the
    rated pairs tell the MAP exactly, whatever the length of the lists.  Only
    where the members list more than `k` segments of a class can the cut drop
    a rated one; there, and only there, the list is fused as a whole.

    Args:
        rankings: The members.
        ratings, class_ids: As for `kit.metrics.mean_average_precision`, with
            classes without positives excluded.
        k: Where the fused list is cut.
    """

    def __init__(self, rankings, ratings, class_ids=None, k: int = K):
        whole = np.iinfo(np.int64).max
        rated = [rated_pairs(r, ratings, class_ids, whole) for r in rankings]
        self.pairs, self.k = rated[0], k
        rank = np.array([r.rank for r in rated], np.float64)
        self.rank = np.where(rank > 0, rank, np.inf)  # (members, pairs)
        self.members = Members(rankings, np.ones(len(rankings)))
        self.cut = self._cut_classes()
        self._prepare()

    def only(self, videos) -> "LocalMap":
        """The same, scored on the videos of the given numbers only."""
        part = object.__new__(LocalMap)
        vars(part).update(vars(self))
        keep = np.isin(self.pairs.video, videos)
        names = ("column", "truth", "video", "start", "rank")
        part.pairs = self.pairs._replace(
            **{n: getattr(self.pairs, n)[keep] for n in names}
        )
        part.rank = self.rank[:, keep]
        part._prepare()
        return part

    def __call__(self, weights, constant: float = 0.0) -> float:
        """MAP of the members fused with these weights."""
        precisions = self.precisions(weights, constant)
        return float(precisions[self.positives > 0].mean())

    def precisions(self, weights, constant: float = 0.0) -> np.ndarray:
        """AP `(C,)` of each class; NaN without positives."""
        weights = check_weights(weights, len(self.rank), constant, self.k)
        # The sums of `fuse`, in its order: equal to the last bit.
        score = np.zeros(self.rank.shape[1])
        for weight, rank in zip(weights, self.rank, strict=True):
            score += weight / (constant + rank)
        for column in self.cut:
            self._drop_cut(column, score, weights, constant)
        order = np.argsort(-score, kind="stable")
        # Sorted by class again: of 16 bits, so by radix, in no time.
        order = order[np.argsort(self._column[order], kind="stable")]
        hits = self.pairs.truth[order] & (score[order] > 0)
        found = np.cumsum(hits)
        found -= (found - hits)[self._begin]
        precision = np.where(hits, found / self._place, 0)
        total = np.bincount(
            self.pairs.column, precision, minlength=len(self.positives)
        )
        with np.errstate(invalid="ignore"):
            return total / np.minimum(self.positives, self.k)

    def agreement(self) -> np.ndarray:
        """Spearman's correlation `(M, M)` of members, within classes.

        Over the rated pairs; pairs that a member does not list share its
        last place.
        """
        column = self.pairs.column
        places = pd.DataFrame(self.rank.T).groupby(column).rank()
        places -= places.groupby(column).transform("mean")
        return places.corr().to_numpy()

    def _prepare(self):
        column, size = self.pairs.column, len(self.pairs.class_ids)
        self.positives = np.bincount(column[self.pairs.truth], minlength=size)
        if not self.positives.any():
            raise ValueError(
                "Weights are chosen by the MAP, which needs positive ratings; "
                f"give more videos. Received: {len(column)} ratings"
            )
        self._column = column.astype(np.uint16 if size < 2**16 else np.int64)
        self._begin = np.searchsorted(column, column)
        self._place = np.arange(1, len(column) + 1) - self._begin

    def _cut_classes(self):
        """Columns of the classes in which the members list more than `k`."""
        if self.members.size <= self.k:
            return []
        seen = np.zeros(self.members.size, bool)
        every = np.ones(len(self.rank))
        cut = []
        for column, class_id in enumerate(self.pairs.class_ids):
            seen[:] = False
            for codes, *_ in self.members.lists(class_id, every):
                seen[codes] = True
            if np.count_nonzero(seen) > self.k:
                cut.append(column)
        return cut

    def _drop_cut(self, column, score, weights, constant):
        """Sets the scores of pairs to 0 that the cut drops."""
        members, fuser = self.members, Fuser(constant, self.k, "rank")
        lists = members.lists(self.pairs.class_ids[column], weights)
        codes, scores = fuser.fuse(column, lists, members.size)
        if len(codes) < self.k:
            return
        own = np.flatnonzero(self.pairs.column == column)
        score[own[score[own] < scores[-1]]] = 0
        for pair in own[score[own] == scores[-1]]:
            # Tied with the last one in: the smaller (video_id, start) wins.
            last = members.video_ids[codes[-1]], members.starts[codes[-1]]
            video = self.pairs.video_ids[self.pairs.video[pair]]
            if (as_ids([video])[0], self.pairs.start[pair]) > last:
                score[pair] = 0
