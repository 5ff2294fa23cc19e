"""Writing shards, of the generated sample or of your own features."""

from collections.abc import Iterable, Mapping

import numpy as np

from kit.data.reading import read_shard
from kit.data.records import RATING_FIELDS
from kit.replacing import replacing
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

    with replacing(path) as scratch:
        with tf.io.TFRecordWriter(str(scratch)) as writer:
            for video in videos:
                writer.write(_record(video, spec))
        for _ in read_shard(scratch, spec):
            pass
    return str(path)


def _record(video, spec) -> bytes:
    """A serialized `tf.train.SequenceExample` of what a video has."""
    from tensorflow import train

    def feature(kind, values):
        return train.Feature(**{kind: {"value": values}})

    if not isinstance(video["id"], str):
        raise ValueError(
            f"An `id` must be text: give `str(id)`. Received: {video['id']!r}"
        )
    context = {"id": feature("bytes_list", [video["id"].encode()])}
    if "labels" in video:
        context["labels"] = feature("int64_list", _whole(video, "labels"))
    if "ratings" in video:
        starts, classes, scores = _whole(video, "ratings", 3).reshape(-1, 3).T
        columns = starts, starts + spec.segment_frames, classes, scores
        fields = zip(RATING_FIELDS.items(), columns, strict=True)
        context |= {name: feature(kind, c) for (name, kind), c in fields}
    frames = np.asarray(video["frames"])
    if frames.dtype != np.uint8 or frames.shape[1:] != (spec.dim,):
        raise ValueError(
            f"Frames must be uint8 (num_frames, {spec.dim}): quantise your "
            "features to a byte each, or give their `FrameSpec`. Received: "
            f"{frames.dtype} {frames.shape} for video {video['id']!r}"
        )
    lists = {}
    blocks = np.split(frames, [spec.rgb], axis=1)
    for name, rows in zip(("rgb", "audio"), blocks, strict=True):
        values = [feature("bytes_list", [row.tobytes()]) for row in rows]
        lists[name] = train.FeatureList(feature=values)
    return train.SequenceExample(
        context=train.Features(feature=context),
        feature_lists=train.FeatureLists(feature_list=lists),
    ).SerializeToString(deterministic=True)


def _whole(video, name, *row) -> np.ndarray:
    """A field as whole numbers in rows of that shape; floats may be whole."""
    values = np.asarray(video[name])
    good = values.dtype.kind in "iuf" and not np.any(values % 1)
    good = good and (not values.size or values.shape[1:] == row)
    if name == "labels":
        good = good and len(np.unique(values)) == len(values)
    if not good:
        raise ValueError(
            "`labels` must be ids of classes, each once (`np.flatnonzero` of a "
            "multi-hot vector), and `ratings` rows of (start, class id, 1 yes "
            f"or 0 no). Received: id={video['id']!r}, {name}={video[name]!r}"
        )
    return values.astype(np.int64)
