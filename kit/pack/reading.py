"""Packs -> batches, mixed in memory."""

import atexit
import math
import threading
import time
from typing import NamedTuple

import numpy as np

from kit.data.reading import quiet_options
from kit.pack.packing import pair, read_header, row_shape
from kit.ranking.table import check_classes
from kit.spec import UNRATED, FrameSpec
from kit.splits import EVERY_VIDEO

RUN_BYTES = 4 * 2**20  # frames read in one go: a network mount needs long runs
POOL_BYTES = 64 * 2**20  # frames and targets mixed in memory


_reading, _ended = threading.Lock(), threading.Event()


@atexit.register
def _end() -> None:
    """Reads no more pools once Python exits, even in the middle of an epoch.

    Otherwise Python and the thread of TensorFlow that reads ahead would wait
    for each other for ever.
    """
    with _reading:
        _ended.set()
    time.sleep(0.1)  # so that those who ask now are told


class Rated(NamedTuple):
    """Rated segments, for evaluation.

    Attributes:
        inputs: `frames` uint8 `(n, T, D)` and `mask` bool `(n, T)`.
        targets: int8 `(n, C)`: 1 yes, 0 no, below 0 nobody knows.
        video_ids: bytes `(n,)`.
        starts: First frame of each segment, int64 `(n,)`.
    """

    inputs: dict
    targets: np.ndarray
    video_ids: np.ndarray
    starts: np.ndarray


