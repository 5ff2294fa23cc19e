"""Reading packs: the format on the disk, and batches from it."""

import json
import os
from collections.abc import Iterator

import numpy as np

from kit.data.batches import (
    Blocks,
    Order,
    as_dataset,
    check_whole,
    class_columns,
)
from kit.spec import FrameSpec
from kit.splits import Holdout

VERSION = 1
HEADER = "pack.json"
CHUNK_BYTES = 8 * 2**20  # read in one go
GROUP = 8  # batches made in one go
POOL_BYTES = 128 * 2**20  # mixed in memory
HOLDOUT = Holdout()

# An entry is what carries labels: a video, or a rated segment.  Its ratings
# end at `end` and begin where those of the entry before end.
ENTRY = np.dtype([("id", "S16"), ("end", "<u8")])
RATING = np.dtype([("class", "<i4"), ("score", "i1")])
# A row is one example: `count` frames from row `first` of its window on.
ROW = np.dtype(
    [("entry", "<u4"), ("start", "<i4"), ("first", "<u2"), ("count", "<u2")]
)


def read_header(folder) -> dict:
    """The header of a pack of ours."""
    path = os.path.join(folder, HEADER)
    try:
        with open(path, encoding="utf-8") as file:
            header = json.load(file)
        if header["format"] != "kit-pack":
            raise ValueError(header["format"])
        if header["version"] == VERSION:
            file_sizes(header)  # needs all that counts
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"A pack is a folder with our `{HEADER}`: make one by "
            f"`kit.pack`. Received: file={path!r}, error={error!r}"
        ) from error
    if header["version"] != VERSION:
        raise ValueError(
            f"This kit reads packs of version {VERSION}: pack the shards "
            f"again. Received: version={header['version']!r}"
        )
    return header


def file_sizes(header) -> dict[str, int]:
    """File -> bytes that the header calls for."""
    spec = header["spec"]
    frame = header["length"] * (spec["rgb"] + spec["audio"])
    sizes = {
        "entries.bin": header["entries"] * ENTRY.itemsize,
        "ratings.bin": header["ratings"] * RATING.itemsize,
    }
    for block, count in enumerate(header["rows"]):
        sizes[f"rows-{block:03d}.bin"] = count * ROW.itemsize
        sizes[f"frames-{block:03d}.bin"] = count * frame
    return sizes


