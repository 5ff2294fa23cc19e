"""Kaggle's submission file, written, read back and checked.

A header `Class,Segments`, then a row a class: `3,6l0e:100 6l0e:115 ...`, that
is video id, colon, start second, best first, at most 100,000 a class.  A
full-size file has 100 million segments, so none becomes a Python object.
"""

import csv
import gzip
import io
import re
import zlib

import numpy as np
import pandas as pd

from kit.ranking import Ranking
from kit.ranking.table import K, one_table
from kit.replacing import replacing

HEADER = b"Class,Segments"
_MARKS = bytes(range(32)) + b'",'  # that no id may have
_PAIR = re.compile(rb'[^\x00-\x20:,"]+:(0|[1-9][0-9]{0,5})')


def write_csv(ranking: Ranking, path, class_ids=None) -> None:
    """Writes a ranking as Kaggle's CSV, compressed where `path` ends in .gz.

    Classes come by ascending id.  The file is read again and checked by
    `validate` before it takes its name.

    Args:
        ranking: What to write.
        path: `.csv` or `.csv.gz`.
        class_ids: The classes of the competition.  Default: the ranking's.

    Raises:
        ValueError: For what is no submission; no file appears.
    """
    if class_ids is None:
        class_ids = ranking.class_ids
    names = segment_names(ranking.video_ids, ranking.starts)
    order = np.sort(ranking.class_ids)
    with replacing(path) as scratch:
        write_rows(scratch, ((c, names[ranking.indices(c)]) for c in order))
        validate(scratch, class_ids, ranking)


def read_csv(path) -> Ranking:
    """Reads a submission, `.csv` or `.csv.gz`, as a ranking without scores.

    CRLF, quotes round a field, a byte order mark and a missing final newline
    are accepted.  The table is made of the segments that occur.

    Raises:
        ValueError: With the line, for anything else that is no submission.
    """
    places = find_rows(path)
    with open_bytes(path) as file:
        lists = [read_row(file, place) for place in places.values()]
    video_ids, starts, rows = one_table(lists)
    for place, own in zip(places.values(), rows, strict=True):
        check_once(path, place, own)
    offsets, order = np.cumsum([0, *map(len, rows)]), np.concatenate(rows)
    return Ranking(list(places), video_ids, starts, offsets, order)


def validate(path, class_ids=None, ranking: Ranking | None = None) -> dict:
    """Checks that Kaggle takes a submission, a row at a time.

    Args:
        path: `.csv` or `.csv.gz`.
        class_ids: The classes that must have a row each, and no other.
        ranking: Its table has all segments that exist.

    Returns:
        `{"classes": rows, "segments": pairs}`.

    Raises:
        ValueError: With the line and what is wrong there.
    """
    places, pairs = find_rows(path), 0
    if class_ids is not None:
        classes = set(map(int, class_ids))
        absent, other = classes - places.keys(), places.keys() - classes
        if absent or other:
            raise ValueError(
                "A submission needs a row for each class and no other. "
                f"Received: {path} without {sorted(absent)[:10]} and with "
                f"{sorted(other)[:10]}"
            )
    with open_bytes(path) as file:
        for place in places.values():
            segments = read_row(file, place)
            count = len(segments[1])
            if not 0 < count <= K:
                raise _refusal(
                    path, place, f"a class lists {count:,}, not 1 to {K:,}"
                )
            if ranking is None:
                _, _, (rows,) = one_table([segments])
            else:
                rows = ranking.locate(*segments)
            if rows.min() < 0:
                name = segment_names(*segments)[np.argmin(rows)].decode()
                raise _refusal(path, place, f"there is no segment {name}")
            check_once(path, place, rows)
            pairs += count
    return {"classes": len(places), "segments": pairs}


def open_bytes(path, mode: str = "rb"):
    """Opens a file, or what a `.gz` holds, as bytes."""
    if not str(path).endswith(".gz"):
        return open(path, mode)
    # Without a time inside: same ranking, same bytes.
    return gzip.GzipFile(path, mode, compresslevel=1, mtime=0)


def write_rows(path, rows) -> None:
    """Writes `(class_id, names)`, whose names `segment_names` makes."""
    with open_bytes(path, "wb") as file:
        file.write(HEADER + b"\n")
        for class_id, names in rows:
            file.write(b"%d,%b\n" % (class_id, b" ".join(names.tolist())))


