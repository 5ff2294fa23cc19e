"""Shards in plain Python: slower than the data sets, and thorough."""

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd

from kit.data.records import BadRecord, Video, parse
from kit.data.shards import as_paths
from kit.spec import FrameSpec
from kit.splits import EVERY_VIDEO, Part

FRAMING = 16  # bytes of length and checksums that TFRecord adds to a record
COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x9c", b"\x78\xda")


def read_shard(
    path,
    spec: FrameSpec,
    num_classes: int | None = None,
    class_ids=None,
    problems: list | None = None,
) -> Iterator[Video]:
    """Reads and checks the videos of one shard.

    Args:
        path: A shard, local or `gs://`.
        spec: What a frame looks like.
        num_classes: Where given, the videos must have labels below it.
        class_ids: Where given, rated classes must be among these ids.
        problems: Where given, bad records are left out, and so is what
            follows damage in the file; file, record number, field and problem
            of each are appended here.

    Raises:
        ValueError: Where the file or a record is bad.
    """
    rules = spec, num_classes, class_ids
    return _videos(as_paths(path), rules, problems)


def check(
    shards, spec: FrameSpec, num_classes: int | None = None, class_ids=None
) -> pd.DataFrame:
    """Examines every record of some shards, and lists all that is wrong.

    Args:
        shards: From `list_shards`, or any list of paths (local or `gs://`).
        spec: What a frame looks like.
        num_classes: Where given, the videos must have labels below it.
        class_ids: Where given, rated classes must be among these ids.

    Returns:
        A row a problem: `file`, `record` (its number, from 0), `field` and
        `problem`. Damage in a file is a problem of the field `"record"`, and
        nothing from that record on can be read.
    """
    problems = []
    rules = spec, num_classes, class_ids
    for _ in _videos(as_paths(shards), rules, problems):
        pass
    columns = ["file", "record", "field", "problem"]
    return pd.DataFrame(problems, columns=columns)


def ratings(
    shards,
    spec: FrameSpec,
    class_ids=None,
    part: Part = EVERY_VIDEO,
    on_error: str = "stop",
) -> pd.DataFrame:
    """All ratings, those beyond the last frame too; no frame is looked at.

    Args:
        shards: From `list_shards`, or any list of paths (local or `gs://`).
        spec: What a segment looks like.
        class_ids: Where given, rated classes must be among these ids.
        part: Which videos, see `kit.splits`.
        on_error: `"stop"` at the first bad record, or `"skip"` what is bad
            and warn of it.

    Returns:
        A row a rating: `video_id` (text), `start` (frames, which are seconds
        at one frame a second), `label` (vocabulary id), `score` (0 or 1).

    Raises:
        ValueError: For bad input, and where the part has no rating that says
            yes.
    """
    problems = problem_list(on_error)
    rules = spec, None, class_ids, False
    rows = []
    for video in _videos(as_paths(shards), rules, problems):
        columns = video.starts, video.classes, video.scores
        values = zip(*(column.tolist() for column in columns), strict=True)
        rows += [(video.video_id.decode(), *rating) for rating in values]
    warn_left_out(problems)
    if not rows:
        raise ValueError(
            "The shards must hold ratings: give those of the rated partition, "
            f"3/frame/validate. Received: shards={shards!r}"
        )
    table = pd.DataFrame(rows, columns=["video_id", "start", "label", "score"])
    table = table[part.select(table["video_id"])].reset_index(drop=True)
    if not table["score"].any():
        raise ValueError(
            "The ratings of a part must say yes at least once: give more "
            "shards, or hold out another share of the videos. "
            f"Received: part={part} with {len(table)} of {len(rows)} ratings"
        )
    return table


def find_video(shards, video_id: str, spec: FrameSpec) -> np.ndarray:
    """The frames of one video, uint8 `(num_frames, dim)`.

    Raises:
        ValueError: Where no shard holds it.
    """
    paths = as_paths(shards)
    for path in paths:
        for video in read_shard(path, spec):
            if video.video_id == video_id.encode():
                return video.frames
    raise ValueError(
        "The video must be in one of the shards: give others. "
        f"Received: video_id={video_id!r}, {len(paths)} shards"
    )