class _Pack:
    """What both kinds of pack share: opening, checking, and the order."""

    kind = ""

    def __init__(self, folder):
        self.folder = os.fspath(folder)
        self.header = header = read_header(folder)
        if header["kind"] != self.kind or not header["complete"]:
            raise ValueError(
                f"This needs a finished pack of {self.kind}: open it by its "
                "own class, or run the packing again to finish it. Received: "
                f"folder={self.folder!r}, kind={header['kind']!r}, "
                f"complete={header['complete']!r}"
            )
        for name, size in file_sizes(header).items():
            path = os.path.join(self.folder, name)
            there = os.path.getsize(path) if os.path.exists(path) else 0
            if there != size:
                raise ValueError(
                    "A file of a pack must have the size that its header "
                    "says: copy it again, or pack again. Received: "
                    f"file={path!r}, bytes={there}, needed={size}"
                )
        self.spec = FrameSpec(**header["spec"])
        self.length = header["length"]
        self.entries, self.ratings = (
            np.fromfile(os.path.join(self.folder, name), dtype)
            for name, dtype in (("entries.bin", ENTRY), ("ratings.bin", RATING))
        )
        # Labels of entry e: ratings[bounds[e]:bounds[e + 1]].
        self.bounds = np.append(0, self.entries["end"]).astype(np.int64)
        if np.any(np.diff(self.bounds) < 0) or (
            self.bounds[-1] != len(self.ratings)
        ):
            raise ValueError(
                "The labels of a pack must cover its ratings in order: it is "
                f"damaged, pack again. Received: folder={self.folder!r}"
            )

    def __len__(self):
        return sum(self.header["rows"])

    def _dataset(
        self,
        columns,
        fill,
        *,
        batch_size: int = 128,
        holdout: Holdout = HOLDOUT,
        part: str = "all",
        with_ids: bool = False,
        **order,
    ):
        """Batches of the rows of `part`; `columns`: class id -> column."""
        order = Order(batch_size, **order)
        width = int(columns.max()) + 1
        extra = ("ids" if fill == 0 else "starts") if with_ids else ""
        classes = self.ratings["class"]
        inside = (classes >= 0) & (classes < len(columns))
        inside[inside] = columns[classes[inside]] >= 0
        if not inside.all():
            raise ValueError(
                "The classes asked for must cover those of the pack: give "
                "more. Received: classes outside="
                f"{np.unique(classes[~inside])[:5].tolist()}"
            )
        keep = holdout.select(self.entries["id"], part)
        if not keep.any():
            raise ValueError(
                "The pack has no video of this part: give another, or a "
                f"larger pack. Received: part={part!r}, len={len(self)}"
            )

        def batches():
            blocks = Blocks()
            for frames, rows in self._batches(order, keep):
                yield self._batch(
                    blocks,
                    order.batch_size,
                    frames,
                    rows,
                    columns,
                    width,
                    fill,
                    extra,
                )

        rows = order.batch_size if order.full else None
        return as_dataset(
            batches, self.length, self.spec.dim, width, rows, extra, True
        )

    def _batches(self, order, keep) -> Iterator:
        """Frames and rows, several batches at a time.

        Chunks are read whole, in random order, into a pool where their rows
        are mixed: random access would crawl on a network mount.  What does
        not fill a batch waits at the head of the pool for the next chunks.
        """
        size = order.batch_size
        chunks = self._chunks()
        room = size + min(len(self), POOL_BYTES // self._row_bytes + 1)
        frames = np.empty((room, self._row_bytes), np.uint8)
        rows = np.empty(room, ROW)
        left, blocks = 0, Blocks()
        for rng in order.epochs():
            turn = range(len(chunks))
            if order.shuffle:
                turn = rng.permutation(len(chunks))
            waiting = [chunks[at] for at in reversed(turn)]
            while waiting:
                filled = left
                while waiting and filled + waiting[-1][2] <= room:
                    filled += self._load(waiting.pop(), frames, rows, filled)
                index = np.flatnonzero(keep[rows["entry"][left:filled]]) + left
                if order.shuffle:
                    rng.shuffle(index)
                index = np.append(np.arange(left), index)
                whole = len(index) // size * size
                for at in range(0, whole, GROUP * size):
                    here = index[at : min(at + GROUP * size, whole)]
                    out = blocks.take((len(here), self._row_bytes))
                    np.take(frames, here, axis=0, out=out, mode="clip")
                    yield out, rows[here]
                rest = index[whole:]
                left = len(rest)
                frames[:left], rows[:left] = frames[rest], rows[rest]
        if left and not order.full:
            yield frames[:left], rows[:left]

    @property
    def _row_bytes(self) -> int:
        return self.length * self.spec.dim

    def _chunks(self) -> list[tuple[int, int, int]]:
        """Block, first row and number of rows of each piece read at once."""
        step = max(1, min(CHUNK_BYTES, POOL_BYTES) // self._row_bytes)
        return [
            (block, start, min(step, count - start))
            for block, count in enumerate(self.header["rows"])
            for start in range(0, count, step)
        ]

    def _load(self, chunk, frames, rows, at) -> int:
        """Reads a chunk into the pool from row `at` on."""
        block, start, count = chunk
        here = slice(at, at + count)
        for name, array in (("rows", rows), ("frames", frames)):
            path = os.path.join(self.folder, f"{name}-{block:03d}.bin")
            wanted = array[here]
            with open(path, "rb", buffering=0) as file:
                file.seek(start * wanted[:1].nbytes)
                got = file.readinto(wanted.view(np.uint8).reshape(-1))
            if got != wanted.nbytes:
                raise ValueError(
                    "A pack cannot change while it is read: copy it again. "
                    f"Received: file={path!r}, row={start}"
                )
        new = rows[here]
        ends = new["first"].astype(int) + new["count"]
        if np.any(new["entry"] >= len(self.entries)) or np.any(
            (ends > self.length) | (new["count"] == 0)
        ):
            raise ValueError(
                "A row of a pack must point into it: the file is damaged, "
                f"pack again. Received: folder={self.folder!r}, block={block}"
            )
        return count

    def _batch(self, blocks, size, frames, rows, columns, width, fill, extra):
        """The batches of some rows, stacked, as `kit.data` yields one."""
        count = len(rows)
        shape = (max(1, count // size), min(count, size))
        step = np.arange(self.length)
        first = rows["first"][:, None].astype(int)
        mask = (step >= first) & (step < first + rows["count"][:, None])
        entry = rows["entry"]
        begin = self.bounds[entry]
        each = self.bounds[entry + 1] - begin
        # Places of all ratings of the batch: a run from `begin` for each row.
        skip = np.repeat(begin - np.cumsum(each) + each, each)
        found = self.ratings[skip + np.arange(len(skip))]
        targets = blocks.take((count, width)).view(np.int8)
        targets[:] = fill
        which = np.repeat(np.arange(count), each)
        targets[which, columns[found["class"]]] = found["score"]
        inputs = {
            "frames": frames.reshape(*shape, self.length, self.spec.dim),
            "mask": mask.reshape(*shape, self.length),
        }
        batch = (inputs, targets.reshape(*shape, width))
        if not extra:
            return batch
        ids = self.entries["id"][entry].astype(object).reshape(shape)
        if extra == "ids":
            return *batch, ids
        return *batch, (ids, rows["start"].reshape(shape))


class Snippets(_Pack):
    """A pack of snippets: `data.videos` with a run of frames, but faster.

    Args:
        folder: A finished pack by `pack.pack_snippets`; it is only read.

    Raises:
        ValueError: Where it is not one, or not whole.

    Example:

    >>> snippets = Snippets("snippets")  # doctest: +SKIP
    >>> model.fit(  # doctest: +SKIP
    ...     snippets.batches(num_classes=3862, shuffle=True, repeat=True),
    ...     steps_per_epoch=1000,
    ... )
    """

    kind = "snippets"

    def batches(self, *, num_classes: int, **options):
        """The batches of `data.videos`, with the options of `kit.data`."""
        check_whole("num_classes", num_classes, 1)
        return self._dataset(np.arange(num_classes), 0, **options)


class Segments(_Pack):
    """A pack of rated segments: `data.rated_segments`, but faster.

    Args:
        folder: A finished pack by `pack.pack_segments`; it is only read.

    Raises:
        ValueError: Where it is not one, or not whole.
    """

    kind = "segments"

    def batches(self, *, class_ids, **options):
        """The batches of `data.rated_segments`, with the same options."""
        return self._dataset(class_columns(class_ids), -1, **options)
