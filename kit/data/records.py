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
# An id that a submission can hold; Python decodes bytes outside UTF-8 to �.
ID_PATTERN = r'[^\x00-\x20:,"�]+'


class Video(NamedTuple):
    """One checked record.

    Attributes:
        video_id: The id, as bytes.
        labels: Vocabulary ids of the video's labels, int64 `(L,)`.
        frames: Visual and audio features side by side, uint8 `(T, D)`, or
            None where they were not asked for.
        ratings: Rows of start (the first frame of a segment, which may lie
            beyond the last), class id and verdict (1 yes, 0 no), int64
            `(R, 3)`.
    """

    video_id: bytes
    labels: np.ndarray
    frames: np.ndarray | None
    ratings: np.ndarray


class BadRecord(ValueError):
    """A record that breaks a rule: `field` and `problem` say which."""

    def __init__(self, field: str, problem: str):
        super().__init__(problem)
        self.field, self.problem = field, problem

    def with_location(self, path: str, number: int) -> ValueError:
        """The error to raise, which names the file and the record."""
        place = f"file={path!r}, record={number}, field={self.field!r}"
        return ValueError(f"{self.problem} Received: {place}")


def feature_sizes(spec: FrameSpec) -> dict[str, int]:
    """Bytes of a frame in each feature list that is to be read."""
    sizes = {"rgb": spec.rgb, "audio": spec.audio}
    return {name: size for name, size in sizes.items() if size}


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
    # Frames come first: they show whether the file is of another kind.
    frames = _frames(example, spec) if with_frames else None
    video_id, labels = _video_id(context), _labels(context, num_classes)
    ratings = _ratings(context, spec.segment_frames, class_ids)
    return Video(video_id, labels, frames, ratings)


def _frames(example, spec) -> np.ndarray:
    """Visual and audio features side by side, uint8 `(T, D)`."""
    sizes = feature_sizes(spec)
    blocks = [_block(example, name, size) for name, size in sizes.items()]
    counts = {len(block) for block in blocks}
    if len(counts) > 1 or not 0 < max(counts) <= spec.max_frames:
        raise BadRecord(
            next(iter(sizes)),
            f"A video must have 1 to {spec.max_frames} frames, as many audio "
            f"as visual ones, found {sorted(counts)}: give a `FrameSpec` of "
            "more `max_frames` if these videos are longer.",
        )
    return np.concatenate(blocks, axis=1)


def _block(example, name, size) -> np.ndarray:
    """The frames of one feature list, uint8 `(T, size)`."""
    lists = example.feature_lists.feature_list
    if name not in lists:
        raise BadRecord(name, _missing(example, name))
    values = []
    for frame in lists[name].feature:
        value = frame.bytes_list.value
        sizes = [len(part) for part in value]
        if sizes != [size]:
            found, remedy = sizes, "give the `FrameSpec` of these features"
            if frame.WhichOneof("kind") in ("float_list", "int64_list"):
                found = frame.WhichOneof("kind")
                remedy = "quantise them, and write them with `data.write_shard`"
            problem = f"A frame must be {size} bytes, found {found}: {remedy}."
            raise BadRecord(name, problem)
        values.append(value[0])
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, size)


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
        f"with {name}=0 if there is none, or write them as `{name}`."
    )


def _values(context, name, kind) -> list:
    """The values of a context feature; none where it is absent."""
    if name not in context:
        return []
    received = context[name].WhichOneof("kind")
    if received not in (kind, None):
        rule = f"`{name}` must be a {kind}, found a {received}"
        raise BadRecord(name, f"{rule}: write it as a {kind}.")
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
    """The classes of the video, int64 `(L,)`."""
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


def _ratings(context, segment_frames, class_ids) -> np.ndarray:
    """Rows of start, class and score, int64 `(R, 3)`."""
    columns = {
        name: np.array(_values(context, name, kind))
        for name, kind in RATING_FIELDS.items()
    }
    if len({len(column) for column in columns.values()}) > 1:
        sizes = [len(column) for column in columns.values()]
        raise BadRecord(
            "segment_scores",
            "A rating must have a value in each of the lists "
            f"{', '.join(columns)}, found lists of {sizes}: write them with "
            "`data.write_shard`.",
        )
    starts, _, classes, scores = columns.values()
    rated = {*zip(starts, classes, strict=True)}
    agree = len({*zip(starts, classes, scores, strict=True)}) == len(rated)
    valid = classes >= 0 if class_ids is None else np.isin(classes, class_ids)
    on_grid = (starts >= 0) & (starts % segment_frames == 0)
    start = f"start at a multiple of {segment_frames} (see `FrameSpec`)"
    label = "be of a class of the task (add it to `segment_label_ids.csv`)"
    for field, good, rule in (
        ("segment_start_times", on_grid, start),
        ("segment_labels", valid, label),
        ("segment_scores", np.isin(scores, (0, 1)), "have a score of 0 or 1"),
        ("segment_scores", agree, "agree with others of its segment and class"),
    ):
        if not np.all(good):
            found = columns[field].tolist()
            raise BadRecord(field, f"A rating must {rule}, found {found}.")
    ratings = [starts, classes, scores]
    return np.stack(ratings, axis=1, dtype=np.int64, casting="unsafe")
