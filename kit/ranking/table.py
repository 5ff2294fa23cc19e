"""Rankings, the one currency between inference, metrics and ensemble.

A ranking holds, for every class, segments best first.  Equal scores are
ordered by `(video_id, start)`, ascending, everywhere in kit: the result never
depends on the order in which segments arrived.
"""

import dataclasses
import functools

import numpy as np

from kit.replacing import last_whole, replacing

K = 100_000  # segments a class that the competition counts


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
        order: uint32 `(N,)`, indices into the table, best first, each at
            most once a class.
        scores: float32 `(N,)` beside `order`, or None where not known.

    Raises:
        ValueError: Where a class occurs twice or the table is not sorted.

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
        self.class_ids = check_classes(self.class_ids)
        self.video_ids = as_ids(self.video_ids)
        self.starts = np.asarray(self.starts, np.int32)
        self.offsets = np.asarray(self.offsets, np.int64)
        self.order = np.asarray(self.order, np.uint32)
        if self.scores is not None:
            self.scores = np.asarray(self.scores, np.float32)
        self._columns = {int(c): i for i, c in enumerate(self.class_ids)}
        key, starts = sort_key(self.video_ids), self.starts
        rises = np.where(
            key[1:] == key[:-1], starts[1:] > starts[:-1], key[1:] > key[:-1]
        )
        if not rises.all():
            row = int(np.argmin(rises)) + 1
            raise ValueError(
                "The segment table must be sorted by (video_id, start) and "
                "hold each segment once; `Ranking.from_scores` sorts it. "
                f"Received: {self.video_ids[row]!r} at {starts[row]}"
            )

    @classmethod
    def from_scores(
        cls, scores, class_ids, video_ids, starts, k: int = K
    ) -> "Ranking":
        """The best `k` segments of each class from scores `(S, C)`.

        See `TopK` for what is accepted; segments may come in any order.
        """
        from kit.ranking.topk import TopK  # it makes rankings

        top = TopK(class_ids, min(k, max(len(scores), 1)))
        top.add(scores, video_ids, starts)
        return top.ranking()

    @classmethod
    def merge(cls, rankings, k: int = K) -> "Ranking":
        """One ranking of the best `k` out of several over disjoint segments.

        Equal to ranking all segments at once, where each part kept its best
        `k`.  `rankings` may be a generator: one is held at a time.
        """
        from kit.ranking.topk import TopK

        top = None
        for ranking in rankings:
            top = top or TopK(ranking.class_ids, k)
            top.add_ranking(ranking)
        if top is None:
            raise ValueError("Merge needs a ranking. Received: rankings=[]")
        return top.ranking()

    def span(self, class_id: int) -> slice:
        """Where the list of a class stands in `order` and `scores`."""
        column = self._columns.get(int(class_id))
        if column is None:
            return slice(0, 0)
        return slice(int(self.offsets[column]), int(self.offsets[column + 1]))

    def indices(self, class_id: int) -> np.ndarray:
        """The list of a class, best first; empty for a class not ranked."""
        return self.order[self.span(class_id)]

    @functools.cached_property
    def _index(self):
        """A number for each video, in order, and one for each segment."""
        key = sort_key(self.video_ids)
        new = np.append(True, key[1:] != key[:-1])[: len(key)]
        step = 1 + self.starts.max(initial=0).astype(np.int64)
        return key, key[new], (np.cumsum(new) - 1) * step + self.starts, step

    def locate(self, video_ids, starts) -> np.ndarray:
        """Row of each segment in the table, -1 where it is not there."""
        ids, starts = as_ids(video_ids), np.asarray(starts, np.int64)
        if not len(self.starts):
            return np.full(len(starts), -1)
        key, videos, codes, step = self._index
        same_width = ids.astype(self.video_ids.dtype)  # longer ones differ
        wanted = sort_key(same_width)
        code = np.searchsorted(videos, wanted) * step + starts
        row = np.searchsorted(codes, code).clip(max=len(codes) - 1)
        exists = (codes[row] == code) & (key[row] == wanted)
        return np.where(exists & (same_width == ids), row, -1)

    def ranks(self, class_ids, video_ids, starts) -> np.ndarray:
        """Rank of each (class, segment) pair, from 1.

        0 where the list lacks the segment, -1 where even the table does.
        """
        class_ids = np.asarray(class_ids)
        rows = self.locate(video_ids, starts)
        result = np.where(rows < 0, -1, 0)
        wanted = np.zeros(len(self.starts), bool)
        place = np.zeros(len(self.starts), np.int32)
        for class_id in np.unique(class_ids):
            pairs = np.flatnonzero((class_ids == class_id) & (rows >= 0))
            wanted[rows[pairs]] = True
            segments = self.indices(class_id)
            listed = np.flatnonzero(wanted[segments])
            place[segments[listed]] = listed + 1
            result[pairs] = place[rows[pairs]]
            wanted[rows[pairs]], place[rows[pairs]] = False, 0
        return result

    def restrict(self, video_ids) -> "Ranking":
        """The same lists with the segments of `video_ids` only."""
        keep = np.isin(self.video_ids, as_ids(video_ids))
        listed = keep[self.order]
        new_row = (np.cumsum(keep) - 1).astype(np.uint32)
        table = self.video_ids[keep], self.starts[keep]
        offsets = np.append(0, np.cumsum(listed))[self.offsets]
        order = new_row[self.order[listed]]
        scores = None if self.scores is None else self.scores[listed]
        return Ranking(self.class_ids, *table, offsets, order, scores)

    def save(self, folder) -> None:
        """Writes a folder of `.npy` files: whole or not at all.

        A ranking of that name is replaced once the new one is complete.
        """
        with replacing(folder) as scratch:
            scratch.mkdir()
            for field in dataclasses.fields(self):
                array = getattr(self, field.name)
                if array is not None:
                    np.save(scratch / f"{field.name}.npy", array)

    @classmethod
    def load(cls, folder, mmap: bool = True) -> "Ranking":
        """Reads what `save` wrote.

        With `mmap` the lists stay on disk until they are used, so that nine
        full-size members are fused within little memory.

        Raises:
            FileNotFoundError: Where there is no such ranking.
            ValueError: Where a file of it is damaged.
        """
        folder = last_whole(folder)
        fields = dataclasses.fields(cls)
        paths = [folder / f"{field.name}.npy" for field in fields]
        if not paths[-1].exists():
            paths.pop()  # the scores are not known
        mode = "r" if mmap else None
        try:
            return cls(*(np.load(path, mode) for path in paths))
        except (ValueError, EOFError) as error:
            raise ValueError(
                "A ranking is a folder that `Ranking.save` wrote; write it "
                f"again. Received: {folder} ({error})"
            ) from error


