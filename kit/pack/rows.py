"""The rows of a pack, read in chunks and mixed in memory."""

import os
from collections.abc import Iterator

import numpy as np

from kit.data.batches import Blocks
from kit.pack.header import ROW

CHUNK_BYTES = 8 * 2**20  # read in one go
GROUP = 8  # batches made in one go
POOL_BYTES = 128 * 2**20  # mixed in memory


class Rows:
    """The rows of the files of a pack, with their frames."""

    def __init__(self, folder, header):
        self.folder, self.counts = folder, header["rows"]
        self.length, self.entries = header["length"], header["entries"]
        spec = header["spec"]
        self.row_bytes = self.length * (spec["rgb"] + spec["audio"])

    def batches(self, order, keep) -> Iterator:
        """Frames and rows, several batches at a time.

        Chunks are read whole, in random order, into a pool where their rows
        are mixed: random access would crawl on a network mount.  What does
        not fill a batch waits at the head of the pool for the next chunks.
        """
        size = order.batch_size
        chunks = self._chunks()
        room = size + min(sum(self.counts), POOL_BYTES // self.row_bytes + 1)
        frames = np.empty((room, self.row_bytes), np.uint8)
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
                    out = blocks.take((len(here), self.row_bytes))
                    np.take(frames, here, axis=0, out=out, mode="clip")
                    yield out, rows[here]
                rest = index[whole:]
                left = len(rest)
                frames[:left], rows[:left] = frames[rest], rows[rest]
        if left and not order.full:
            yield frames[:left], rows[:left]

    def _chunks(self) -> list[tuple[int, int, int]]:
        """Block, first row and number of rows of each piece read at once."""
        step = max(1, min(CHUNK_BYTES, POOL_BYTES) // self.row_bytes)
        return [
            (block, start, min(step, count - start))
            for block, count in enumerate(self.counts)
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
        if np.any(new["entry"] >= self.entries) or np.any(
            (ends > self.length) | (new["count"] == 0)
        ):
            raise ValueError(
                "A row of a pack must point into it: the file is damaged, "
                f"pack again. Received: folder={self.folder!r}, block={block}"
            )
        return count
