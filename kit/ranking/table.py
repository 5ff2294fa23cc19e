"""Rankings, the one currency between inference, metrics and ensemble.

A ranking holds, for every class, segments best first.  Equal scores are
ordered by `(video_id, start)`, ascending, everywhere in kit: the result never
depends on the order in which segments arrived.
"""

import dataclasses
import os
import struct
import zipfile
from pathlib import Path

import numpy as np

FORMAT = 1


@dataclasses.dataclass(eq=False)
class Ranking:
    """Per class, at most K segments best first, over one table of segments.

    The table is sorted by `(video_id, start)` and free of duplicates, so a
    smaller index wins a tie.

    Args:
        class_ids: int32 `(C,)`, vocabulary ids, each once, in any order.
        video_ids: bytes `(S,)`.
        starts: int32 `(S,)`, where each segment starts, in seconds.
        offsets: int64 `(C + 1,)`.  The list of class number c is
            `order[offsets[c]:offsets[c + 1]]`.
        order: uint32 `(N,)`, indices into the table, best first.
        scores: float32 `(N,)` beside `order`, or None where not known.

    Raises:
        ValueError: Where shapes disagree, a class occurs twice, the table is
            not sorted or an index lies outside it.

    Example:

    >>> scores = np.array([[0.2, 0.9], [0.7, 0.9]])
    >>> ranking = Ranking.from_scores(scores, [3, 7], ["b", "a"], [0, 5])
    >>> ranking.video_ids[ranking.indices(3)].tolist()  # 0.7 before 0.2
    [b'a', b'b']
    >>> ranking.video_ids[ranking.indices(7)].tolist()  # a tie: "a" first
    [b'a', b'b']
    """

    class_ids: np.ndarray
    video_ids: np.ndarray
    starts: np.ndarray
    offsets: np.ndarray
    order: np.ndarray
    scores: np.ndarray | None = None

    def __post_init__(self):
        self.class_ids = np.asarray(self.class_ids, np.int32)
        self.video_ids = as_ids(self.video_ids)
        self.starts = np.asarray(self.starts, np.int32)
        self.offsets = np.asarray(self.offsets, np.int64)
        self.order = np.asanyarray(self.order, np.uint32)
        if self.scores is not None:
            self.scores = np.asanyarray(self.scores, np.float32)
        self._check()
        self._columns = {int(c): i for i, c in enumerate(self.class_ids)}

    def _check(self):
        lengths = (len(self.order), self.offsets[-1:].sum())
        if (
            self.offsets.shape != (len(self.class_ids) + 1,)
            or self.offsets[0] != 0
            or (np.diff(self.offsets) < 0).any()
            or lengths[0] != lengths[1]
            or (self.scores is not None and len(self.scores) != lengths[0])
            or self.starts.shape != self.video_ids.shape
        ):
            raise ValueError(
                "A ranking needs `offsets` that rise from 0 to the length of "
                "`order` (and `scores`), one more than classes, and a start "
                f"a video id. Received: {len(self.class_ids)} classes, "
                f"{self.offsets.shape} offsets, {lengths[0]} in order, "
                f"{self.video_ids.shape} ids, {self.starts.shape} starts"
            )
        check_classes(self.class_ids)
        key = sort_key(self.video_ids)
        rises = (key[1:] > key[:-1]) | (
            (key[1:] == key[:-1]) & (self.starts[1:] > self.starts[:-1])
        )
        if not rises.all():
            row = int(np.argmin(rises)) + 1
            raise ValueError(
                "The segment table must be sorted by (video_id, start) and "
                "hold each segment once; `Ranking.from_scores` sorts it. "
                f"Received: video_ids[{row}]={self.video_ids[row]!r}, "
                f"starts[{row}]={self.starts[row]}"
            )
        # A memory-mapped order is not read just to be checked.
        if not isinstance(self.order, np.memmap) and len(self.order):
            if self.order.max() >= len(self.starts):
                raise ValueError(
                    "`order` must point into the segment table. Received: "
                    f"max={self.order.max()} for {len(self.starts)} segments"
                )

    @classmethod
    def from_scores(cls, scores, class_ids, video_ids, starts, k=100_000):
        """The best `k` segments of each class from scores `(S, C)`.

        See `TopK` for what is accepted; segments may come in any order.
        """
        from kit.ranking.topk import (
            TopK,  # which makes rankings, hence imports this
        )

        collector = TopK(class_ids, min(k, max(len(scores), 1)))
        collector.add(scores, video_ids, starts)
        return collector.ranking()

    @classmethod
    def merge(cls, rankings, k=100_000):
        """One ranking of the best `k` out of several over disjoint segments.

        Equal to ranking all segments at once, where each part kept its best
        `k`.  `rankings` may be a generator: one is held at a time.
        """
        from kit.ranking.topk import TopK

        collector = None
        for ranking in rankings:
            if collector is None:
                collector = TopK(ranking.class_ids, k)
            collector.add_ranking(ranking)
        if collector is None:
            raise ValueError("Merge needs a ranking. Received: rankings=[]")
        return collector.ranking()

    def indices(self, class_id: int) -> np.ndarray:
        """The list of a class, best first; empty for a class not ranked."""
        return self.order[self.span(class_id)]

    def span(self, class_id: int) -> slice:
        """Where the list of a class stands in `order` and `scores`."""
        column = self._columns.get(int(class_id))
        if column is None:
            return slice(0, 0)
        return slice(int(self.offsets[column]), int(self.offsets[column + 1]))

    def locate(self, video_ids, starts) -> np.ndarray:
        """Index of each segment in the table, -1 where it is not there."""
        video_ids, starts = as_ids(video_ids), np.asarray(starts, np.int64)
        if not len(self.starts):
            return np.full(len(starts), -1)
        width = max(self.video_ids.itemsize, video_ids.itemsize)
        table = sort_key(self.video_ids.astype(f"S{width}"))
        query = sort_key(video_ids.astype(f"S{width}"))
        first = np.flatnonzero(np.r_[True, table[1:] != table[:-1]])
        videos = table[first]  # each video once, sorted
        low = min(int(self.starts.min()), int(starts.min(initial=0)))
        high = max(int(self.starts.max()), int(starts.max(initial=0)))
        step = high - low + 1
        number = np.repeat(
            np.arange(len(first)), np.diff(np.r_[first, len(table)])
        )
        code = number * step + (self.starts - low)  # rises
        video = np.searchsorted(videos, query).clip(max=len(videos) - 1)
        wanted = video * step + (starts - low)
        row = np.searchsorted(code, wanted).clip(max=len(code) - 1)
        found = (videos[video] == query) & (code[row] == wanted)
        return np.where(found, row, -1)

    def ranks(self, class_ids, video_ids, starts) -> np.ndarray:
        """Rank of each (class, segment) pair, from 1.

        0 where the list lacks the segment, -1 where even the table does.

        Raises:
            ValueError: Where a list holds one of the segments twice.
        """
        class_ids = np.asarray(class_ids, np.int64)
        rows = self.locate(video_ids, starts)
        result = np.where(rows < 0, -1, 0)
        mark = np.full(len(self.starts), -1, np.int32)
        by_class = np.argsort(class_ids, kind="stable")
        known = by_class[rows[by_class] >= 0]
        cuts = np.flatnonzero(np.diff(class_ids[known])) + 1
        for pairs in np.split(known, cuts):
            if not len(pairs):
                continue
            mark[rows[pairs]] = np.arange(len(pairs))
            met = mark[self.indices(class_ids[pairs[0]])]
            places = np.flatnonzero(met >= 0)
            met = met[places]
            if len(np.unique(met)) < len(met):
                raise ValueError(
                    "A list must hold a segment once; remove the duplicates. "
                    f"Received: class {class_ids[pairs[0]]}"
                )
            rank = np.zeros(len(pairs), np.int64)
            rank[met] = places + 1
            result[pairs] = rank[mark[rows[pairs]]]
            mark[rows[pairs]] = -1
        return result

    def restrict(self, video_ids) -> "Ranking":
        """The same lists with the segments of `video_ids` only."""
        keep = np.isin(self.video_ids, as_ids(video_ids))
        chosen = keep[self.order]
        ends = np.r_[0, np.cumsum(chosen)][self.offsets]
        new_row = (np.cumsum(keep) - 1).astype(np.uint32)
        return Ranking(
            self.class_ids,
            self.video_ids[keep],
            self.starts[keep],
            ends,
            new_row[self.order[chosen]],
            None if self.scores is None else self.scores[chosen],
        )

    def save(self, path) -> None:
        """Writes a `.npz`: whole or not at all, without pickle."""
        path = Path(path)
        # On a host a member's model may lie elsewhere, in an attached output.
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {n: v for n, v in vars(self).items() if n[0] != "_"}
        if self.scores is None:
            del arrays["scores"]
        scratch = path.with_name(path.name + ".tmp")
        with open(scratch, "wb") as file:
            np.savez(file, format=np.int64(FORMAT), **arrays)
        os.replace(scratch, path)

    @classmethod
    def load(cls, path, mmap: bool = False) -> "Ranking":
        """Reads what `save` wrote.

        With `mmap=True` the lists stay on disk until they are used, so that
        nine full-size members can be fused within little memory.
        """
        try:
            with (
                open(path, "rb") as whole,
                np.load(whole, allow_pickle=False) as file,
            ):
                version = int(file["format"])
                names = [n for n in file.files if n != "format"]
                lazy = {"order", "scores"} if mmap else set()
                arrays = {n: file[n] for n in names if n not in lazy}
                for name in lazy & set(names):
                    arrays[name] = _map_member(path, file, name)
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                "A ranking is a .npz file written by `Ranking.save`; write "
                f"it again. Received: {path} ({error})"
            ) from error
        if version != FORMAT:
            raise ValueError(
                f"This kit reads rankings of format {FORMAT}; write the file "
                f"again with it. Received: {path} of format {version}"
            )
        expected = {field.name for field in dataclasses.fields(cls)}
        if arrays.keys() | {"scores"} != expected:
            raise ValueError(
                "A ranking is a .npz file written by `Ranking.save`; write "
                f"it again. Received: {path} with {', '.join(arrays)}"
            )
        return cls(**arrays)


