"""One record of a shard: what it holds, and what can be wrong with it."""

import re
from typing import NamedTuple

import numpy as np

from kit.spec import FrameSpec

# The four lists of a rated record and the kind of their values.
RATING_FIELDS = {
    "segment_start_times": "int64_list",
    "segment_end_times": "int64_list",
    "segment_labels": "int64_list",
    "segment_scores": "float_list",
}
# An id that a submission can hold, for Python's expressions and TensorFlow's.
ID_PATTERN = r'[^\x00-\x20:,"]+'


class Video(NamedTuple):
    """One checked record.

    Attributes:
        video_id: The id, as bytes.
        labels: Vocabulary ids of the video's labels, int64 `(L,)`.
        frames: Visual and audio features side by side, uint8 `(T, D)`; of no
            frame where the frames were not asked for.
        starts: First frame of each rated segment, int64 `(R,)`; some lie
            beyond the last frame.
        classes: Vocabulary id that was rated there, int64 `(R,)`.
        scores: The verdict, int8 `(R,)`: 1 yes, 0 no.
    """

    video_id: bytes
    labels: np.ndarray
    frames: np.ndarray
    starts: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


class BadRecord(ValueError):
    """A record that breaks a rule: `field` and `problem` say which."""

    def __init__(self, field: str, problem: str):
        super().__init__(problem)
        self.field = field
        self.problem = problem

    def at(self, path: str, number: int) -> ValueError:
        """The error of a record that is not left out."""
        return ValueError(
            f"{self.problem} Received: file={path!r}, record={number}, "
            f"field={self.field!r}"
        )


def parse(
    record: bytes,
    spec: FrameSpec,
    num_classes: int | None = None,
    class_ids=None,
    with_frames: bool = True,
) -> Video:
    """Reads and checks one serialized `tf.train.SequenceExample`.

    Args:
        record: The bytes of one record.
        spec: What a frame looks like. A size of 0 leaves that feature out,
            whether the record has it or not.
        num_classes: Where given, the record must have labels below it.
        class_ids: Where given, rated classes must be among these ids.
        with_frames: Whether to read the frames too.

    Raises:
        BadRecord: Where the record breaks a rule.
    """
    from google.protobuf.message import DecodeError
    from tensorflow import train

    try:
        example = train.SequenceExample.FromString(record)
    except DecodeError:
        raise BadRecord(
            "record",
            "A record must be a serialized tf.train.SequenceExample: write "
            "your own features with `data.write_shard`.",
        ) from None
    context = example.context.feature
    if with_frames:
        frames = _frames(example, spec)
    else:
        frames = np.empty((0, spec.dim), np.uint8)
    return Video(
        _video_id(context),
        _labels(context, num_classes),
        frames,
        *_ratings(context, spec, class_ids),
    )


def _frames(example, spec) -> np.ndarray:
    """Visual and audio features side by side, uint8 `(T, D)`."""
    blocks = {
        name: _block(example, name, width)
        for name, width in (("rgb", spec.rgb), ("audio", spec.audio))
        if width
    }
    counts = {name: len(block) for name, block in blocks.items()}
    (first, count), *others = counts.items()
    for name, other in others:
        if other != count:
            raise BadRecord(
                name,
                f"`rgb` and `audio` must have as many frames, found {counts}.",
            )
    if count == 0:
        raise BadRecord(first, "A video must have at least one frame.")
    if count > spec.max_frames:
        raise BadRecord(
            first,
            f"A video must have at most {spec.max_frames} frames, found "
            f"{count}: give a `FrameSpec` with a higher `max_frames`.",
        )
    return np.concatenate(list(blocks.values()), axis=1)


def _block(example, name, width) -> np.ndarray:
    """The frames of one feature list, uint8 `(T, width)`."""
    lists = example.feature_lists.feature_list
    if name not in lists:
        raise _missing(example, name)
    features = lists[name].feature
    values = [feature.bytes_list.value for feature in features]
    for index, value in enumerate(values):
        kind = features[index].WhichOneof("kind")
        if kind in ("float_list", "int64_list"):
            raise BadRecord(
                name,
                f"A frame must be bytes, frame {index} is a {kind}: quantise "
                "the features to a byte each and write them with "
                "`data.write_shard`.",
            )
        sizes = [len(part) for part in value]
        if sizes != [width]:
            raise BadRecord(
                name,
                f"A frame must be {width} bytes, frame {index} has {sizes}: "
                "give the `FrameSpec` of these features.",
            )
    joined = b"".join(value[0] for value in values)
    return np.frombuffer(joined, np.uint8).reshape(-1, width)


