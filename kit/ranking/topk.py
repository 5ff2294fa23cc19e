"""The best K segments of every class out of a stream of scores."""

import numpy as np

from kit.ranking.table import K, Ranking, as_ids, check_classes, one_table


class TopK:
    """Collects the best `k` segments a class from a stream of scores.

    Exact: equal to sorting all scores, ties ordered by `(video_id, start)`,
    whatever the order and size of the batches.  Holds about 10 bytes a kept
    score: 1.0 GB at 1,000 classes and `k=100_000`.

    How it works: every class keeps a buffer with a little room beyond `k`
    and the score of its k-th best.  Scores below that never enter.  A full
    buffer is cut back to `k` by selection, which raises the bar.

    Args:
        class_ids: The C classes behind the columns.
        k: Segments kept a class.

    Example:

    >>> top = TopK([3], k=2)
    >>> top.add([[0.1], [0.9]], ["a", "a"], [0, 5])
    >>> top.add([[0.5]], ["b"], [0])
    >>> ranking = top.ranking()
    >>> ranking.scores.tolist(), ranking.starts[ranking.order].tolist()
    ([0.8999999761581421, 0.5], [5, 0])
    """

    _BLOCK = 8192  # segments handled at once: 32 MB at 1,000 classes

    def __init__(self, class_ids, k: int = K):
        self.class_ids, self.k = check_classes(class_ids), k
        self._reset()

    def _reset(self):
        num_classes = len(self.class_ids)
        self._room = max(self.k // 5, 2 * self._BLOCK)
        self._ids, self._starts = np.empty(0, "S1"), np.empty(0, np.int32)
        self._pending = []  # (scores, ids, starts) that no buffer has seen
        self._fill = [0] * num_classes
        # -inf lies below the bar: it says "not a candidate".
        self._bar = [np.finfo(np.float32).min] * num_classes
        # What is not written yet takes no memory.
        self._scores = np.empty((num_classes, self.k + self._room), np.float32)
        self._index = np.empty(self._scores.shape, np.uint32)

    def add(self, scores, video_ids, starts) -> None:
        """Takes scores `(n, C)` of `n` segments not seen before.

        Scores are kept as float32.  A score of -inf leaves the segment out
        of the class's list.

        Raises:
            ValueError: For a wrong shape or a score that is not a number.
        """
        scores = np.asarray(scores, np.float32)
        video_ids = as_ids(video_ids)
        starts = np.asarray(starts, np.int32)
        expected = (len(starts), len(self.class_ids))
        if scores.shape != expected or video_ids.shape != starts.shape:
            raise ValueError(
                "`scores` must be (segments, classes) with a video id and a "
                f"start a segment. Received: scores.shape={scores.shape}, "
                f"{video_ids.shape} ids, {starts.shape} starts, "
                f"{len(self.class_ids)} classes"
            )
        if scores.size and np.isnan(scores.min()):
            raise ValueError(
                "Scores must be numbers; look for the model's NaN. Received: "
                f"{int(np.isnan(scores).sum())} NaN in a batch"
            )
        for begin in range(0, len(starts), self._BLOCK):
            part = slice(begin, begin + self._BLOCK)
            # A copy, in which -0.0 is 0.0.
            batch = scores[part] + np.float32(0), video_ids[part], starts[part]
            self._pending.append(batch)
            if sum(len(each[2]) for each in self._pending) >= self._BLOCK:
                self._flush()

    def add_ranking(self, ranking: Ranking) -> None:
        """Takes all of a ranking with scores over segments not seen before.

        So a run resumes from what it saved, and parts are merged.
        """
        if ranking.scores is None or not np.array_equal(
            ranking.class_ids, self.class_ids
        ):
            raise ValueError(
                "A ranking to add needs scores and the collector's classes in "
                f"the same order. Received: scores={ranking.scores is not None}"
                f", {len(ranking.class_ids)} classes"
            )
        self._flush()
        base = self._append([ranking.video_ids], [ranking.starts])
        for column, class_id in enumerate(self.class_ids):
            span = ranking.span(class_id)
            for begin in range(span.start, span.stop, self._room):
                part = slice(begin, min(begin + self._room, span.stop))
                index = ranking.order[part] + base
                self._extend(column, ranking.scores[part], index)

    def ranking(self) -> Ranking:
        """The result.  Hands over the memory: the collector is empty after."""
        self._flush()
        ids, starts, (new_row,) = one_table([(self._ids, self._starts)])
        if len(starts) < len(new_row):
            row = np.argmax(np.bincount(new_row))
            raise ValueError(
                "A segment must be added once: give each shard and video once. "
                f"Received: {ids[row]!r} at {starts[row]} twice"
            )
        new_row = new_row.astype(np.uint32)
        offsets = np.zeros(len(self.class_ids) + 1, np.int64)
        order, scores = self._index.reshape(-1), self._scores.reshape(-1)
        for column in range(len(self.class_ids)):
            fill = self._fill[column]
            rows = new_row[self._index[column, :fill]]
            best = best_first(self._scores[column, :fill], rows, self.k)
            # In place: what is written lies at or before what was read.
            part = slice(offsets[column], offsets[column] + len(best[0]))
            scores[part], order[part] = best
            offsets[column + 1] = part.stop
        total = int(offsets[-1])
        order, scores = order[:total], scores[:total]
        if total < self._index.size // 2:
            order, scores = order.copy(), scores.copy()
        self._reset()
        return Ranking(self.class_ids, ids, starts, offsets, order, scores)

    def _append(self, ids, starts):
        """Adds lists of arrays to the table; returns the first new row."""
        first = np.uint32(len(self._starts))
        self._ids = np.concatenate([self._ids, *ids])
        self._starts = np.concatenate([self._starts, *starts])
        return first

    def _flush(self):
        """Moves what is pending and over the bar into the buffers."""
        if not self._pending:
            return
        scores, ids, starts = zip(*self._pending, strict=True)
        self._pending = []
        base = self._append(ids, starts)
        by_class = np.ascontiguousarray(np.concatenate(scores).T)
        for column, candidates in enumerate(by_class):
            over = np.flatnonzero(candidates >= self._bar[column])
            index = over.astype(np.uint32) + base
            self._extend(column, candidates[over], index)

    def _extend(self, column, scores, index):
        """Appends at most `_room` candidates to the buffer of a class."""
        if self._fill[column] + len(scores) > self._scores.shape[1]:
            self._cut(column)
        part = slice(self._fill[column], self._fill[column] + len(scores))
        self._scores[column, part] = scores
        self._index[column, part] = index
        self._fill[column] = part.stop

    def _cut(self, column):
        """Keeps the best k of a class and raises its bar."""
        k, fill = self.k, self._fill[column]
        scores, index = self._scores[column, :fill], self._index[column, :fill]
        bar = np.partition(scores, fill - k)[fill - k]
        keep, tied = scores > bar, np.flatnonzero(scores == bar)
        missing = k - np.count_nonzero(keep)
        if missing < len(tied):  # a tie across the cut: ids decide
            rows = index[tied]
            order = np.lexsort((self._starts[rows], self._ids[rows]))
            tied = tied[order[:missing]]
        keep[tied] = True
        self._scores[column, :k] = scores[keep]
        self._index[column, :k] = index[keep]
        self._bar[column], self._fill[column] = bar, k


def best_first(scores, rows, k: int):
    """The best `k` of float32 scores, best first; smaller rows win ties.

    Returns:
        `(scores, rows)`, float32 and uint32.
    """
    bits = np.asarray(scores, np.float32).view(np.int32)
    # The bits of positive floats rise with the number, those of negative
    # ones fall: flip the former, so that smaller is better throughout.
    bits = bits ^ (~(bits >> 31) & np.int32(0x7FFFFFFF))
    # One number a pair, since those sort many times faster than indices.
    high = bits.view(np.uint32).astype(np.uint64) << np.uint64(32)
    key = high | np.asarray(rows, np.uint64)
    if len(key) > k:
        key = np.partition(key, k)[:k]
    key.sort()
    bits = (key >> np.uint64(32)).astype(np.uint32).view(np.int32)
    bits ^= ~(bits >> 31) & np.int32(0x7FFFFFFF)
    return bits.view(np.float32), key.astype(np.uint32)
