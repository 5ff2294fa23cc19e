"""Shards: finding them, reading their records, reporting what was wrong."""

import fnmatch
import glob
import os
import warnings
from collections import Counter

import numpy as np
import pandas as pd

from kit.data import tfrecord
from kit.data.records import BadRecord, parse
from kit.data.seen import SeenIds

SPLITS = ("train", "validate", "test")


def list_shards(data, split: str) -> list[str]:
    """The TFRecord shards of a split, sorted.

    A shard of a split is a file named `{split}*.tfrecord`, at any depth:
    `trainpj.tfrecord` of the bucket and `train0000.tfrecord` of the download
    script alike.

    Args:
        data: A folder, a file, a glob of either (local, or `gs://`), or a
            list of these.
        split: `"train"`, `"validate"` or `"test"`.

    Raises:
        ValueError: Where `split` is none of these, a place or what a glob
            asks for is not there, or no shard is found.
    """
    if split not in SPLITS:
        raise ValueError(
            f"`split` must be one of {', '.join(map(repr, SPLITS))}. "
            f"Received: split={split!r}"
        )
    shards = sorted(set(find_files(data, f"{split}*.tfrecord")))
    if not shards:
        raise ValueError(
            f"A data set must hold shards named `{split}*.tfrecord`: give the "
            "folder they are in, at any depth, or a glob. "
            f"Received: data={data!r}, split={split!r}"
        )
    return shards


def find_files(data, pattern: str):
    """Paths of the files in `data` whose name matches `pattern`."""
    from tensorflow.io import gfile

    for place in _expand(data):
        if not gfile.isdir(place):
            files = [place] if gfile.exists(place) else []
        else:
            files = (
                os.path.join(folder, name)
                for folder, _, names in gfile.walk(place)
                for name in names
            )
        for path in files:
            if fnmatch.fnmatchcase(os.path.basename(path), pattern):
                yield path


def _expand(data) -> list[str]:
    """The files and folders that a path, a glob or a list of these means."""
    from tensorflow.io import gfile

    if not isinstance(data, str | os.PathLike):
        return [place for one in data for place in _expand(one)]
    data = os.fspath(data)
    if gfile.exists(data):
        return [data]
    found = []
    if "://" in data and "**" in data:
        # TensorFlow takes it for one level and would leave files out.
        raise ValueError(
            "A glob of a bucket cannot hold `**`: name a folder, whose shards "
            f"are found at any depth. Received: data={data!r}"
        )
    if glob.has_magic(data):
        remote = "://" in data
        found = gfile.glob(data) if remote else glob.glob(data, recursive=True)
    if not found:
        raise ValueError(
            "What is named as data must be there: check the path. "
            f"Received: data={data!r}"
        )
    return found


