"""Writing shards, of the simulated sample or of your own features."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from kit.data.records import RATING_FIELDS
from kit.data.seen import SeenIds
from kit.data.shards import Report, read_shard
from kit.spec import FrameSpec


def write_shard(path, videos: Iterable[Mapping], spec: FrameSpec) -> str:
    """Writes videos as one TFRecord shard in YouTube-8M's format.

    It is read back by the readers' rules before the file appears.

    Args:
        path: A local `train*.tfrecord`, `validate*.tfrecord` or
            `test*.tfrecord`, so that `list_shards` finds it.
        videos: Of each video its `id`, a text that no other video has, and
            `frames`, uint8 `(num_frames, spec.dim)`, visual features first.
            To train on also `labels`, the ids of its classes; and where people
            rated segments `ratings`, rows of `(start, class id, 1 yes or 0
            no)`, the start being the first frame of the segment.
        spec: What a frame and a segment look like.

    Returns:
        `path`, as the readers take it.

    Raises:
        ValueError: For frames of another type or shape, or a record that the
            readers would refuse.
    """
    import tensorflow as tf

    path = Path(check_local(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"partial-{path.name}")
    try:
        with tf.io.TFRecordWriter(str(scratch)) as writer:
            for video in videos:
                writer.write(_record(video, spec))
        stop = Report(skip=False)
        for _ in read_shard(str(scratch), stop, SeenIds(), spec, None, None):
            pass
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return str(path)


def check_local(path) -> str:
    """The path as text; raises `ValueError` where it is an address."""
    path = os.fspath(path)
    # `Path` makes one slash of two; one letter is a drive of Windows.
    if re.match(r"\w\w+:/", path):
        raise ValueError(
            "What is written goes to a local path: write it there, and copy "
            f"it to the bucket afterwards. Received: path={path!r}"
        )
    return path


def _record(video, spec) -> bytes:
    """A serialised `tf.train.SequenceExample` of what a video has."""
    from tensorflow import train

    def feature(kind, values):
        return train.Feature(**{kind: {"value": values}})

    frames = np.asarray(video["frames"])
    if frames.dtype != np.uint8 or frames.shape[1:] != (spec.dim,):
        raise ValueError(
            f"Frames must be uint8 (num_frames, {spec.dim}). Received: "
            f"{frames.dtype} {frames.shape} for video {video['id']!r}"
        )
    context = {"id": feature("bytes_list", [video["id"].encode()])}
    if "labels" in video:
        context["labels"] = feature("int64_list", video["labels"])
    if "ratings" in video:
        ratings = np.asarray(video["ratings"])
        if ratings.size and ratings.shape[1:] != (3,):
            raise ValueError(
                "Ratings must be rows of (start, class id, 1 yes or 0 no). "
                f"Received: shape={ratings.shape} for video {video['id']!r}"
            )
        starts, classes, scores = ratings.reshape(-1, 3).T
        columns = starts, starts + spec.segment_frames, classes, scores
        kinds = ["int64_list"] * 3 + ["float_list"]
        values = map(feature, kinds, columns)
        context |= dict(zip(RATING_FIELDS, values, strict=True))
    rgb, audio = np.split(frames, [spec.rgb], axis=1)
    lists = {}
    for name, rows in (("rgb", rgb), ("audio", audio)):
        values = [feature("bytes_list", [row.tobytes()]) for row in rows]
        lists[name] = train.FeatureList(feature=values)
    return train.SequenceExample(
        context=train.Features(feature=context),
        feature_lists=train.FeatureLists(feature_list=lists),
    ).SerializeToString(deterministic=True)