def _missing(example, name) -> BadRecord:
    """Says what a record without the feature list `name` has instead."""
    context = example.context.feature
    if "mean_rgb" in context or "mean_audio" in context:
        return BadRecord(
            name,
            "This is a video-level shard, one mean a video, and frames are "
            "needed: download the frame-level partition, 2/frame (video "
            "labels) or 3/frame (segment ratings), in its place.",
        )
    return BadRecord(
        name,
        f"A record must have the frames `{name}`, found the feature lists "
        f"{sorted(example.feature_lists.feature_list)}: give a `FrameSpec` "
        f"with {name}=0 if there is no such feature, or write the features "
        "under the name it should have with `data.write_shard`.",
    )


def _values(context, name, kind):
    """The values of a context feature; none where it is absent."""
    if name not in context:
        return ()
    received = context[name].WhichOneof("kind")
    if received not in (kind, None):
        raise BadRecord(
            name, f"`{name}` must be of kind {kind}, found {received}."
        )
    return getattr(context[name], kind).value


def _video_id(context) -> bytes:
    old = "video_id" in context and "id" not in context
    name = "video_id" if old else "id"
    values = list(_values(context, name, "bytes_list"))
    if len(values) != 1:
        raise BadRecord(
            name,
            f"A record must have one `id` or `video_id`, found {values}; its "
            f"context has the features {sorted(context)}.",
        )
    try:
        text = values[0].decode()
    except UnicodeDecodeError:
        text = ""
    if not re.fullmatch(ID_PATTERN, text):
        raise BadRecord(
            name,
            "An id must be UTF-8 text that a submission can hold, without "
            "space, colon, comma, quote or control character, found "
            f"{values[0]!r}: rename the video.",
        )
    return values[0]


def _labels(context, num_classes) -> np.ndarray:
    labels = np.array(_values(context, "labels", "int64_list"), np.int64)
    if num_classes is None:
        return labels
    if "labels" not in context:
        raise BadRecord(
            "labels",
            "A video to train on must have `labels`, an empty list where it "
            "shows none of the classes: give shards that have them (the train "
            "partition), or write them with `data.write_shard`.",
        )
    if np.any((labels < 0) | (labels >= num_classes)):
        raise BadRecord(
            "labels",
            f"A label must lie in the vocabulary, 0 to {num_classes - 1}, "
            f"found {labels.tolist()}: give the `num_classes` of these files.",
        )
    return labels


def _ratings(context, spec, class_ids):
    """Starts, classes and scores of the ratings: each `(R,)`."""
    columns = [
        np.array(_values(context, name, kind))
        for name, kind in RATING_FIELDS.items()
    ]
    sizes = [len(column) for column in columns]
    if len(set(sizes)) > 1:
        raise BadRecord(
            "segment_scores",
            f"{', '.join(RATING_FIELDS)} must be equally long: {sizes}.",
        )
    starts, _, classes, scores = columns
    if np.any((starts < 0) | (starts % spec.segment_frames != 0)):
        raise BadRecord(
            "segment_start_times",
            "A segment must start at 0 or a multiple of "
            f"{spec.segment_frames}, found {starts.tolist()}: give the "
            "`FrameSpec` of these features.",
        )
    if not np.isin(scores, (0, 1)).all():
        raise BadRecord(
            "segment_scores", f"A score must be 0 or 1: {scores.tolist()}."
        )
    if np.any(classes < 0) or (
        class_ids is not None and not np.isin(classes, class_ids).all()
    ):
        raise BadRecord(
            "segment_labels",
            "A rated class must be one of the classes of the segment task, "
            f"found {classes.tolist()}: add it to `segment_label_ids.csv`, or "
            "give every rated class in `class_ids`.",
        )
    verdicts = {}
    for start, class_id, score in zip(starts, classes, scores, strict=True):
        if verdicts.setdefault((start, class_id), score) != score:
            raise BadRecord(
                "segment_scores",
                "Two ratings of a segment and class must agree, found both "
                f"for start {start} and class {class_id}.",
            )
    pairs = np.array(list(verdicts), np.int64).reshape(-1, 2)
    return *pairs.T, np.array(list(verdicts.values()), np.int8)