class Report:
    """What a pass over shards kept and what it left out, file by file.

    Give one as `on_error` to read as `"skip"` does and look at the counts
    afterwards.  Each pass over the shards starts the counts anew.  Kept is
    what belongs to the part that was asked for, left out what is bad.

    Args:
        skip: Whether to leave out what is bad (and count it) or to stop.

    Example:

    >>> report = Report()  # doctest: +SKIP
    >>> ratings(shards, on_error=report)  # doctest: +SKIP
    >>> report.table()  # doctest: +SKIP
    """

    def __init__(self, skip: bool = True):
        self.skip = skip
        self.start()

    @classmethod
    def of(cls, on_error) -> "Report":
        """The report that an `on_error` argument asks for."""
        if isinstance(on_error, Report):
            return on_error
        if on_error not in ("stop", "skip"):
            raise ValueError(
                '`on_error` must be "stop", "skip" or a `Report`. '
                f"Received: on_error={on_error!r}"
            )
        return cls(skip=on_error == "skip")

    def start(self) -> None:
        """Forgets what was counted."""
        self.kept = Counter()
        self.reasons = {}
        self.ended = {}
        self.beyond_last_frame = Counter()

    def bad_record(self, path: str, record: int, error: BadRecord) -> None:
        if not self.skip:
            raise ValueError(
                f"{error.problem} Download the file again if it should be "
                'good, or give `on_error="skip"` to leave such records out. '
                f"Received: file={path!r}, record={record}, "
                f"field={error.field!r}"
            ) from None
        reasons = self.reasons.setdefault(path, {})
        count, first = reasons.get(error.field, (0, str(error)))
        reasons[error.field] = (count + 1, first)

    def good(self, path: str, video) -> None:
        self.kept[path] += 1
        if len(video.starts):
            beyond = np.count_nonzero(video.starts >= video.num_frames)
            self.beyond_last_frame[path] += beyond

    def bad_file(self, path: str, record: int, problem: str) -> None:
        if not self.skip:
            raise ValueError(
                f"A shard must be a whole TFRecord file: {problem}. Download "
                'it again, or give `on_error="skip"` to read the records '
                "before the damage and none after it. "
                f"Received: file={path!r}, record={record}, field='record'"
            )
        self.ended[path] = f"ended at record {record}: {problem}"

    def table(self) -> pd.DataFrame:
        """A row a file: `file`, `kept`, `left_out`, `beyond_last_frame`
        (ratings without a frame to look at) and `why`, as text: for each
        field how many records it was, and what was wrong with the first."""
        rows = []
        for path in self.kept:
            reasons = self.reasons.get(path, {}).values()
            why = [self.ended[path]] if path in self.ended else []
            why += [f"{count} x {first}" for count, first in reasons]
            rows.append(
                {
                    "file": path,
                    "kept": self.kept[path],
                    "left_out": sum(count for count, _ in reasons),
                    "beyond_last_frame": self.beyond_last_frame[path],
                    "why": "; ".join(why),
                }
            )
        columns = ["file", "kept", "left_out", "beyond_last_frame", "why"]
        return pd.DataFrame(rows, columns=columns)

    def finish(self) -> None:
        """Warns about what was left out, a line a file."""
        table = self.table()
        bad = table[table["why"] != ""]
        if len(bad):
            lines = [
                f"{row.file}: kept {row.kept} records, left out "
                f"{row.left_out}. {row.why}"
                for row in bad.itertuples()
            ]
            warnings.warn(
                "Bad input was left out:\n" + "\n".join(lines), stacklevel=2
            )


def read_shard(
    path: str,
    report: Report,
    seen: SeenIds,
    spec,
    num_classes,
    class_ids,
    reader=None,
):
    """Yields the `Video`s of one shard; what is bad goes to `report`.

    A `reader` is a process that reads ahead, see `kit.data.ahead`."""
    report.kept[path] += 0
    widths = (spec.rgb, spec.audio)
    for record, content in enumerate(_records(path, report, reader, widths)):
        try:
            video = parse(content, spec, num_classes, class_ids)
            if not seen.add(video.video_id):
                raise BadRecord(
                    "id",
                    f"An id must occur once, {video.video_id!r} was read "
                    "before: give each partition and each shard once.",
                )
        except BadRecord as error:
            report.bad_record(path, record, error)
            continue
        yield video


def _records(path: str, report: Report, reader, widths):
    """Yields the records of one file, each checksum verified."""
    import tensorflow as tf

    record = 0
    try:
        for content in _contents(path, reader, widths):
            yield content
            record += 1
    except tfrecord.Damage as damage:
        report.bad_file(path, record, str(damage))
    except (OSError, tf.errors.OpError) as error:
        raise ValueError(
            "A shard must be a file that can be read. "
            f"Received: file={path!r}, error={str(error)!r}"
        ) from error


def _contents(path, reader, widths):
    if reader is None:
        yield from tfrecord.records(path)
        return
    with open(path, "rb") as file:
        offset = yield from reader.records(file, widths)
        yield from tfrecord.rest(file, offset)
