"""Kaggle's submission file: written and read back.

A header `Class,Segments`, then a row a class: `3,6l0e:100 6l0e:115 ...`, that
is video id, colon, start second, best first, at most 100,000 a class.
"""

import os
from pathlib import Path

import numpy as np

from kit.ranking import Ranking, as_ids
from kit.submission.check import validate
from kit.submission.segments import (
    DENSE,
    HEADER,
    K,
    Segments,
    format_segments,
    header_problem,
    open_bytes,
    parse_segments,
    read_lines,
    row_class,
    split_row,
)


class Writer:
    """Writes rows one after the other; the file appears when all are there.

    Example:

    >>> with Writer("submission.csv") as writer:  # doctest: +SKIP
    ...     writer.row(3, [b"6l0e", b"6l0e"], [100, 115])
    """

    def __init__(self, path):
        self.path = Path(path)
        # The ending stays last: it decides on compression.
        self._scratch = self.path.with_name("tmp-" + self.path.name)

    def __enter__(self):
        self._file = open_bytes(self._scratch, "wb")
        self._file.write(HEADER + b"\n")
        return self

    def row(self, class_id: int, video_ids, starts) -> None:
        if len(starts) > K:
            raise ValueError(
                f"A submission holds at most {K:,} segments a class; build "
                "the ranking with that `k`. Received: a list of "
                f"{len(starts):,} for class {class_id}"
            )
        self._file.write(b"%d," % class_id)
        self._file.write(format_segments(as_ids(video_ids), starts))
        self._file.write(b"\n")

    def check(self, class_ids, ranking) -> None:
        """Refuses what was written, with `validate`, if it is no good."""
        self._file.close()
        validate(self._scratch, class_ids, ranking=ranking)

    def __exit__(self, failed, *details):
        self._file.close()
        if failed:
            self._scratch.unlink()
        else:
            os.replace(self._scratch, self.path)


def write_csv(ranking: Ranking, path, class_ids=None) -> None:
    """Writes a ranking as Kaggle's CSV, compressed where `path` ends in .gz.

    Classes come by ascending id.  A list longer than 100,000 is refused:
    Kaggle would, and nothing is cut in silence.

    Args:
        class_ids: The classes of the competition: the file is then checked by
            `validate`, also against the ranking, before it takes its name.

    Raises:
        ValueError: For what is no submission; no file appears.
    """
    with Writer(path) as writer:
        for class_id in np.sort(ranking.class_ids):
            rows = ranking.indices(class_id)
            writer.row(class_id, ranking.video_ids[rows], ranking.starts[rows])
        if class_ids is not None:
            writer.check(class_ids, ranking)


def read_csv(path) -> Ranking:
    """Reads a submission, `.csv` or `.csv.gz`, as a ranking without scores.

    CRLF, quotes round a field and a missing final newline are accepted, as
    Kaggle accepts them.  The table is made of the segments that occur.

    Raises:
        ValueError: With the line, for anything else that is no submission.
    """
    table, classes, lists = Segments(), [], []
    for class_id, keys, starts in read_rows(path):
        classes.append(class_id)
        lists.append(table.numbers(keys, starts))
    offsets = np.r_[0, np.cumsum([len(starts) for _, starts in lists])]
    codes, order = _in_order(table, lists, offsets)
    return Ranking(classes, *table.segments(codes), offsets, order)


def _in_order(table, lists, offsets):
    """Codes that occur, ascending, and which of them each pair is."""
    if table.size > DENSE:  # of which few occur
        codes = [table.codes(*numbers) for numbers in lists]
        return np.unique(np.concatenate(codes), return_inverse=True)
    occurs = np.zeros(table.size, bool)
    for numbers in lists:
        occurs[table.codes(*numbers)] = True
    row = (np.cumsum(occurs) - 1).astype(np.uint32)
    order = np.empty(int(offsets[-1]), np.uint32)
    for i in range(len(lists)):
        order[offsets[i] : offsets[i + 1]] = row[table.codes(*lists[i])]
        lists[i] = None
    return np.flatnonzero(occurs), order


def read_rows(path):
    """Yields `(class_id, keys, starts)` of each row of a submission.

    `keys` and `starts` are what `segments.parse_segments` gives.
    """
    for class_id, (_, number, line) in _walk(path):
        yield class_id, *_parse(path, number, line)


def index_rows(path) -> dict[int, tuple[int, int, int]]:
    """Where each class's row stands: `(offset, length, line number)`."""
    return {
        class_id: (offset, len(line), number)
        for class_id, (offset, number, line) in _walk(path)
    }


def read_row(path, place):
    """`(keys, starts)` of the row at a place that `index_rows` gave."""
    offset, length, number = place
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        return _parse(path, number, file.read(length))


def _walk(path):
    """Yields `(class_id, (offset, line number, line))`."""
    number, offset, seen = 1, 0, set()
    with open_bytes(path) as file:
        try:
            for number, line in enumerate(read_lines(file), 1):
                if number == 1 and (problem := header_problem(line)):
                    raise ValueError(problem)
                if number > 1:
                    class_id = row_class(line)
                    if class_id in seen:
                        raise ValueError(f"class {class_id} has a row already")
                    seen.add(class_id)
                    yield class_id, (offset, number, line)
                offset += len(line)
            if not seen:
                raise ValueError("there is no row")
        except ValueError as error:
            raise _refusal(path, number, error) from error


def _parse(path, number, line):
    try:
        return parse_segments(split_row(line)[1])
    except ValueError as error:
        raise _refusal(path, number, error) from error


def _refusal(path, number, error):
    return ValueError(
        "A submission has a header and a row `class,id:start id:start ...` a "
        f"class. Received: {path}, line {number}: {error}"
    )
