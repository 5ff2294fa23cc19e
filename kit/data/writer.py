"""Writing shards, of the generated sample or of your own features."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from kit.data.reading import read_shard
from kit.data.records import RATING_FIELDS
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
        ValueError: For values of another type or shape, or a record that the
            readers would refuse.
    """
    import tensorflow as tf

    path = Path(_local(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"partial-{path.name}")
    try:
        with tf.io.TFRecordWriter(str(scratch)) as writer:
            for video in videos:
                writer.write(_record(video, spec))
        for _ in read_shard(scratch, spec):
            pass
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return str(path)


def _local(path) -> str:
    """The path as text; raises `ValueError` where it is an address."""
    path = os.fspath(path)
    # `Path` makes one slash of two; one letter is a drive of Windows.
    if re.match(r"\w\w+:/", path):
        raise ValueError(
            "A shard is written to a local path: write it there, and copy it "
            f"to the bucket afterwards. Received: path={path!r}"
        )
    return path


def _record(video, spec) -> bytes:
    """A serialized `tf.train.SequenceExample` of what a video has."""
    from tensorflow import train

    def feature(kind, values):
        return train.Feature(**{kind: {"value": values}})

    video_id = video["id"]
    if not isinstance(video_id, str):
        raise ValueError(
            "An `id` must be text: give `str(id)`. "
            f"Received: id={video_id!r} of type {type(video_id).__name__}"
        )
    context = {"id": feature("bytes_list", [video_id.encode()])}
    if "labels" in video:
        context["labels"] = feature("int64_list", _labels(video))
    if "ratings" in video:
        starts, classes, scores = _ratings(video)
        columns = starts, starts + spec.segment_frames, classes, scores
        for (name, kind), column in zip(
            RATING_FIELDS.items(), columns, strict=True
        ):
            context[name] = feature(kind, column)
    frames = np.asarray(video["frames"])
    if frames.dtype != np.uint8 or frames.shape[1:] != (spec.dim,):
        raise ValueError(
            f"Frames must be uint8 (num_frames, {spec.dim}): quantise your "
            "features to a byte each, or give their `FrameSpec`. Received: "
            f"{frames.dtype} {frames.shape} for video {video_id!r}"
        )
    rgb, audio = np.split(frames, [spec.rgb], axis=1)
    lists = {}
    for name, rows in (("rgb", rgb), ("audio", audio)):
        values = [feature("bytes_list", [row.tobytes()]) for row in rows]
        lists[name] = train.FeatureList(feature=values)
    return train.SequenceExample(
        context=train.Features(feature=context),
        feature_lists=train.FeatureLists(feature_list=lists),
    ).SerializeToString(deterministic=True)


def _labels(video) -> np.ndarray:
    """The ids of the classes of a video, each once."""
    labels = _whole(video, "labels")
    if labels.ndim != 1 or len(np.unique(labels)) < len(labels):
        raise ValueError(
            "`labels` must be the ids of a video's classes, each once: give "
            "`np.flatnonzero(labels)` of a multi-hot vector. "
            f"Received: labels={video['labels']!r} for video {video['id']!r}"
        )
    return labels


def _ratings(video):
    """Starts, classes and scores: the columns of the ratings of a video."""
    ratings = _whole(video, "ratings")
    if ratings.size and ratings.shape[1:] != (3,):
        raise ValueError(
            "`ratings` must be rows of (start, class id, 1 yes or 0 no). "
            f"Received: shape={ratings.shape} for video {video['id']!r}"
        )
    return ratings.reshape(-1, 3).T


def _whole(video, name) -> np.ndarray:
    """The numbers of a field as int64; floats of whole numbers are taken."""
    values = np.asarray(video[name])
    if values.size and values.dtype.kind not in "iuf":
        numbers = False
    else:
        values = values.astype(np.float64)
        numbers = np.array_equal(values, np.floor(values))
    if not numbers:
        raise ValueError(
            f"`{name}` must hold whole numbers. "
            f"Received: {name}={video[name]!r} for video {video['id']!r}"
        )
    return values.astype(np.int64)
