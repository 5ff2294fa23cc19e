"""Members on disk fused into a submission, class by class."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kit.ensemble.fusion import Fuser, check_weights, shared_classes
from kit.ranking import Ranking, sort_key
from kit.submission import Writer, index_rows, read_row
from kit.submission.segments import (
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
    table, fuser = Segments(), Fuser(constant, k, "rank")
    with tempfile.TemporaryDirectory() as scratch:
        members = [_open_member(p, table, Path(scratch)) for p in paths]
        classes = shared_classes([m.class_ids for m in members])
        members = [
            (m, w) for m, w in zip(members, weights, strict=True) if w > 0
        ]
        with Writer(output) as writer, ThreadPoolExecutor() as pool:
            rows = _read_ahead(pool, [m for m, _ in members], classes)
            for done, (class_id, read) in enumerate(rows, 1):
                met = [
                    (member.numbers(row), weight)
                    for (member, weight), row in zip(members, read, strict=True)
                ]
                lists = [(table.codes(*n), w, None) for n, w in met]
                codes, _ = fuser.fuse(class_id, lists, table.size)
                writer.row(class_id, *table.segments(codes))
                if progress:
                    progress(done, len(classes))


def _read_ahead(pool, members, classes):
    """Yields `(class, a row a member)`, the next ones being read meanwhile."""
    waiting = []
    for class_id in [*classes, None]:
        ready, waiting = waiting, []
        if class_id is not None:
            waiting = [
                (class_id, pool.submit(m.read, class_id)) for m in members
            ]
        if ready:
            yield ready[0][0], [future.result() for _, future in ready]


def _open_member(path, table, scratch):
    if str(path).endswith(".npz"):
        return _RankingFile(path, table)
    return _SubmissionFile(path, table, scratch)


class _RankingFile:
    """Lists of a ranking on disk, as numbers of `table`."""

    def __init__(self, path, table):
        self.ranking = Ranking.load(path, mmap=True)
        self.class_ids = self.ranking.class_ids
        ids, starts = self.ranking.video_ids, self.ranking.starts
        self.segments = table.numbers(sort_key(ids), starts)

    def read(self, class_id):
        return np.array(self.ranking.indices(class_id))

    def numbers(self, rows):
        return tuple(numbers[rows] for numbers in self.segments)


class _SubmissionFile:
    """Lists of a submission, whose rows are found once and read when due."""

    def __init__(self, path, table, scratch):
        if str(path).endswith(".gz"):
            path = _unpacked(Path(path), scratch)
        self.path, self.table = path, table
        self.places = index_rows(path)
        self.class_ids = np.array(list(self.places))

    def read(self, class_id):
        if class_id not in self.places:
            return parse_segments(b"")
        return read_row(self.path, self.places[class_id])

    def numbers(self, row):
        return self.table.numbers(*row)


def _unpacked(packed, scratch):
    """A `.gz` unpacked: its rows cannot be found without."""
    # Named after it, for messages, and by number, for two of one name.
    path = scratch / f"{len(list(scratch.iterdir()))}-{packed.stem}"
    with open_bytes(packed) as source, open(path, "wb") as target:
        for line in read_lines(source):
            target.write(line)
    return path
