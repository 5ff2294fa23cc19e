"""Videos of some shards -> examples in an order -> batches."""

import atexit
import ctypes
import dataclasses
import itertools
import math
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kit.data.shards import Report
from kit.data.source import check_whole

BUFFER_EXAMPLES = 16_384
BUFFER_BYTES = 256 * 2**20

_ending = threading.Event()
_busy = weakref.WeakSet()


class Example(NamedTuple):
    """One row of a batch to be.

    Attributes:
        rgb, audio: The frames, uint8 `(n, rgb)` and `(n, audio)`.
        first: Row of the window where the first of them goes.
        classes, scores: What is known of it, both `(L,)`.
        video_id, start: Where it is from; `start` in frames.
    """

    rgb: np.ndarray
    audio: np.ndarray
    first: int
    classes: np.ndarray
    scores: np.ndarray | int
    video_id: bytes
    start: int


@dataclass(frozen=True)
class Order:
    """In what order examples come, and how many make a batch."""

    batch_size: int
    shuffle: bool = False
    seed: int = 0
    first_epoch: int = 0
    repeat: bool = False
    drop_remainder: bool | None = None

    def __post_init__(self):
        check_whole("batch_size", self.batch_size, 1)
        check_whole("seed", self.seed, 0)
        check_whole("first_epoch", self.first_epoch, 0)

    @property
    def full(self) -> bool:
        """Whether every batch is full."""
        drop = self.drop_remainder
        return self.repeat if drop is None else drop

    def epochs(self) -> Iterator[np.random.Generator]:
        """The source of chance of each epoch."""
        count = itertools.count(self.first_epoch)
        for epoch in itertools.islice(count, None if self.repeat else 1):
            yield np.random.default_rng([self.seed, epoch])


def as_dataset(
    batches: Callable, length, dim, columns, rows, extra="", grouped=False
):
    """Wraps a generator of batches; `rows` is None where it varies.

    Where `grouped`, the generator yields several batches at once, stacked:
    each step through Python costs as much as making a small batch.
    """
    import tensorflow as tf

    group = (None,) if grouped else ()
    inputs = {
        "frames": tf.TensorSpec((*group, rows, length, dim), tf.uint8),
        "mask": tf.TensorSpec((*group, rows, length), tf.bool),
    }
    ids = tf.TensorSpec((*group, rows), tf.string)
    starts = tf.TensorSpec((*group, rows), tf.int32)
    signature = (inputs,)
    if columns is not None:
        signature += (tf.TensorSpec((*group, rows, columns), tf.int8),)
    signature += {"": (), "ids": (ids,), "starts": ((ids, starts),)}[extra]

    def kept():
        _keep_memory()
        yield from _until_exit(batches())

    made = tf.data.Dataset.from_generator(kept, output_signature=signature)
    if grouped:
        made = made.prefetch(1).flat_map(
            lambda *parts: tf.data.Dataset.from_tensor_slices(parts)
        )
    # Nothing here is left to tuning, whose thread sleeps longer and longer
    # (up to a minute), and half of all passes end when it wakes.
    options = tf.data.Options()
    options.autotune.enabled = False
    return made.prefetch(2).with_options(options)


def dataset(
    source, cut, order, length, columns, fill=0, extra="", empty_ok=False
):
    """The `tf.data.Dataset` of the examples that `cut` makes of videos."""
    spec = source.spec

    def examples():
        for rng in order.epochs():
            passed = source.one_pass(rng if order.shuffle else None)
            found = (example for video in passed for example in cut(video, rng))
            if order.shuffle:
                size = BUFFER_BYTES // (length * spec.dim)
                found = _mixed(found, min(size + 1, BUFFER_EXAMPLES), rng)
            first = next(found, None)
            if first is None and empty_ok:
                return
            if first is None:
                raise ValueError(
                    f"{_why_nothing(source, cut, rng)}. Received: "
                    f"part={source.part!r}, fraction={source.holdout.fraction},"
                    f" shards={source.shards[:3]!r}"
                )
            yield first
            yield from found

    def batches():
        stream, blocks = examples(), Blocks()
        while rows := list(itertools.islice(stream, order.batch_size)):
            if len(rows) == order.batch_size or not order.full:
                yield _collate(rows, blocks, spec, length, columns, fill, extra)

    rows = order.batch_size if order.full else None
    return as_dataset(batches, length, spec.dim, columns, rows, extra)


