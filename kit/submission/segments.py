"""Segments as text and as numbers, whole lists at a time.

What a submission writes as `6l0e:100 6l0e:115` is parsed, numbered and
formatted here without a Python object a segment: a full-size file has 100
million of them.
"""

import functools
import gzip
import re
import zlib

import numpy as np
import pandas as pd

HEADER = b"Class,Segments"
K = 100_000
# Cells of the grid of `Segments` that may be numbered one by one.
DENSE = 2**26
_MARKS = bytes(range(1, 33)) + b':,"'  # no id may have one of them
_LONGEST = 2**27  # of a line: ids of a thousand bytes
_PAIR = re.compile(rb"[^\s:,\"]+:[0-9]{1,6}")
_HASH_BITS = 20
_KEEP = np.array(
    [(2**64 - 1) ^ (2 ** (64 - 8 * n) - 1) for n in range(9)], np.uint64
)


def parse_segments(text: bytes):
    """`(keys, starts)` of a list `id:start id:start ...`.

    Returns:
        keys: uint64 `(n,)` where all ids fit in eight bytes, which order as
            the ids do; else bytes `(n,)`.
        starts: int32 `(n,)`, of at most six digits.

    Raises:
        ValueError: Which names the first pair that is none.
    """
    if not text:
        return np.empty(0, np.uint64), np.empty(0, np.int32)
    data = np.frombuffer(text, np.uint8)
    is_space = data == ord(" ")
    marks = np.flatnonzero(is_space | (data == ord(":")))
    # Colons and spaces in turn: each second mark is a colon, the rest spaces.
    colon, space = marks[::2], marks[1::2]
    if (
        len(colon) == len(space)
        or len(space) != np.count_nonzero(data <= ord(" "))
        or (data[colon] != ord(":")).any()
    ):
        raise _malformed(text)
    begin, end = np.append(0, space + 1), np.append(space, len(data))
    id_length, digits = colon - begin, end - colon - 1
    if id_length.min() < 1 or digits.min() < 1 or digits.max() > 6:
        raise _malformed(text)
    # Eight more bytes before the text and after it, up to a whole word.
    padded = b" " * 8 + text + b" " * (16 - len(text) % 8)
    words = np.frombuffer(padded, "<u8")
    last = _eight(words, end)  # of each pair
    starts = _parse_digits(last, digits)
    if starts is None:
        raise _malformed(text)
    width = int(id_length.max())
    if (end - begin).max() <= 8:  # the id is among them
        last >>= (8 * digits + 8).view(np.uint64)
        return last << (64 - 8 * id_length).view(np.uint64), starts
    if width <= 8:
        return _eight(words, begin + 8) & _KEEP[id_length], starts
    place = np.arange(width)
    letters = data.take(begin[:, None] + place, mode="clip")
    letters[place >= id_length[:, None]] = 0
    return letters.view(f"S{width}")[:, 0], starts


def _eight(words, at):
    """The eight bytes from each place on as a number, the first one highest.

    Put together from aligned words, since NumPy gathers others slowly and
    without giving up Python's lock.
    """
    word, shift = at >> 3, (at << 3 & 56).view(np.uint64)
    low, high = words[word] >> shift, words[word + 1]
    return (high << (shift ^ np.uint64(63)) << np.uint64(1) | low).byteswap()


def _parse_digits(last, digits):
    """Numbers whose `digits` digits end in `last`; None if not digits."""
    # A digit's byte becomes its value.
    eight = (last ^ np.uint64(0x3030303030303030)) & ~_KEEP[8 - digits]
    # Above 9, adding 118 sets the highest bit of a byte.
    over = (eight + np.uint64(0x7676767676767676)) | eight
    if (over & np.uint64(0x8080808080808080)).any():
        return None
    value = np.zeros(len(digits), np.int32)
    for place in range(int(digits.max())):
        digit = (eight >> np.uint64(8 * place)).astype(np.uint8)
        value += digit * np.int32(10**place)
    return value