def problem_list(on_error: str) -> list | None:
    """Where to note what is left out; None where reading stops instead."""
    if on_error not in ("stop", "skip"):
        raise ValueError(
            '`on_error` must be "stop" or "skip". '
            f"Received: on_error={on_error!r}"
        )
    return [] if on_error == "skip" else None


def warn_left_out(problems: list | None) -> None:
    """Warns once of what was left out: how much of which files, and why."""
    if not problems:
        return
    table = pd.DataFrame(problems, columns=["file", "record", "field", "why"])
    lines = [
        f"{path}: {len(bad)} left out, the first is record "
        f"{bad['record'].iloc[0]}, {bad['field'].iloc[0]}: {bad['why'].iloc[0]}"
        for path, bad in table.groupby("file")
    ]
    warnings.warn("Bad input was left out:\n" + "\n".join(lines), stacklevel=3)


def _videos(paths, rules, problems) -> Iterator[Video]:
    """The checked videos of some shards."""
    seen = set()
    for path in paths:
        for number, size, record in _records(path):
            try:
                video = examine(path, number, size, record, *rules)
                if video is not None and video.video_id in seen:
                    raise BadRecord(
                        "id",
                        "An id must occur once, and another record has "
                        f"{video.video_id!r} too: give each partition and "
                        "each shard once.",
                    )
            except BadRecord as bad:
                if problems is None:
                    raise bad.at(path, number) from None
                problems.append((path, number, bad.field, bad.problem))
                continue
            if video is not None:
                seen.add(video.video_id)
                yield video


def _records(path) -> Iterator[tuple[int, int, bytes]]:
    """Of each record its number, the bytes of the file before it, and itself.

    An empty record ends the file, wherever TensorFlow stops to read it.
    """
    import tensorflow as tf

    number, size = 0, 0
    records = tf.data.TFRecordDataset(path).ignore_errors()
    for record in records.with_options(quiet_options()).as_numpy_iterator():
        yield number, size, record
        number += 1
        size += FRAMING + len(record)
    yield number, size, b""


def examine(path, number, size, record, *rules) -> Video | None:
    """The video of a record, or None for a good end of the file.

    Args:
        path, number: File of the record, and its place there, from 0.
        size: Bytes of the file before it.
        record: Its bytes; none at the end.
        *rules: As `parse` takes them.

    Raises:
        BadRecord: Where the record is bad, or the file goes on.
        ValueError: Where it is no file that can be read.
    """
    import tensorflow as tf

    if record:
        return parse(record, *rules)
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            head, length = file.read(2), file.size()
    except tf.errors.OpError as error:
        raise ValueError(
            "A shard must be a file that can be read. "
            f"Received: file={path!r}, error={error.message!r}"
        ) from error
    # TensorFlow takes a cut in the first bytes of a record for the end.
    if not size or size != length:
        raise BadRecord("record", _damage(head, number))
    return None


def _damage(head: bytes, number: int) -> str:
    """What is wrong with a file that cannot be read from a record on."""
    if head in COMPRESSED:
        return (
            "A shard must not be compressed, and this file is: decompress it "
            "first (`gunzip` where it is gzip)."
        )
    if not head:
        return "A shard must hold records, and this file is empty: download it."
    if number == 0:
        return (
            "A shard must be a TFRecord file, and this is none, or damaged "
            "from its first record on: look what it is, or download it again."
        )
    return (
        "A shard must be a whole TFRecord file, and nothing from this record "
        "on can be read: download the file again."
    )


def quiet_options():
    """Options of every data set: in order, and nothing left to tuning.

    The thread of autotuning sleeps longer and longer, up to a minute, and
    dropping an iterator waits for it.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return options
