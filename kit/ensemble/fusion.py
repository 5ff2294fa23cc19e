"""Rankings made one, by eq. 20 of the paper or by their scores."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kit.ranking import Ranking, sort_key

K = 100_000
METHODS = ("rank", "arithmetic", "geometric")


def fuse(
    rankings, weights, constant: float = 0.0, k: int = K, method: str = "rank"
) -> Ranking:
    """Fuses members into one ranking.

    By rank (eq. 20), a segment that member i lists at place j, from 1, gets
    `w_i / (constant + j)` from it, and nothing from a member that does not
    list it.  Sums run in the order of the members; ties are ordered by
    `(video_id, start)`.  A member of weight 0 takes no part: its lists are
    not looked at.

    "arithmetic" and "geometric" are weighted means of scores instead.  The
    score that a member would give a segment that it does not list is at most
    the lowest that it lists for the class, so that one stands in for it; a
    member without the class takes no part in it.

    Paper: the released code had `w / (w0 + j)` with a fitted `w0` and j from
    0, which is `constant = w0 - 1` here.

    Args:
        rankings: The members; classes and tables may differ.
        weights: One a member, not negative; only their proportions matter
            for the lists.
        constant: Added to each place; flattens the weight of the first.
        k: The longest list of the result.
        method: "rank", "arithmetic" or "geometric".

    Returns:
        A ranking of all classes of the members that weigh, ascending, whose
        `scores` are the fused ones; those of weights beyond 1e18 or all below
        1e-18 are scaled.

    Raises:
        ValueError: For unusable weights, a member that shares no class with
            the others, a list with a segment twice or a missing score.

    Example: with weights 2 and 1, "a" gets 2/1 + 1/2 and "b" 2/2 + 1/1.

    >>> one = Ranking.from_scores([[0.9], [0.1]], [3], ["a", "b"], [0, 0])
    >>> two = Ranking.from_scores([[0.1], [0.9]], [3], ["a", "b"], [0, 0])
    >>> fused = fuse([one, two], [2, 1])
    >>> fused.video_ids[fused.indices(3)].tolist(), fused.scores.tolist()
    ([b'a', b'b'], [2.5, 2.0])
    """
    weights = check_weights(weights, len(rankings), constant, k)
    if method not in METHODS:
        raise ValueError(
            f"`method` must be one of {METHODS}. Received: method={method!r}"
        )
    members = Members(rankings, weights)
    # Threads, since NumPy gives up Python's lock; each with its own scratch.
    workers = min(os.cpu_count() or 1, 8)

    def fuse_part(first):
        fuser, results = Fuser(constant, k, method), []
        for class_id in members.class_ids[first::workers]:
            lists = members.lists(class_id, weights, method)
            codes, scores = fuser.fuse(class_id, lists, members.size)
            results.append((np.uint32(codes), np.float32(scores)))
        return results

    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(fuse_part, range(workers)))
    results = [
        parts[i % workers][i // workers] for i in range(len(members.class_ids))
    ]
    codes, scores = zip(*results, strict=True)
    return Ranking(
        members.class_ids,
        members.video_ids,
        members.starts,
        np.cumsum([0, *map(len, codes)]),
        np.concatenate(codes),
        np.concatenate(scores),
    )


def check_weights(weights, num_members, constant=0.0, k=K) -> np.ndarray:
    """Weights as float64, refused where they cannot weigh the members."""
    weights = np.asarray(weights, np.float64)
    if (
        weights.shape != (num_members,)
        or not num_members
        or not np.isfinite(weights).all()
        or (weights < 0).any()
        or not weights.any()
    ):
        raise ValueError(
            "`weights` must be one number a member, finite and not negative, "
            "not all zero. Received: "
            f"weights={weights.tolist()} for "
            f"{num_members} members"
        )
    if not (np.isfinite(constant) and constant > -1 and k >= 1):
        raise ValueError(
            "`constant` must be above -1 and `k` at least 1. Received: "
            f"constant={constant}, k={k}"
        )
    # No sum may overflow and no share vanish; a power of two changes no tie.
    weighs = weights > 0
    exponent = np.frexp(weights.max())[1]
    if abs(exponent) > 60:
        weights = np.ldexp(weights, -exponent)
    least = np.finfo(np.float64).tiny
    return np.where(weighs, weights.clip(min=least), 0)


class Members:
    """Rankings over one common table of segments."""

    def __init__(self, rankings, weights):
        self.rankings = rankings
        self.class_ids = shared_classes(
            [r.class_ids for r in rankings], weights
        )
        self.video_ids, self.starts, self.rows = _one_table(rankings)

    @property
    def size(self) -> int:
        return len(self.starts)

    def lists(self, class_id, weights, method="rank"):
        """`(codes, weight, scores, name)` of a class for members that weigh."""
        lists = []
        for number, (ranking, row, weight) in enumerate(
            zip(self.rankings, self.rows, weights, strict=True)
        ):
            span = ranking.span(class_id)
            codes = ranking.order[span]
            if weight > 0:
                codes = codes if row is None else row[codes]
                scores = None
                if method != "rank":
                    scores = _listed_scores(ranking, span)
                lists.append((codes, weight, scores, f"member {number}"))
        return lists


class Fuser:
    """Fuses one class at a time, in scratch that it keeps."""

    def __init__(self, constant, k, method):
        self.constant, self.k, self.method = constant, k, method
        self.total, self.places = np.zeros(0), np.zeros(0)

    def fuse(self, class_id, lists, size):
        """Codes best first, and their scores, of what `Members.lists` gives."""
        if len(self.total) < size:
            self.total = np.zeros(size)
        lists = [
            (c.astype(np.int64, copy=False), *rest)
            for c, *rest in lists
            if len(c)
        ]
        for codes, *_, name in lists:
            ordered = np.sort(codes.astype(np.uint32))
            if (ordered[1:] == ordered[:-1]).any():
                raise ValueError(
                    "A list must hold a segment once; remove the duplicates. "
                    f"Received: class {class_id} of {name}"
                )
        combine = self._by_rank if self.method == "rank" else self._by_score
        union, scores = combine(lists)
        return _best(union, scores, self.k)

    def _by_rank(self, lists):
        longest = max((len(codes) for codes, *_ in lists), default=0)
        if len(self.places) < longest:
            self.places = self.constant + np.arange(1, longest + 1)
        for codes, weight, *_ in lists:
            np.add.at(self.total, codes, weight / self.places[: len(codes)])
        union = np.flatnonzero(self.total > 0)
        scores = self.total[union]
        self.total[union] = 0
        return union, scores

    def _by_score(self, lists):
        union = np.unique(np.concatenate([c for c, *_ in lists] or [[]]))
        union, total = union.astype(np.int64), np.zeros(len(union))
        weights = sum(weight for _, weight, *_ in lists)
        for codes, weight, scores, _ in lists:
            scores = np.asarray(scores, np.float64)
            if self.method == "geometric":
                # A probability that underflowed to 0 must not outweigh all.
                scores = np.log(scores.clip(min=np.finfo(np.float32).tiny))
            values = np.full(len(union), scores.min())
            values[np.searchsorted(union, codes)] = scores
            total += weight / weights * values
        return union, np.exp(total) if self.method == "geometric" else total


def _best(codes, scores, k):
    """The best `k` codes and their scores; the smaller code wins a tie."""
    if len(codes) > k:  # codes ascend: the first of the tied stay
        bar = np.partition(scores, len(scores) - k)[-k]
        over, tied = scores > bar, np.flatnonzero(scores == bar)
        over[tied[: k - np.count_nonzero(over)]] = True
        over = np.flatnonzero(over)  # an index picks faster than a mask
        codes, scores = codes[over], scores[over]
    # A stable sort takes five times as long as this one and a look at ties.
    best = np.argsort(-scores)
    scores = scores[best]
    tied = np.append(scores[1:] == scores[:-1], False)
    tied[1:] |= tied[:-1]
    tied = np.flatnonzero(tied)
    best[tied] = best[tied][np.lexsort((best[tied], -scores[tied]))]
    return codes[best], scores


def _listed_scores(ranking, span):
    if ranking.scores is None:
        raise ValueError(
            "A mean of scores needs members with scores; fuse by rank. "
            "Received: a ranking with scores=None"
        )
    scores = ranking.scores[span]
    if scores.min(initial=0) < 0:
        raise ValueError(
            "A mean of scores needs probabilities. Received: a score of "
            f"{scores.min()}"
        )
    return scores


def shared_classes(class_ids, weights):
    """Classes of members that weigh, ascending, where none stands alone."""
    classes, members = np.unique(np.concatenate(class_ids), return_counts=True)
    shared = classes[members > 1]
    for number, own in enumerate(class_ids):
        if len(class_ids) > 1 and not np.isin(own, shared).any():
            raise ValueError(
                "A member must share a class with another; is it from other "
                f"data? Received: member {number} with classes "
                f"{np.sort(own)[:5].tolist()}..."
            )
    weighing = [c for c, w in zip(class_ids, weights, strict=True) if w > 0]
    return np.unique(np.concatenate(weighing))


def _one_table(rankings):
    """One table, and the row in it of each row of each member's.

    None stands for a member whose table is that table.
    """
    first = rankings[0]
    if all(
        r.video_ids.dtype == first.video_ids.dtype
        and r.video_ids.tobytes() == first.video_ids.tobytes()
        and np.array_equal(r.starts, first.starts)
        for r in rankings[1:]
    ):
        return first.video_ids, first.starts, [None] * len(rankings)
    ids = np.concatenate([r.video_ids for r in rankings])
    starts = np.concatenate([r.starts for r in rankings])
    key = sort_key(ids)
    order = np.lexsort((starts, key))
    new = np.ones(len(order), bool)
    new[1:] = np.diff(starts[order]) != 0
    new[1:] |= key[order][1:] != key[order][:-1]
    row = np.empty(len(order), np.int64)
    row[order] = np.cumsum(new) - 1
    rows = np.split(row, np.cumsum([len(r.starts) for r in rankings])[:-1])
    return ids[order][new], starts[order][new], rows
