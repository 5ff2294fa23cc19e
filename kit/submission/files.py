"""Kaggle's submission file: written, read back, and checked.

A header `Class,Segments`, then a row a class: `3,6l0e:100 6l0e:115 ...`, that
is video id, colon, start second, best first, at most 100,000 a class.
"""

import os
from pathlib import Path

import numpy as np

from kit.ranking import Ranking, as_ids, sort_key
from kit.submission.segments import (
    HEADER,
    Segments,
    as_text,
    format_segments,
    header_problem,
    open_bytes,
    parse_segments,
    read_lines,
    row_class,
    split_row,
)

K = 100_000


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

    def __exit__(self, failed, *details):
        self._file.close()
        if failed:
            self._scratch.unlink()
        else:
            os.replace(self._scratch, self.path)


def write_csv(ranking: Ranking, path) -> None:
    """Writes a ranking as Kaggle's CSV, compressed where `path` ends in .gz.

    Classes come by ascending id.  A list longer than 100,000 is refused:
    Kaggle would, and nothing is cut in silence.
    """
    with Writer(path) as writer:
        for class_id in np.sort(ranking.class_ids):
            rows = ranking.indices(class_id)
            writer.row(class_id, ranking.video_ids[rows], ranking.starts[rows])


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
    # Numbers in the order of (video_id, start), of what occurs.
    occurs = np.zeros(table.size, bool)
    for numbers in lists:
        occurs[table.codes(*numbers)] = True
    row = (np.cumsum(occurs) - 1).astype(np.uint32)
    offsets = np.r_[0, np.cumsum([len(starts) for _, starts in lists])]
    order = np.empty(int(offsets[-1]), np.uint32)
    for i in range(len(lists)):
        order[offsets[i] : offsets[i + 1]] = row[table.codes(*lists[i])]
        lists[i] = None
    video_ids, starts = table.segments(np.flatnonzero(occurs))
    return Ranking(classes, video_ids, starts, offsets, order)


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


def validate(
    path, class_ids=None, segments=None, ranking=None, max_problems: int = 20
) -> dict:
    """Checks a submission in bounded memory; a full one takes some seconds.

    Args:
        path: `.csv` or `.csv.gz`.
        class_ids: The classes that must have a row each, and no other.
        segments: `(video_ids, starts)` of all segments that exist.
        ranking: A `Ranking` with scores: no listed segment may score higher
            than the one before it.
        max_problems: After so many the search stops.

    Returns:
        `{"classes": rows, "segments": pairs}` of a file without a problem.

    Raises:
        ValueError: Which lists the problems, each with its line.
    """
    if ranking is not None:
        segments = ranking.video_ids, ranking.starts
    check = _Check(class_ids, segments, ranking)
    named, line = [], 0
    with open_bytes(path) as file:
        try:
            for line, text in enumerate(read_lines(file), 1):
                read = check.problem if line > 1 else header_problem
                if problem := read(text):
                    named.append(f"line {line}: {problem}")
                if len(named) >= max_problems:
                    break
        except ValueError as error:
            named.append(f"line {line + 1}: {error}")
    if len(named) < max_problems:
        named += check.missing()
    if named:
        raise ValueError(
            "Kaggle would refuse or misread this submission; write it with "
            f"`write_csv`. Received: {path}, {len(named)} problems"
            f"{' or more' if len(named) >= max_problems else ''}\n  "
            + "\n  ".join(named)
        )
    return {"classes": len(check.seen), "segments": check.pairs}


class _Check:
    """Names what is wrong with a row, given the rows before it."""

    def __init__(self, class_ids, segments, ranking):
        self.class_ids = None if class_ids is None else set(map(int, class_ids))
        self.ranking, self.seen, self.pairs = ranking, set(), 0
        self.table, self.row_of = Segments(), None
        self.stamp = np.empty(0, np.int32)
        if segments is not None:
            ids, starts = as_ids(segments[0]), np.asarray(segments[1], np.int32)
            videos, slots = self.table.numbers(sort_key(ids), starts)
            self.known = int(videos.max()) + 1, int(slots.max()) + 1
            self.row_of = np.full(self.known, -1, np.int32)
            self.row_of[videos, slots] = np.arange(len(starts))

    def problem(self, text):
        try:
            class_id, segments = split_row(text)
            if class_id in self.seen:
                return f"class {class_id} has a row already"
            self.seen.add(class_id)
            if self.class_ids is not None and class_id not in self.class_ids:
                return f"class {class_id} is not one of the classes asked for"
            keys, starts = parse_segments(segments)
        except ValueError as error:
            return str(error)
        self.pairs += len(starts)
        if not 0 < len(starts) <= K:
            return f"class {class_id} lists {len(starts):,}, not 1 to {K:,}"
        return self._list_problem(class_id, keys, starts)

    def _list_problem(self, class_id, keys, starts):
        def pair(i):
            return f"{as_text(keys[i : i + 1])[0].decode()}:{starts[i]}"

        videos, slots = self.table.numbers(keys, starts)
        codes = self.table.codes(videos, slots)
        if len(self.stamp) < self.table.size:
            self.stamp = np.empty(self.table.size, np.int32)
        self.stamp[codes] = np.arange(len(codes))
        twice = self.stamp[codes] != np.arange(len(codes))
        if twice.any():
            return f"class {class_id} lists {pair(np.argmax(twice))} twice"
        if self.row_of is None:
            return None
        unknown = (videos >= self.known[0]) | (slots >= self.known[1])
        rows = np.full(len(codes), -1)
        rows[~unknown] = self.row_of[videos[~unknown], slots[~unknown]]
        if (rows < 0).any():
            return f"there is no segment {pair(np.argmax(rows < 0))}"
        if self.ranking is None or self.ranking.scores is None:
            return None
        scores = np.full(len(self.ranking.starts), -np.inf, np.float32)
        span = self.ranking.span(class_id)
        scores[self.ranking.order[span]] = self.ranking.scores[span]
        rises = np.diff(scores[rows]) > 0
        if rises.any():
            place = np.argmax(rises)
            return f"{pair(place + 1)} scores higher than {pair(place)} before"
        return None

    def missing(self):
        absent = sorted((self.class_ids or set()) - self.seen)
        if not absent and self.seen:
            return []
        return [f"no row for {len(absent) or 'any'} classes: {absent[:10]}"]