def _malformed(text):
    for place, pair in enumerate(text.split(b" "), 1):
        if not _PAIR.fullmatch(pair):
            return ValueError(f"pair {place} is {pair[:40]!r}, not id:start")
    return ValueError("the list holds bytes that are no text")


def format_segments(video_ids, starts) -> bytes:
    """The text that `parse_segments` reads."""
    if not len(starts):
        return b""
    starts = np.asarray(starts, np.int64)
    if starts.min() < 0 or starts.max() >= 10**6:
        raise ValueError(
            "A start is whole seconds of at most six digits. Received: "
            f"{starts.min()} to {starts.max()}"
        )
    width, digits = video_ids.itemsize, _digits(len(str(starts.max())))
    letters = np.ascontiguousarray(video_ids).view(np.uint8).reshape(-1, width)
    raw, used = letters.tobytes(), letters > 0
    if (
        len(raw.translate(None, _MARKS)) < len(raw)
        or not used[:, 0].all()
        or (used[:, 1:] > used[:, :-1]).any()
    ):
        raise _bad_id(video_ids)
    cells = np.empty((len(starts), width + digits.shape[1] + 2), np.uint8)
    cells[:, :width] = letters
    cells[:, width], cells[:, -1] = ord(":"), ord(" ")
    cells[:, width + 1 : -1] = digits[starts]
    return cells.tobytes().translate(None, b"\0")[:-1]


def _bad_id(video_ids):
    for video_id in video_ids.tolist():
        if not video_id or video_id.translate(None, b"\0" + _MARKS) != video_id:
            break
    return ValueError(
        "A submission cannot hold an id that is empty or has a space, a colon, "
        "a comma, a quote or a control character: rename the video. "
        f"Received: video_id={video_id!r}"
    )


def open_bytes(path, mode: str = "rb"):
    """Opens a file, or what a `.gz` holds, as bytes."""
    if not str(path).endswith(".gz"):
        return open(path, mode, buffering=2**22)  # of long lines
    # Without a time inside: same ranking, same bytes.
    return gzip.GzipFile(path, mode, compresslevel=1, mtime=0)


def split_row(line: bytes) -> tuple[int, bytes]:
    """Class id and list of a row, free of quotes and line ending.

    Raises:
        ValueError: Which says what is wrong with the row.
    """
    _, comma, segments = line.rstrip(b"\r\n").partition(b",")
    fields = 1 + len(comma) + segments.count(b",")
    if fields != 2:
        raise ValueError(f"the row has {fields} fields, not 2")
    return row_class(line), _unquoted(segments).strip(b" ")


def row_class(line: bytes) -> int:
    """Class id of a row, which is all of it that is looked at."""
    field = _unquoted(line[:20].partition(b",")[0].rstrip(b"\r\n"))
    if not re.fullmatch(rb"[0-9]{1,9}", field):
        raise ValueError(f"the class is {field!r}, not a number")
    return int(field)


def _unquoted(field):
    if field[:1] == field[-1:] == b'"' and len(field) > 1:
        field = field[1:-1]
    if b'"' in field:
        raise ValueError("a quote that does not enclose a whole field")
    return field


def header_problem(line):
    try:
        fields = [_unquoted(f) for f in line.rstrip(b"\r\n").split(b",")]
    except ValueError:
        fields = []
    if b",".join(fields) == HEADER:
        return None
    return f"the header must be {HEADER.decode()!r}, not {line[:40]!r}"


def read_lines(file):
    try:
        while line := file.readline(_LONGEST):
            if len(line) == _LONGEST:
                raise ValueError("the line is too long for a submission")
            yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{file.name} is damaged or cut off ({error})"
        ) from error


@functools.cache
def _digits(width):
    """The text of every number of up to `width` digits, padded with zeros."""
    numbers = np.arange(10**width).astype(f"S{width}")
    return numbers.view(np.uint8).reshape(-1, width)