def segment_names(video_ids, starts) -> np.ndarray:
    """`id:start` of each segment, as bytes `(n,)`."""
    values, value = np.unique(starts, return_inverse=True)
    return np.strings.add(
        np.strings.add(video_ids, b":"), values.astype("S")[value]
    )


def find_rows(path) -> dict[int, tuple[int, int]]:
    """Where the row of each class stands: its line number and offset.

    Raises:
        ValueError: For a file without rows, or a class with two.
    """
    places, place = {}, (1, 0)
    with open_bytes(path) as file:
        try:
            _check_header(file.readline())
            place = 2, file.tell()
            for line in file:
                class_id = _class_of(line)
                if class_id in places:
                    raise ValueError(f"class {class_id} has a row already")
                places[class_id] = place
                place = place[0] + 1, place[1] + len(line)
            if not places:
                raise ValueError("there is no row")
        except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _refusal(path, place, error) from error
    return places


def read_row(file, place):
    """`(video_ids, starts)` of the row at a place that `find_rows` gave.

    Raises:
        ValueError: With the line, for a row that is none.
    """
    file.seek(place[1])
    try:
        return _segments_of(file.readline())
    except ValueError as error:
        raise _refusal(file.name, place, error) from error


def check_once(path, place, rows) -> None:
    """Refuses a list in which a row of the segment table occurs twice."""
    index = np.arange(len(rows))
    last = np.empty(rows.max(initial=-1) + 1, int)
    last[rows] = index
    if (last[rows] != index).any():
        pair = np.argmax(last[rows] != index) + 1
        raise _refusal(path, place, f"pair {pair} is listed again after it")


def _check_header(line):
    fields = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n").split(b",")
    if b",".join(map(_unquoted, fields)) != HEADER:
        raise ValueError(f"the header is {line[:40]!r}, not {HEADER.decode()}")


def _class_of(line):
    field = _unquoted(line[:20].partition(b",")[0].rstrip(b"\r\n"))
    if not re.fullmatch(rb"[0-9]{1,9}", field):
        raise ValueError(f"the class is {field!r}, not a number")
    return int(field)


def _segments_of(line):
    """`(video_ids, starts)` of a row: bytes `(n,)` and int64 `(n,)`."""
    fields = line.rstrip(b"\r\n").split(b",")
    if len(fields) != 2:
        raise ValueError(f"the row has {len(fields)} fields, not 2")
    text = _unquoted(fields[1]).strip(b" ")
    if not text:
        return np.empty(0, "S1"), np.empty(0, np.int64)
    try:
        video_ids, starts = _parsed(text)
    except (ValueError, OverflowError):
        video_ids, starts = np.array([b""]), np.array([0])  # refused below
    # A start written in another way, such as 05, changes the length.
    digits = 1 + np.searchsorted(10 ** np.arange(1, 6), starts, "right")
    letters = np.strings.str_len(video_ids)
    if (
        letters.sum() + digits.sum() + 2 * len(starts) - 1 != len(text)
        or letters.min() == 0
        or not 0 <= starts.min() <= starts.max() < 10**6
        or len(text.translate(None, _MARKS)) < len(text)
    ):
        pairs = text.split(b" ")
        bad = next((p for p in pairs if not _PAIR.fullmatch(p)), text)
        raise ValueError(f"{bad[:40]!r} is not id:start")
    return video_ids.astype(f"S{letters.max()}"), starts


def _parsed(text):
    # Ids are bytes of the width that the longest pair leaves them, since the
    # parser cuts longer ones; as anything else, NA and 1e05 would be numbers.
    spaces = np.flatnonzero(np.frombuffer(text, np.uint8) == ord(" "))
    longest = np.diff(spaces, prepend=-1, append=len(text)).max() - 1
    table = pd.read_csv(
        io.BytesIO(text),
        sep=":",
        lineterminator=" ",
        engine="c",
        names=["video_id", "start"],
        dtype={"video_id": f"S{longest}", "start": np.int64},
        na_filter=False,
        quoting=csv.QUOTE_NONE,
    )
    return table["video_id"].to_numpy("S"), table["start"].to_numpy()


def _unquoted(field):
    if field[:1] == field[-1:] == b'"' and len(field) > 1:
        field = field[1:-1]
    if b'"' in field:
        raise ValueError("a quote that does not enclose a whole field")
    return field


def _refusal(path, place, error):
    return ValueError(
        "A submission has a header and a row `class,id:start id:start ...` a "
        f"class. Received: {path}, line {place[0]}: {error}"
    )
