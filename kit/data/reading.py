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
COLUMNS = ["file", "record", "field", "problem"]  # of a table of problems


def read_shard(
    path,
    spec: FrameSpec,
    num_classes: int | None = None,
    class_ids=None,
    problems: list | None = None,
    with_frames: bool = True,
) -> Iterator[Video]:
    """Reads and checks the videos of a shard.

    Args:
        path: A shard, local or `gs://`, or a list of them.
        spec: What a frame looks like.
        num_classes: Where given, the videos must have labels below it.
        class_ids: Where given, rated classes must be among these ids.
        problems: Where given, bad records are left out, and so is what
            follows damage in a file; file, record number, field and problem
            of each are appended here.
        with_frames: Whether to read the frames too.

    Raises:
        ValueError: Where a file or a record is bad.
    """
    rules, seen = (spec, num_classes, class_ids, with_frames), set()
    for file in as_paths(path):
        for number, left, record in _records(file):
            try:
                video = examine(file, number, left, record, *rules)
                if video and video.video_id in seen:
                    problem = (
                        f"An id must occur once, {video.video_id!r} was read "
                        "before: give each partition and each shard once."
                    )
                    raise BadRecord("id", problem)
            except BadRecord as bad:
                if problems is None:
                    raise bad.with_location(file, number) from None
                problems.append((file, number, bad.field, bad.problem))
                continue
            if video:
                seen.add(video.video_id)
                yield video


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
    for _ in read_shard(shards, spec, num_classes, class_ids, problems):
        pass
    return pd.DataFrame(problems, columns=COLUMNS)


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
    rows = [
        (video.video_id.decode(), *rating)
        for video in read_shard(shards, spec, None, class_ids, problems, False)
        for rating in video.ratings.tolist()
    ]
    warn_left_out(problems)
    if not rows:
        raise ValueError(
            "The shards must hold ratings: give those of the rated partition, "
            f"3/frame/validate. Received: {len(shards)} shards, {shards[:1]}"
        )
    table = pd.DataFrame(rows, columns=["video_id", "start", "label", "score"])
    table = table[part.select(table["video_id"])]
    table = table.drop_duplicates(ignore_index=True)
    if not table["score"].any():
        raise ValueError(
            "The ratings of a part must say yes at least once: give more "
            "shards, or hold out another share of the videos. "
            f"Received: {part} with {len(table)} of {len(rows)} ratings"
        )
    return table


def find_video(shards, video_id: str, spec: FrameSpec) -> np.ndarray:
    """The frames of one video, uint8 `(num_frames, dim)`.

    Raises:
        ValueError: Where no shard holds it.
    """
    for video in read_shard(shards, spec):
        if video.video_id == video_id.encode():
            return video.frames
    rule = "The video must be in one of the shards: give others."
    raise ValueError(f"{rule} Received: video_id={video_id!r}")


def problem_list(on_error: str) -> list | None:
    """Where to note what is left out; None where reading stops instead."""
    if on_error not in ("stop", "skip"):
        rule = '`on_error` must be "stop" or "skip".'
        raise ValueError(f"{rule} Received: on_error={on_error!r}")
    return [] if on_error == "skip" else None


def warn_left_out(problems: list | None) -> None:
    """Warns once of what was left out: how much of which files, and why."""
    if not problems:
        return
    table = pd.DataFrame(problems, columns=COLUMNS)
    counts = table["file"].value_counts()
    lines = [
        f"{bad.file}: {counts[bad.file]} left out, the first is record "
        f"{bad.record}, {bad.field}: {bad.problem}"
        for bad in table.drop_duplicates("file").itertuples()
    ]
    warnings.warn("\n".join(["Bad input was left out:", *lines]), stacklevel=3)


def _records(path) -> Iterator[tuple[int, int, bytes]]:
    """Yields `(number, left, record)`, `left` the bytes from it to the end.

    The last record is empty and stands where TensorFlow stops reading.
    """
    import tensorflow as tf

    number, left = 0, file_length(path)
    records = tf.data.TFRecordDataset(path).ignore_errors()
    for record in records.with_options(quiet_options()).as_numpy_iterator():
        yield number, left, record
        number += 1
        left -= FRAMING + len(record)
    yield number, left, b""


def file_length(path) -> int:
    """Bytes of a file; raises `ValueError` where it cannot be read."""
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            file.read(1)
            return file.size()
    except tf.errors.OpError as error:
        place = f"file={tf.compat.as_str(path)!r}, {error.message}"
        rule = "A shard must be a file that can be read."
        raise ValueError(f"{rule} Received: {place}") from None


def examine(path, number, left, record, *rules) -> Video | None:
    """The video of a record, or None for a good end of the file.

    Args:
        path, number: File of the record, and its place there, from 0.
        left: Bytes of the file from it on.
        record: Its bytes; none at the end.
        *rules: As `parse` takes them.

    Raises:
        BadRecord: Where the record is bad, or the file does not end well.
    """
    import tensorflow as tf

    if record:
        return parse(record, *rules)
    # TensorFlow takes a cut in the first bytes of a record for the end.
    if number and not left:
        return None
    with tf.io.gfile.GFile(path, "rb") as file:
        compressed = file.read(2) in COMPRESSED
    if compressed:
        problem = "A shard must not be compressed: decompress it first."
    elif number:
        problem = (
            "A shard must be whole, and nothing from this record on can be "
            "read: download the file again."
        )
    else:
        problem = (
            "A shard must be a TFRecord file, and this file is empty, damaged "
            "or of another kind: look what it is, or download it again."
        )
    raise BadRecord("record", problem)


def quiet_options():
    """Options of every data set: elements in order, and no autotuning.

    The thread of autotuning sleeps longer and longer, up to a minute, and
    Python waits for it when an iterator is deleted.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return options