def as_ids(video_ids) -> np.ndarray:
    """Video ids as a bytes array, whether they came as bytes or text."""
    ids = np.asarray(video_ids)
    if ids.dtype.kind != "S":
        ids = [i if isinstance(i, bytes) else str(i).encode() for i in ids]
        ids = np.array(ids, dtype="S" if ids else "S1")
    return ids if ids.itemsize else ids.astype("S1")


def one_table(lists):
    """One sorted table of the segments in all of several lists.

    Args:
        lists: `(video_ids, starts)` each.

    Returns:
        `(video_ids, starts, rows)`: the table, and the rows in it of the
        segments of each list.
    """
    ids = np.concatenate([as_ids(video_ids) for video_ids, _ in lists])
    starts = np.concatenate([starts for _, starts in lists])
    step = 1 + starts.max(initial=0).astype(np.int64)
    if ids.itemsize <= 5 and step < 2**23:  # together below 2 ** 63
        video = (sort_key(ids) >> np.uint64(24)).astype(np.int64)
    else:
        _, video = np.unique(sort_key(ids), return_inverse=True)
    codes, row = np.unique(video * step + starts, return_inverse=True)
    table_ids = np.empty(len(codes), ids.dtype)
    table_starts = np.empty(len(codes), np.int32)
    table_ids[row], table_starts[row] = ids, starts
    ends = np.cumsum([len(starts) for _, starts in lists])
    return table_ids, table_starts, np.split(row, ends[:-1])


def sort_key(video_ids: np.ndarray) -> np.ndarray:
    """What orders ids quickly: those of up to 8 bytes as one number each."""
    if video_ids.itemsize > 8:
        return video_ids
    return video_ids.astype("S8").view(">u8").astype(np.uint64)


def check_classes(class_ids) -> np.ndarray:
    """Class ids as int32, refused where one occurs twice or none is given."""
    ids = np.asarray(class_ids)
    if not 0 < len(np.unique(ids)) == ids.size or (ids % 1 != 0).any():
        raise ValueError(
            "`class_ids` must be at least one class, each a whole number and "
            f"there once. Received: class_ids={class_ids!r}"
        )
    return ids.astype(np.int32)