def _why_nothing(source, cut, rng) -> str:
    """Why there is no example: the first thousand videos of all parts say."""
    if source.part != "all":
        report = Report(source.report.skip)
        every = dataclasses.replace(source, part="all", report=report)
        videos = itertools.islice(every.one_pass(), 1000)
        if any(example for video in videos for example in cut(video, rng)):
            return (
                "The shards hold nothing for this part of the hold-out: give "
                "more of them, or hold out another share of the videos "
                "(--holdout-fraction 0.4 suits a few shards)"
            )
    return (
        "The shards hold nothing to read: give frame-level shards (rated ones, "
        "from 3/frame/validate, where ratings are needed) or another `part`"
    )


def _until_exit(batches):
    """The batches, as long as Python runs.

    Where it ends while TensorFlow, in a thread of its own, waits for a batch of
    a data set that someone still holds, the two wait for each other for ever.
    """
    busy = threading.Lock()
    _busy.add(busy)
    while not _ending.is_set():
        with busy:
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


@atexit.register
def _end() -> None:
    _ending.set()
    for busy in list(_busy):
        busy.acquire(timeout=10)
    time.sleep(0.1)  # so that those who ask once more are told


def _keep_memory() -> None:
    """Has the C library reuse the memory of records and batches.

    `Dataset.from_generator` sets glibc's trim threshold to 128 KB for the whole
    process, so that every block above that goes back to the system at once;
    taking 260 KB again, page by page, costs more than reading a record.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
        if mallopt is not None:
            mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD, the most it takes
            mallopt(-1, 256 * 2**20)  # M_TRIM_THRESHOLD


def _mixed(examples, size, rng):
    """Examples from a buffer of `size`, picked at random."""
    buffer = list(itertools.islice(examples, size))
    for example in examples:
        at = int(rng.integers(size))
        yield buffer[at]
        buffer[at] = example
    for at in rng.permutation(len(buffer)):
        yield buffer[at]


class Blocks:
    """Memory for batches, used again once nobody else holds it.

    A batch of whole videos has 44 MB, and fresh memory for each costs as much
    as filling it.  TensorFlow takes an array that starts at a multiple of 64
    without a copy and lets go of it with the batch.
    """

    def __init__(self):
        self.blocks = []  # of a buffer and a weak reference to its array

    def take(self, shape) -> np.ndarray:
        """An uint8 array, not filled."""
        size = math.prod(shape)
        for at, (block, user) in enumerate(self.blocks):
            if user() is None and len(block) >= size + 64:
                del self.blocks[at]
                break
        else:
            block = bytearray(size + 64)
        # NumPy makes this array the base of every view taken of it, so that
        # it lives as long as any of them.
        array = np.frombuffer(block, np.uint8)
        self.blocks = [*self.blocks[-7:], (block, weakref.ref(array))]
        start = -array.ctypes.data % 64
        return array[start : start + size].reshape(shape)


def _collate(rows, blocks, spec, length, columns, fill, extra):
    """A batch of the examples in `rows`, padded to `length` frames."""
    frames = blocks.take((len(rows), length, spec.dim))
    first = np.array([row.first for row in rows])
    last = first + [len(row.rgb) for row in rows]
    for row, here, start, end in zip(rows, frames, first, last, strict=True):
        here[:start] = 0
        here[start:end, : spec.rgb] = row.rgb
        here[start:end, spec.rgb :] = row.audio
        here[end:] = 0
    place = np.arange(length)
    mask = (place >= first[:, None]) & (place < last[:, None])
    batch = ({"frames": frames, "mask": mask},)
    if columns is not None:
        targets = np.full((len(rows), columns), fill, np.int8)
        if columns:
            for row, here in zip(rows, targets, strict=True):
                here[row.classes] = row.scores
        batch += (targets,)
    ids = [row.video_id for row in rows]
    starts = np.array([row.start for row in rows], np.int32)
    return batch + {"": (), "ids": (ids,), "starts": ((ids, starts),)}[extra]
