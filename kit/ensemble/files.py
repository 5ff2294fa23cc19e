"""Members on disk fused into a submission, class by class."""

import os
import tempfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kit.ensemble.fusion import Fuser, check_weights, shared_classes
from kit.ranking import Ranking, sort_key
from kit.submission import Writer, index_rows, read_row
from kit.submission.segments import (
    DENSE,
    Segments,
    open_bytes,
    parse_segments,
    read_lines,
)

K = 100_000


def fuse_files(
    paths, weights, output, constant: float = 0.0, k: int = K, progress=None
) -> None:
    """Fuses submissions and rankings on disk into a submission, by rank.

    Class by class: memory does not grow with their number.  A `.gz` is
    unpacked to scratch first, since its rows cannot be found without.

    Args:
        paths: `.csv`, `.csv.gz` and `.npz` files, in any mix.
        weights, constant, k: As for `fuse`.
        output: The `.csv` or `.csv.gz` to write.
        progress: Called with `(classes done, classes)` after each class.
    """
    weights = check_weights(weights, len(paths), constant, k)
    if not str(output).endswith((".csv", ".csv.gz")):
        raise ValueError(
            "`output` must end in .csv or .csv.gz; `fuse` makes a ranking. "
            f"Received: output={str(output)!r}"
        )
    with tempfile.TemporaryDirectory() as scratch:
        members = [_open_member(path, Path(scratch)) for path in paths]
        classes = shared_classes([m.class_ids for m in members], weights)
        members = [
            (m, w) for m, w in zip(members, weights, strict=True) if w > 0
        ]
        # Threads, since NumPy gives up Python's lock; each with its own table
        # and scratch.
        workers = min(os.cpu_count() or 1, 4)
        spare = [
            (Segments(), Fuser(constant, k, "rank")) for _ in range(workers)
        ]

        def fuse_class(class_id):
            table, fuser = spare.pop()
            try:
                met = [m.numbers(class_id, table) for m, _ in members]
                codes = [table.codes(*numbers) for numbers in met]
                size, kept = table.size, None
                if size > DENSE:  # of which few occur
                    kept = np.unique(np.concatenate(codes))
                    codes = [kept.searchsorted(one) for one in codes]
                    size = len(kept)
                lists = [
                    (one, weight, None, m.where(class_id))
                    for (m, weight), one in zip(members, codes, strict=True)
                ]
                best, _ = fuser.fuse(class_id, lists, size)
                return table.segments(best if kept is None else kept[best])
            finally:
                spare.append((table, fuser))

        with Writer(output) as writer, ThreadPoolExecutor(workers) as pool:
            results = _in_order(pool, fuse_class, classes, 2 * workers)
            for done, (class_id, found) in enumerate(results, 1):
                writer.row(class_id, *found)
                if progress:
                    progress(done, len(classes))


def _in_order(pool, task, items, ahead):
    """Yields `(item, task(item))`, up to `ahead` of them begun."""
    waiting = deque()
    for item in items:
        waiting.append((item, pool.submit(task, item)))
        if len(waiting) == ahead:
            yield waiting[0][0], waiting.popleft()[1].result()
    while waiting:
        yield waiting[0][0], waiting.popleft()[1].result()


def _open_member(path, scratch):
    if str(path).endswith(".npz"):
        return _RankingFile(path)
    return _SubmissionFile(path, scratch)


class _RankingFile:
    """Lists of a ranking on disk."""

    def __init__(self, path):
        self.path = path
        self.ranking = Ranking.load(path, mmap=True)
        self.class_ids = self.ranking.class_ids
        self.known = {}  # numbers of all its segments in each table

    def numbers(self, class_id, table):
        """The list of a class as numbers of `table`."""
        if table not in self.known:
            keys = sort_key(self.ranking.video_ids)
            self.known[table] = table.numbers(keys, self.ranking.starts)
        rows = np.array(self.ranking.indices(class_id))
        return tuple(numbers[rows] for numbers in self.known[table])

    def where(self, class_id):
        return str(self.path)


class _SubmissionFile:
    """Lists of a submission, whose rows are found once and read when due."""

    def __init__(self, path, scratch):
        if str(path).endswith(".gz"):
            path = _unpacked(Path(path), scratch)
        self.path = path
        self.places = index_rows(path)
        self.class_ids = np.array(list(self.places))

    def numbers(self, class_id, table):
        """The list of a class as numbers of `table`."""
        if class_id not in self.places:
            return table.numbers(*parse_segments(b""))
        return table.numbers(*read_row(self.path, self.places[class_id]))

    def where(self, class_id):
        *_, line = self.places.get(class_id, (None,))
        return f"{self.path}, line {line}"


def _unpacked(packed, scratch):
    """A `.gz` unpacked: its rows cannot be found without."""
    # Named after it, for messages, and by number, for two of one name.
    path = scratch / f"{len(list(scratch.iterdir()))}-{packed.stem}"
    with open_bytes(packed) as source, open(path, "wb") as target:
        for line in read_lines(source):
            target.write(line)
    return path
