"""The MAP of a fusion in milliseconds, for those who search its weights."""

import numpy as np
import pandas as pd

from kit.ensemble import fusion
from kit.metrics.precision import rated_pairs
from kit.ranking import Ranking
from kit.ranking.table import K, as_ids, one_table


class LocalMap:
    """MAP@K of a fusion on rated segments, as a function of the weights.

    Unrated segments are dropped before they are counted, so what the members
    give to the rated ones tells the MAP of `fuse` exactly, without the lists.

    Args:
        rankings: The members, over the same hold-out videos.
        ratings, class_ids: As for `kit.metrics.mean_average_precision`.
        k: Where the fused list would be cut.
        method, constant: As for `fuse`.

    Raises:
        ValueError: For unusable ratings, or where the members rank more than
            `k` segments, so that the cut could drop a rated one.

    Example:

    >>> from kit.ranking import Ranking
    >>> one = Ranking.from_scores([[0.9], [0.1]], [3], ["a", "b"], [0, 0])
    >>> two = Ranking.from_scores([[0.1], [0.9]], [3], ["a", "b"], [0, 0])
    >>> ratings = {"video_id": ["a", "b"], "start": [0, 0]}
    >>> ratings |= {"label": [3, 3], "score": [0, 1]}
    >>> local_map = LocalMap([one, two], ratings)
    >>> local_map([2, 1]), local_map([1, 2])
    (0.5, 1.0)
    """

    def __init__(
        self,
        rankings,
        ratings,
        class_ids=None,
        k: int = K,
        method: str = "rank",
        constant: float = 0.0,
    ):
        fusion.check_method(method, constant)
        self.rankings, self.ratings = list(rankings), pd.DataFrame(ratings)
        self.options = k, method, constant
        self.pairs = rated_pairs(self.ratings, class_ids)
        self.class_ids = self.pairs.class_ids
        num_segments = len(fusion.shared_table(self.rankings)[1])
        if num_segments > k:
            raise ValueError(
                "The local MAP is exact where no list is cut: keep rated "
                'videos alone, `restrict(ratings["video_id"])`, or give a '
                f"larger k. Received: k={k} for {num_segments} segments"
            )
        self.ranks = np.array([self.pairs.ranks(r, k) for r in self.rankings])
        self.gains = np.zeros(self.ranks.shape)
        self.lowest = np.zeros((len(self.rankings), len(self.class_ids)))
        for member, ranking in enumerate(self.rankings):
            for column, class_id in enumerate(self.class_ids):
                gains, self.lowest[member, column] = fusion.list_gains(
                    ranking, class_id, method, constant
                )
                own = np.flatnonzero(self.pairs.column == column)
                own = own[self.ranks[member, own] > 0]
                self.gains[member, own] = gains[self.ranks[member, own] - 1]

    def __call__(self, weights) -> float:
        """MAP of the members fused with these weights."""
        return float(np.nanmean(self.precisions(weights)))

    def precisions(self, weights) -> np.ndarray:
        """AP `(C,)` of each of `class_ids`; NaN without positives."""
        return self.pairs.precisions(self.order(weights))

    def order(self, weights) -> np.ndarray:
        """Which of `pairs` the fused list holds, by class, best first."""
        pairs = self.pairs
        weights = fusion.check_weights(weights, len(self.ranks))
        # The sums of `fuse`, in its order: equal to the last bit.
        total = np.zeros(len(pairs.column))
        base = np.zeros(len(pairs.class_ids))
        for member, weight in enumerate(weights):
            total += weight * self.gains[member]
            base += weight * self.lowest[member]
        total += base[pairs.column]
        listed = (self.ranks[weights > 0] > 0).any(axis=0)
        order = np.lexsort((-total.astype(np.float32), pairs.column))
        return order[listed[order]]

    def only(self, video_ids) -> "LocalMap":
        """The same lists and classes, scored on these videos only."""
        own = self.ratings["video_id"].isin(video_ids)
        return LocalMap(
            self.rankings, self.ratings[own], self.class_ids, *self.options
        )

    def agreement(self) -> np.ndarray:
        """Spearman's correlation `(M, M)` of members, within classes.

        Over the rated pairs; pairs that a member does not list share its
        last place.
        """
        column = self.pairs.column
        ranks = np.where(self.ranks > 0, self.ranks, np.inf)
        places = pd.DataFrame(ranks.T).groupby(column).rank()
        places -= places.groupby(column).transform("mean")
        return places.corr().to_numpy()


def cross_fit(
    local_map: LocalMap, choose, folds: int = 2, seed: int = 0
) -> pd.DataFrame:
    """Chooses weights for videos that have no say in them.

    Args:
        local_map: Of all videos.
        choose: Takes a `LocalMap` and returns weights.
        folds: Parts of the videos, drawn by `seed`; the weights of a fold are
            chosen on the videos outside it.

    Returns:
        A row a fold: its `videos` and the `weights`, for `out_of_fold`.

    Raises:
        ValueError: For unusable weights, or more folds than videos.
    """
    videos = np.unique(local_map.ratings["video_id"])
    if not 2 <= folds <= len(videos):
        raise ValueError(
            "`folds` must be from 2 to the number of videos. Received: "
            f"folds={folds} for {len(videos)} videos"
        )
    shuffled = np.random.default_rng(seed).permutation(videos)
    rows = []
    for fold in range(folds):
        inside = shuffled[fold::folds]
        weights = choose(local_map.only(np.setdiff1d(videos, inside)))
        weights = fusion.check_weights(weights, len(local_map.rankings))
        rows.append((inside, weights))
    return pd.DataFrame(rows, columns=["videos", "weights"])


def out_of_fold(local_map: LocalMap, videos, weights) -> Ranking:
    """One list of the rated pairs, each placed by the weights of its fold.

    A MAP is no mean over videos, so folds are not scored one by one.  The
    weights of each fold fuse all pairs (segment, class), and the pairs of the
    fold's own videos keep their places in that list.

    Args:
        local_map: Of all videos; says what is fused, and how.
        videos, weights: Of each fold, as `cross_fit` has them.

    Returns:
        A ranking for `kit.metrics`, without scores; pairs of the same place
        stand in the order of `(video_id, start)`.

    Raises:
        ValueError: For unusable weights, or where the folds do not hold each
            video once.
    """
    pairs = local_map.pairs
    place = np.zeros(len(pairs.column), int)  # 0: not listed
    times = np.zeros(len(pairs.column), int)
    for own_videos, own_weights in zip(videos, weights, strict=True):
        inside = np.isin(pairs.video_ids, as_ids(own_videos))
        order = local_map.order(own_weights)
        column = pairs.column[order]
        own = np.arange(1, len(order) + 1) - np.searchsorted(column, column)
        place[order] = np.where(inside[order], own, place[order])
        times += inside
    if (times != 1).any():
        raise ValueError(
            "Folds must hold each rated video once; take those of `cross_fit`. "
            f"Received: {pairs.video_ids[times != 1][0]!r} "
            f"{times[times != 1][0]} times"
        )
    order = pairs.listed(place)
    offsets = np.searchsorted(
        pairs.column[order], np.arange(len(pairs.class_ids) + 1)
    )
    *table, (rows,) = one_table([(pairs.video_ids, pairs.starts)])
    return Ranking(pairs.class_ids, *table, offsets, rows[order])
