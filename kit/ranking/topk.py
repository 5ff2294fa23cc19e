"""The best K segments of every class out of a stream of scores."""

import numpy as np

from kit.ranking.table import Ranking, as_ids, check_classes, sort_key


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
    """

    _BLOCK = 8192  # segments handled at once: 32 MB at 1,000 classes

    def __init__(self, class_ids, k: int = 100_000):
        if int(k) != k or k < 1:
            raise ValueError(
                f"`k` must be a whole number of at least 1. Received: k={k!r}"
            )
        self.class_ids = check_classes(class_ids)
        self.k = int(k)
        self._reset()

    def _reset(self):
        num_classes = len(self.class_ids)
        self._room = max(self.k // 5, self._BLOCK)
        self._ids, self._starts = np.empty(0, "S1"), np.empty(0, np.int32)
        self._count = 0  # segments in the table
        self._flushed = 0  # of which the buffers have seen
        self._stage = np.empty((num_classes, 0), np.float32)
        self._staged = 0
        self._fill = [0] * num_classes
        # -inf lies below the bar: it says "not a candidate".
        self._bar = [np.finfo(np.float32).min] * num_classes
        self._scores = np.empty((num_classes, 0), np.float32)
        self._index = np.empty((num_classes, 0), np.uint32)

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
        self._append_segments(video_ids, starts)
        done = 0
        while done < len(scores):
            if self._staged == self._stage.shape[1]:
                self._flush()
                size = min(self._BLOCK, max(len(scores), 1024))
                if self._stage.shape[1] < size:
                    self._stage = np.empty((expected[1], size), np.float32)
            part = scores[done : done + self._stage.shape[1] - self._staged]
            block = self._stage[:, self._staged : self._staged + len(part)]
            np.add(part.T, np.float32(0), out=block)  # makes -0.0 be 0.0
            self._staged += len(part)
            done += len(part)

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
        base = np.uint32(self._count)
        self._append_segments(ranking.video_ids, ranking.starts)
        self._flushed = self._count
        for column, class_id in enumerate(self.class_ids):
            span = ranking.span(class_id)
            for start in range(span.start, span.stop, self._room):
                part = slice(start, min(start + self._room, span.stop))
                index = ranking.order[part] + base
                self._extend(column, ranking.scores[part], index)

    def ranking(self) -> Ranking:
        """The result.  Hands over the memory: the collector is empty after."""
        self._flush()
        ids, starts = self._ids[: self._count], self._starts[: self._count]
        table = np.lexsort((starts, sort_key(ids)))
        ids, starts = ids[table], starts[table]
        twice = (ids[1:] == ids[:-1]) & (starts[1:] == starts[:-1])
        if twice.any():
            row = int(np.argmax(twice))
            raise ValueError(
                "A segment must be added once; is a video in two shards? "
                f"Received: {ids[row]!r} at {starts[row]} twice"
            )
        new_row = np.empty(self._count, np.uint32)
        new_row[table] = np.arange(self._count, dtype=np.uint32)
        offsets = np.zeros(len(self.class_ids) + 1, np.int64)
        order, scores = self._index.reshape(-1), self._scores.reshape(-1)
        for column in range(len(self.class_ids)):
            if self._fill[column] > self.k:
                self._cut(column)
            fill = self._fill[column]
            key = _pack(
                self._scores[column, :fill],
                new_row[self._index[column, :fill]],
            )
            key.sort()
            # In place: what is written lies at or before what was read.
            part = slice(offsets[column], offsets[column] + fill)
            scores[part], order[part] = _unpack(key)
            offsets[column + 1] = part.stop
        total = int(offsets[-1])
        order, scores = order[:total], scores[:total]
        if total < self._index.size // 2:
            order, scores = order.copy(), scores.copy()
        self._reset()
        return Ranking(self.class_ids, ids, starts, offsets, order, scores)

    def _append_segments(self, video_ids, starts):
        width = max(self._ids.itemsize, video_ids.itemsize)
        total = self._count + len(starts)
        if total > len(self._starts) or width > self._ids.itemsize:
            size = max(2 * len(self._starts), total)
            ids, old = np.empty(size, f"S{width}"), self._count
            ids[:old] = self._ids[:old]
            self._ids, new = ids, np.empty(size, np.int32)
            new[:old] = self._starts[:old]
            self._starts = new
        self._ids[self._count : total] = video_ids
        self._starts[self._count : total] = starts
        self._count = total

    def _flush(self):
        """Moves what is staged and over the bar into the buffers."""
        for column in range(len(self.class_ids)):
            scores = self._stage[column, : self._staged]
            over = np.flatnonzero(scores >= self._bar[column])
            index = over.astype(np.uint32) + np.uint32(self._flushed)
            self._extend(column, scores[over], index)
        self._flushed += self._staged
        self._staged = 0

    def _extend(self, column, scores, index):
        """Appends at most `_room` candidates to the buffer of a class."""
        needed = self._fill[column] + len(scores)
        if self._scores.shape[1] < min(needed, self.k + self._room):
            self._grow(needed)
        if self._scores.shape[1] < needed:
            self._cut(column)
        fill = self._fill[column]
        end = fill + len(scores)
        self._scores[column, fill:end] = scores
        self._index[column, fill:end] = index
        self._fill[column] = end

    def _grow(self, needed):
        # Doubles; past a quarter it takes all, so that what is copied last is
        # small beside the two buffers, which grow one after the other.
        size, whole = 2 * self._scores.shape[1], self.k + self._room
        size = whole if 2 * size > whole else max(size, needed)
        for name in ("_scores", "_index"):
            old = getattr(self, name)
            new = np.empty((len(old), size), old.dtype)
            new[:, : old.shape[1]] = old
            setattr(self, name, new)

    def _cut(self, column):
        """Keeps the best k of a class and raises its bar."""
        k, fill = self.k, self._fill[column]
        key = _pack(self._scores[column, :fill], self._index[column, :fill])
        key.partition(k - 1)
        bar = key[k - 1] >> 32
        if key[k:].min() >> 32 == bar:  # a tie across the cut: ids decide
            better = key[key >> 32 < bar]
            tied = key[key >> 32 == bar]
            rows = tied & np.uint64(0xFFFFFFFF)
            ids = sort_key(self._ids[rows])
            first = np.lexsort((self._starts[rows], ids))
            tied = tied[first[: k - len(better)]]
            key = np.concatenate([better, tied])
        scores, index = _unpack(key[:k])
        self._scores[column, :k], self._index[column, :k] = scores, index
        self._bar[column] = scores.min()
        self._fill[column] = k


def _pack(scores, low):
    """uint64 keys: ascending is best score first, then smallest `low`."""
    bits = scores.view(np.int32)
    # The bits of positive floats rise with the number, those of negative
    # ones fall: flip the former, so that smaller is better throughout.
    bits = bits ^ (~(bits >> 31) & np.int32(0x7FFFFFFF))
    return (bits.view(np.uint32).astype(np.uint64) << np.uint64(32)) | low


def _unpack(key):
    """The scores and `low` of `_pack`."""
    bits = (key >> np.uint64(32)).astype(np.uint32).view(np.int32)
    bits ^= ~(bits >> 31) & np.int32(0x7FFFFFFF)
    return bits.view(np.float32), key.astype(np.uint32)
