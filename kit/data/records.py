"""One record of a shard: what it holds, and what can be wrong with it."""

import re
from typing import NamedTuple

import numpy as np

from kit.spec import FrameSpec

# The lists of a rated record, equally long, and the kind of their values.
RATING_FIELDS = {
    "segment_start_times": "int64_list",
    "segment_end_times": "int64_list",
    "segment_labels": "int64_list",
    "segment_scores": "float_list",
}
# An id that a submission can hold; � is what Python makes of no UTF-8.
ID_PATTERN = r'[^\x00-\x20:,"�]+'


class Video(NamedTuple):
    """One checked record.

    Attributes:
        video_id: The id, as bytes.
        labels: Vocabulary ids of the video's labels, int64 `(L,)`.
        frames: Visual and audio features side by side, uint8 `(T, D)`, or
            None where they were not asked for.
        starts: First frame of each rated segment, int64 `(R,)`; some lie
            beyond the last frame.
        classes: Vocabulary id that was rated there, int64 `(R,)`.
        scores: The verdict, int8 `(R,)`: 1 yes, 0 no.
    """

    video_id: bytes
    labels: np.ndarray
    frames: np.ndarray | None
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
    # First what tells files of another kind.
    frames = _frames(example, spec) if with_frames else None
    return Video(
        _video_id(context),
        _labels(context, num_classes),
        frames,
        *_ratings(context, spec.segment_frames, class_ids),
    )


def _frames(example, spec) -> np.ndarray:
    """Visual and audio features side by side, uint8 `(T, D)`."""
    sizes = {"rgb": spec.rgb, "audio": spec.audio}
    sizes = {name: size for name, size in sizes.items() if size}
    blocks = [_block(example, name, sizes[name]) for name in sizes]
    counts = {len(block) for block in blocks}
    if len(counts) > 1 or not 0 < max(counts) <= spec.max_frames:
        raise BadRecord(
            "rgb" if spec.rgb else "audio",
            f"A video must have 1 to {spec.max_frames} frames, as many of one "
            f"kind as of the other, found {sorted(counts)}: give a `FrameSpec` "
            "of more `max_frames` if these videos are longer.",
        )
    return np.concatenate(blocks, axis=1)


def _block(example, name, size) -> np.ndarray:
    """The frames of one feature list, uint8 `(T, size)`."""
    lists = example.feature_lists.feature_list
    if name not in lists:
        raise BadRecord(name, _missing(example, name))
    frames = lists[name].feature
    values = [frame.bytes_list.value for frame in frames]
    for frame, value in zip(frames, values, strict=True):
        if [len(part) for part in value] != [size]:
            raise BadRecord(name, _unlike(frame, size))
    joined = b"".join(value[0] for value in values)
    return np.frombuffer(joined, np.uint8).reshape(-1, size)


def _unlike(frame, size) -> str:
    """Says what a frame is that is not `size` bytes."""
    kind = frame.WhichOneof("kind")
    if kind in ("float_list", "int64_list"):
        return (
            f"A frame must be bytes, found a {kind}: quantise the features to "
            "a byte each, and write them with `data.write_shard`."
        )
    return (
        f"A frame must be {size} bytes, found "
        f"{[len(part) for part in frame.bytes_list.value]}: give the "
        "`FrameSpec` of these features."
    )


def _missing(example, name) -> str:
    """Says what a record without the feature list `name` has instead."""
    if {"mean_rgb", "mean_audio"} & set(example.context.feature):
        return (
            "This is a video-level shard, one mean a video: download the "
            "frame-level partition, 2/frame (video labels) or 3/frame (segment "
            "ratings), in its place."
        )
    return (
        f"A record must have the frames `{name}`, found "
        f"{sorted(example.feature_lists.feature_list)}: give a `FrameSpec` "
        f"with {name}=0 if there is none, or write the features under that "
        "name with `data.write_shard`."
    )


def _values(context, name, kind) -> list:
    """The values of a context feature; none where it is absent."""
    if name not in context:
        return []
    received = context[name].WhichOneof("kind")
    if received not in (kind, None):
        raise BadRecord(name, f"It must be a {kind}, found a {received}.")
    return list(getattr(context[name], kind).value)


def _video_id(context) -> bytes:
    """The `id`, which old files call `video_id`."""
    names = "id", "video_id"
    ids = sum((_values(context, name, "bytes_list") for name in names), [])
    text = ids[0].decode(errors="replace") if len(ids) == 1 else ""
    if not re.fullmatch(ID_PATTERN, text):
        raise BadRecord(
            "id",
            "A record must have one `id` that a submission can hold, UTF-8 "
            "without space, colon, comma, quote or control character, found "
            f"{ids} among {sorted(context)}: rename the video.",
        )
    return ids[0]


def _labels(context, num_classes) -> np.ndarray:
    labels = np.array(_values(context, "labels", "int64_list"), np.int64)
    if num_classes is None:
        return labels
    if "labels" not in context:
        raise BadRecord(
            "labels",
            "A video to train on must have `labels`, an empty list where it "
            "shows no class: give shards that have them, as `train` has.",
        )
    if not np.all((labels >= 0) & (labels < num_classes)):
        raise BadRecord(
            "labels",
            f"A label must lie in 0 to {num_classes - 1}, found "
            f"{labels.tolist()}: give the `num_classes` of these files.",
        )
    return labels


def _ratings(context, segment_frames, class_ids):
    """Starts, classes and scores of the ratings: each `(R,)`."""
    columns = [
        np.array(_values(context, name, kind))
        for name, kind in RATING_FIELDS.items()
    ]
    starts, _, classes, scores = columns
    counts = {len(column) for column in columns}
    if len(counts) > 1:
        fields = ", ".join(RATING_FIELDS)
        raise BadRecord("segment_scores", f"Of unequal length: {fields}.")
    known = classes >= 0
    if class_ids is not None:
        known = np.isin(classes, class_ids)
    rated = {*zip(starts, classes, strict=True)}
    agree = len({*zip(starts, classes, scores, strict=True)}) == len(rated)
    on_grid = (starts >= 0) & (starts % segment_frames == 0)
    start = f"start at a multiple of {segment_frames}, see `FrameSpec`"
    known_rule = "be of a class of the task: add it to `segment_label_ids.csv`"
    for field, good, rule in (
        ("segment_start_times", on_grid, start),
        ("segment_labels", known, known_rule),
        ("segment_scores", np.isin(scores, (0, 1)), "have a score of 0 or 1"),
        ("segment_scores", agree, "agree with others of its segment and class"),
    ):
        if not np.all(good):
            values = list(_values(context, field, RATING_FIELDS[field]))
            raise BadRecord(field, f"A rating must {rule}, found {values}.")
    integers = starts.astype(np.int64), classes.astype(np.int64)
    return *integers, scores.astype(np.int8)