def _hash(keys):
    # Fibonacci hashing: the high bits of a multiple of the golden ratio.
    spread = keys * np.uint64(0x9E3779B97F4A7C15)
    return (spread >> np.uint64(64 - _HASH_BITS)).astype(np.int64)


class Segments:
    """Numbers for segments, given as they are met.

    A segment is a pair of a video number and a start number; a code, its
    place in the grid of the two, rises with `(video_id, start)`.  The grid
    makes what would be a hash table of two million segments an array.
    """

    def __init__(self):
        self._videos = pd.Index(np.empty(0, np.uint64))
        self._starts = np.empty(0, np.int32)
        self._slot = np.full(1, -1, np.int32)  # number of a start
        self._rank = None

    def numbers(self, keys, starts):
        """`(video numbers, start numbers)`, new ones given where needed."""
        keys = self._same_kind(keys)
        video, start = self.find(keys, starts)
        if (video < 0).any():
            new = pd.unique(keys[video < 0])
            self._videos = self._videos.append(pd.Index(new))
            self._rank = None
            if keys.dtype == np.uint64:
                self._keys = self._videos.to_numpy()
                self._guess = np.zeros(2**_HASH_BITS, np.int32)
                self._guess[_hash(self._keys)] = np.arange(len(self._keys))
            video = self._find(keys)
        if (start < 0).any():
            highest = int(starts.max(initial=0))
            if highest >= len(self._slot):
                more = np.full(highest + 1 - len(self._slot), -1, np.int32)
                self._slot = np.append(self._slot, more)
            new = np.unique(starts[start < 0])
            self._slot[new] = len(self._starts) + np.arange(len(new))
            self._starts, self._rank = np.append(self._starts, new), None
            start = self._slot[starts]
        return video.astype(np.int32, copy=False), start

    def find(self, keys, starts):
        """As `numbers`, with -1 for what was not met before."""
        video = self._find(self._same_kind(keys))
        within = np.minimum(starts, len(self._slot) - 1)
        start = np.where(within == starts, self._slot[within], -1)
        return video, start

    def _find(self, keys):
        """Numbers of videos, -1 for one not met before."""
        if keys.dtype != np.uint64 or not len(self._videos):
            return self._videos.get_indexer(keys)
        # One probe of a hash table finds nearly all, at a quarter the price.
        video = self._guess[_hash(keys)]
        missed = np.flatnonzero(self._keys[video] != keys)
        video[missed] = self._videos.get_indexer(keys[missed])
        return video

    @property
    def num_videos(self) -> int:
        return len(self._videos)

    @property
    def size(self) -> int:
        """Cells of the grid, one more than the largest code."""
        return len(self._videos) * len(self._starts)

    def codes(self, videos, starts) -> np.ndarray:
        """Codes of numbers; they hold until a new number is given."""
        if self._rank is None:
            video, start = (
                np.argsort(np.argsort(values))
                for values in (np.asarray(self._videos), self._starts)
            )
            self._rank = video * len(self._starts), start
        video, start = self._rank
        return video[videos] + start[starts]

    def segments(self, codes):
        """`(video_ids, starts)` behind codes."""
        videos = np.sort(np.asarray(self._videos))
        video, start = np.divmod(codes, max(len(self._starts), 1))
        ids = as_text(videos)[video]
        return ids, np.sort(self._starts)[start].astype(np.int32)

    def _same_kind(self, keys):
        # Ids of more than eight bytes make all ids be kept as bytes objects.
        if keys.dtype == np.uint64 and self._videos.dtype == np.uint64:
            return keys
        if self._videos.dtype == np.uint64:
            ids = as_text(np.asarray(self._videos)).astype(object)
            self._videos = pd.Index(ids, dtype=object)
        return as_text(keys).astype(object)


def as_text(keys) -> np.ndarray:
    """The bytes array behind keys."""
    if keys.dtype == np.uint64:
        return keys.astype(">u8").view("S8")
    return keys.astype("S") if len(keys) else keys.astype("S1")
