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


def read_shard(
    path,
    spec: FrameSpec,
    num_classes: int | None = None,
    class_ids=None,
    with_frames: bool = True,
    problems: list | None = None,
) -> Iterator[Video]:
    """Reads and checks the videos of one shard.

    Args:
        path: A shard, local or `gs://`.
        spec: What a frame looks like.
        num_classes: Where given, the videos must have labels below it.
        class_ids: Where given, rated classes must be among these ids.
        with_frames: Whether to read the frames too.
        problems: Where given, bad records are left out, and so is what
            follows damage in the file; file, record number, field and problem
            of each are appended here.

    Raises:
        ValueError: Where the file or a record is bad.
    """
    rules = spec, num_classes, class_ids, with_frames
    for _, video in _videos(as_paths(path), rules, problems):
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
        `problem`. Where a file is damaged the field is `"file"`, and nothing
        from that record on can be read.
    """
    problems = []
    for _ in _videos(
        as_paths(shards), (spec, num_classes, class_ids), problems
    ):
        pass
    return pd.DataFrame(
        problems, columns=["file", "record", "field", "problem"]
    )


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
        ValueError: For bad input, and where the part has no *yes*.
    """
    problems = problem_list(on_error)
    rules = spec, None, class_ids, False
    rows = [
        (video.video_id.decode(), *rating)
        for _, video in _videos(as_paths(shards), rules, problems)
        for rating in zip(
            video.starts.tolist(),
            video.classes.tolist(),
            video.scores.tolist(),
            strict=True,
        )
    ]
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
            "A part must hold a rating that says yes: give more shards, or "
            "hold out another share of the videos. Received: "
            f"part={part}, {len(table)} of {len(rows)} ratings"
        )
    return table


def find_video(shards, video_id: str, spec: FrameSpec) -> np.ndarray:
    """The frames of one video, uint8 `(num_frames, dim)`.

    Raises:
        ValueError: Where no shard holds it.
    """
    wanted = video_id.encode()
    for path in as_paths(shards):
        for number, record in _records(path, None):
            if wanted in record:  # a fast no to almost every record
                video = _parse(path, number, record, (spec,), None)
                if video.video_id == wanted:
                    return video.frames
    raise ValueError(
        "The video must be in one of the shards. "
        f"Received: video_id={video_id!r}, {len(as_paths(shards))} shards"
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
    """Warns once of what reading left out: how much of which files, and why."""
    if not problems:
        return
    files = {}
    for path, number, field, problem in problems:
        files.setdefault(path, []).append(
            f"record {number}, {field}: {problem}"
        )
    lines = [
        f"{path}: {len(found)} left out, the first is {found[0]}"
        for path, found in files.items()
    ]
    warnings.warn("Bad input was left out:\n" + "\n".join(lines), stacklevel=3)


def _videos(paths, rules, problems) -> Iterator[tuple[str, Video]]:
    """The checked videos of some shards, each with its path."""
    seen = {}
    for path in paths:
        for number, record in _records(path, problems):
            video = _parse(path, number, record, rules, problems)
            if video is None:
                continue
            if video.video_id not in seen:
                seen[video.video_id] = path, number
                yield path, video
                continue
            first_path, first = seen[video.video_id]
            problem = (
                f"An id must occur once, {video.video_id!r} is also record "
                f"{first} of {first_path!r}: give each partition and each "
                "shard once."
            )
            _report(problems, (path, number, "id", problem))


def _parse(path, number, record, rules, problems) -> Video | None:
    """A checked video, or None where it is bad and left out."""
    try:
        return parse(record, *rules)
    except BadRecord as bad:
        _report(problems, (path, number, bad.field, bad.problem))


def examine(path, number, record, size, spec, num_classes) -> bool:
    """Says what is wrong with a record that the graph does not take.

    Args:
        record: Its bytes; none for what comes after the last one.
        size: Bytes of all records before it, their framing included.

    Returns:
        Whether there is such a record, and nothing wrong with it.

    Raises:
        ValueError: Where the record is bad or the file damaged.
    """
    if record:
        _parse(path, number, record, (spec, num_classes), None)
        return True
    _check_end(path, number, size, None)
    return False


def _report(problems, problem):
    """Notes a problem; raises it where there is no list to note it in."""
    if problems is None:
        path, number, field, text = problem
        raise ValueError(
            f"{text} Received: file={path!r}, record={number}, field={field!r}"
        ) from None
    problems.append(problem)


def _records(path, problems) -> Iterator[tuple[int, bytes]]:
    """Numbers and bytes of the records of a file, up to its end or damage."""
    import tensorflow as tf

    number, size = 0, 0
    dataset = tf.data.TFRecordDataset(path).ignore_errors()
    dataset = dataset.with_options(quiet_options())
    for record in dataset.as_numpy_iterator():
        yield number, record
        number += 1
        size += len(record) + FRAMING
    _check_end(path, number, size, problems)


def _check_end(path, number, size, problems):
    """Reports a file of which no more than `size` bytes could be read."""
    import tensorflow as tf

    # TensorFlow takes a cut in the first bytes of a record for the end.
    try:
        length = tf.io.gfile.stat(path).length
    except tf.errors.OpError as error:
        raise ValueError(
            "A shard must be a file that can be read. "
            f"Received: file={path!r}, error={error.message!r}"
        ) from error
    if size != length or not size:
        _report(problems, (path, number, "record", _damage(path, number)))


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


def _damage(path, number) -> str:
    """What is wrong with a file, by its first bytes."""
    import tensorflow as tf

    with tf.io.gfile.GFile(path, "rb") as file:
        head = file.read(2)
    if head in (b"\x1f\x8b", b"\x78\x01", b"\x78\x9c", b"\x78\xda"):
        return (
            "A shard must not be compressed, and this file is: decompress it "
            "first (`gunzip` where it is gzip)."
        )
    if number:
        return (
            "A shard must be a whole TFRecord file, and nothing from this "
            "record on can be read: download the file again."
        )
    if head:
        return (
            "A shard must be a TFRecord file, and this is none, or damaged "
            "from its first record on: look what it is, or download it again."
        )
    return "A shard must hold records, and this file is empty: download it."