class Pack:
    """A pack of snippets or of rated segments, read into batches.

    A pass over the rows of the part reads runs of neighbouring rows in random
    order, since random access would be slow on a network mount, and mixes them
    in memory in pools of some batches each. No row comes twice in a pass, but
    where a pool has fewer rows than a batch. Each pool leaves out fewer rows
    than a batch, different ones in each pass.
    Passes follow one another, and epoch `e` has the batches from `e * steps`
    to `(e + 1) * steps - 1`.

    Some ratings are of segments that lie beyond the last frame of their video.
    There is nothing to learn from them, so `epoch` leaves them out; they are
    ratings all the same, so `rated` has them, under a mask that hides all but
    the context.

    Args:
        folder: By `pack_snippets` or `pack_segments`; it is only read.
        class_ids: Vocabulary ids of the columns of the targets, such as
            `range(num_classes)`: all those of the pack, in any order, and maybe
            more.
        part: Which videos, see `kit.splits`.
        batch_size: Rows a batch.
        seed: Of the order.
        context: Frames on each side of a segment, at most those of the pack.

    Raises:
        ValueError: For classes that do not cover those of the pack, context
            that it does not have, and for a folder that holds no pack, or an
            unfinished or damaged one.

    Example:

    >>> snippets = Pack("snippets", range(3862))  # doctest: +SKIP
    >>> model.fit(snippets.epoch(0, steps=1000))  # doctest: +SKIP
    """

    def __init__(
        self,
        folder,
        class_ids,
        part=EVERY_VIDEO,
        batch_size=128,
        seed=0,
        context=0,
    ):
        header = read_header(folder)
        class_ids = check_classes(class_ids)
        packed = _packed_classes(header, class_ids)
        self._width = len(class_ids)
        self._columns = np.zeros(class_ids.max() + 1, int)
        self._columns[class_ids] = np.arange(self._width)
        self.batch_size, self.seed = batch_size, seed
        self.spec, self.context = FrameSpec(**header["spec"]), context
        # What targets hold of classes that a row does not name.
        self._others = np.full(self._width, UNRATED, np.int8)
        self._others[self._columns[packed]] = header["others"]
        self._first, num_frames = _trimmed(header, context)
        self._shape = *row_shape(header)[:-1], num_frames, self.spec.dim
        self._files = [pair(folder, shard) for shard in header["shards"]]
        # Rows are numbered through all shards.
        shards = zip(*map(self._describe, self._files), strict=True)
        unique, sizes, *self._table = map(np.concatenate, shards)
        if len(np.unique(unique)) < len(unique):
            rule = "A video is packed once: give each shard once, by one path."
            raise ValueError(f"{rule} Received: folder={str(folder)!r}")
        self._offsets = np.cumsum(sizes) - sizes
        self._table[1] += self._first
        ids, starts, counts = self._table
        self._rows = np.flatnonzero(part.select(ids))
        visible = starts[:, 0] + self.context < counts
        self._visible = self._rows[visible[self._rows]]
        self._check_rows(folder, part)

    def _check_rows(self, folder, part):
        if not len(self._visible):
            raise ValueError(
                "A pack must hold rows of this part: pack frame-level shards "
                "(rated ones for segments), or give another part. "
                f"Received: folder={str(folder)!r}, part={part}"
            )
        if beyond := len(self) - len(self._visible):
            print(f"{beyond} of {len(self)} segments lie beyond the last frame")

    def __len__(self):
        return len(self._rows)

    def epoch(self, epoch: int, steps: int):
        """The batches of an epoch, a pure function of its number and the seed.

        Args:
            epoch: From 0 on.
            steps: Batches an epoch, the same in all epochs.

        Returns:
            A `tf.data.Dataset` of exactly `steps` batches `(inputs, targets)`:
            inputs `frames` uint8 `(B, T, D)` and `mask` bool `(B, T)`, of bags
            `(B, N, T, D)` and `(B, N, T)`, targets int8 `(B, C)`: 1 yes, 0
            no, and of segments -1 and -2 as `pack_segments` says.
        """
        import tensorflow as tf

        most = POOL_BYTES // (math.prod(self._shape) + self._width)
        pools = -(-len(self._visible) // max(most, self.batch_size))
        group = max(1, len(self._visible) // pools // self.batch_size)
        shape, types = (group, self.batch_size), (tf.uint8, tf.bool, tf.int8)

        def make(number):
            return self._pool(*divmod(number, pools), math.prod(shape))

        def load(number):
            arrays = tf.numpy_function(make, [number], types)
            rows = self._shape, self._shape[:-1], (self._width,)
            shapes = [(*shape, *row) for row in rows]
            frames, mask, targets = map(tf.reshape, arrays, shapes)
            return {"frames": frames, "mask": mask}, targets

        # One step through Python for a pool; the batches are slices of it.
        first, skip = divmod(epoch * steps, group)
        last = (epoch * steps + steps - 1) // group
        loaded = tf.data.Dataset.range(first, last + 1).map(load).prefetch(1)
        slices = tf.data.Dataset.from_tensor_slices
        batches = loaded.flat_map(lambda *pool: slices(pool)).skip(skip)
        counted = tf.data.experimental.assert_cardinality(steps)
        batches = batches.take(steps).prefetch(2).apply(counted)
        return batches.with_options(quiet_options())

    def rated(self) -> Rated:
        """All rated segments of the part, in the order of the pack."""
        frames, mask, targets = self._read(self._rows)
        ids, starts, _ = (column[self._rows] for column in self._table)
        inputs = {"frames": frames, "mask": mask}
        return Rated(inputs, targets, ids, starts[:, 0] + self.context)

    def _open(self, files):
        """The table and the frames of a shard, not yet read."""
        try:
            return [np.load(path, mmap_mode="r") for path in files]
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(
                "A pack must be whole: pack the same shards again, which adds "
                "what is missing; delete what is damaged before. "
                f"Received: files={[*map(str, files)]}, error={error!r}"
            ) from error

    def _describe(self, files):
        """Ids, number of rows, and of each row id, start, length of video."""
        table, _ = self._open(files)
        columns = [np.array(table[name]) for name in table.dtype.names[:3]]
        return np.unique(columns[0]), [len(table)], *columns

    def _pool(self, turn, number, size):
        """Frames, mask and targets of a pool of a pass; None at the exit."""
        total = len(self._visible)
        rng = np.random.default_rng([self.seed, turn])
        run_length = max(1, RUN_BYTES // math.prod(self._shape))
        places = rng.integers(total) + number * size + np.arange(size)
        run, offset = np.divmod(places % total, run_length)
        # The last run is shorter.
        runs = rng.permutation(total // run_length)
        index = np.append(runs, len(runs))[run] * run_length + offset
        mix = np.random.default_rng([self.seed, turn, number + 1])
        with _reading:
            if not _ended.is_set():
                return self._read(self._visible[mix.permutation(index)])

    def _read(self, rows):
        """Frames, mask and targets of some rows."""
        frames = _aligned((len(rows), *self._shape), np.uint8)
        targets = _aligned((len(rows), self._width), np.int8)
        targets[:] = self._others
        shards = np.searchsorted(self._offsets, rows, side="right") - 1
        for shard in np.unique(shards):
            places = np.flatnonzero(shards == shard)
            places = places[np.argsort(rows[places])]  # as they lie on disk
            index = rows[places] - self._offsets[shard]
            table, source = self._open(self._files[shard])
            last = self._first + self._shape[-2]
            frames[places] = source[index][..., self._first : last, :]
            table = table[index]
            row, column = np.nonzero(table["targets"][:, :, 0] >= 0)
            classes, scores = table["targets"][row, column].T
            targets[places[row], self._columns[classes]] = scores
        _, starts, counts = (column[rows] for column in self._table)
        frame = starts[:, :, None] + np.arange(self._shape[-2])  # (n, N, T)
        mask = (frame >= 0) & (frame < counts[:, None, None])
        return frames, mask.reshape(frames.shape[:-1]), targets


def _packed_classes(header, class_ids):
    """The vocabulary ids of a pack, which must be among `class_ids`."""
    packed = header.get("class_ids", range(header.get("num_classes", 0)))
    outside = np.setdiff1d(packed, class_ids).tolist()
    if outside:
        rule = "The classes must cover those of the pack: give these too."
        raise ValueError(f"{rule} Received: classes without {outside}")
    return packed


def _trimmed(header, context):
    """First and number of the frames to take of a row."""
    first, most = header["context"] - context, header["context"]
    if not 0 <= context <= most:
        rule = "Context is at most that of the pack: pack anew for more."
        raise ValueError(f"{rule} Received: context={context}, not 0 to {most}")
    return first, header["num_frames"] - 2 * first


def _aligned(shape, dtype):
    """An array of bytes that TensorFlow takes without a copy."""
    memory = np.empty(math.prod(shape) + 64, dtype)
    start = -memory.ctypes.data % 64
    return memory[start : start + math.prod(shape)].reshape(shape)