def as_ids(video_ids) -> np.ndarray:
    """Video ids as a bytes array, whether they came as bytes or text."""
    ids = np.asarray(video_ids)
    if ids.dtype.kind != "S":
        ids = [i if isinstance(i, bytes) else str(i).encode() for i in ids]
        ids = np.array(ids, dtype="S" if ids else "S1")
    return ids if ids.itemsize else ids.astype("S1")


def sort_key(video_ids: np.ndarray) -> np.ndarray:
    """What orders ids quickly: those of up to 8 bytes as one number each."""
    if video_ids.itemsize > 8:
        return video_ids
    return video_ids.astype("S8").view(">u8").astype(np.uint64)


def check_classes(class_ids) -> np.ndarray:
    """Class ids as int32, refused where one occurs twice or none is given."""
    class_ids = np.asarray(class_ids, np.int32)
    unique = len(np.unique(class_ids))
    if class_ids.ndim != 1 or unique < max(class_ids.size, 1):
        raise ValueError(
            "`class_ids` must be a list of at least one class, each once. "
            f"Received: {class_ids.size} ids, {unique} of them different"
        )
    return class_ids


def _map_member(path, archive, name):
    """An array of an uncompressed .npz as a memory map."""
    info = archive.zip.getinfo(name + ".npy")
    with open(path, "rb") as file:
        # A local header of a zip: 30 bytes, of which the last four say how
        # long the name and the extra field after it are.
        file.seek(info.header_offset + 26)
        file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if not shape[0]:
            return np.empty(shape, dtype)
        return np.memmap(path, dtype, "r", file.tell(), shape)
