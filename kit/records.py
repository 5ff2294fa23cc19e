"""One record of a shard: what it holds, and what can be wrong with it."""

import functools
from typing import NamedTuple

import numpy as np

from kit.spec import FrameSpec

RATING_FIELDS = (
    "segment_start_times",
    "segment_end_times",
    "segment_labels",
    "segment_scores",
)
_UNRATED = (
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0, np.int8),
)


class Video(NamedTuple):
    """One checked record.

    Attributes:
        video_id: The id, as bytes.
        labels: Vocabulary ids of the video's labels, int64 `(L,)`.
        rgb: Visual features, uint8 `(T, rgb)`; a view of the record.
        audio: Audio features, uint8 `(T, audio)`; a view of the record.
        starts: First frame of each rated segment, int64 `(R,)`.
        classes: Vocabulary id that was rated there, int64 `(R,)`.
        scores: The verdict, int8 `(R,)`: 1 yes, 0 no.
    """

    video_id: bytes
    labels: np.ndarray
    rgb: np.ndarray
    audio: np.ndarray
    starts: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    @property
    def num_frames(self) -> int:
        return len(self.rgb)


class BadRecord(ValueError):
    """A record that breaks a rule: `field` and `problem` say which."""

    def __init__(self, field: str, problem: str):
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def parse(record, spec: FrameSpec, num_classes=None, class_ids=None) -> Video:
    """Reads and checks one serialized `tf.train.SequenceExample`.

    No frame is copied or decoded: a record as every known writer lays it out
    keeps its frames at a fixed distance, so that `rgb` and `audio` are
    strided views of its bytes, and the caller copies the frames it wants.  A
    record laid out otherwise takes the slow way through protobuf.

    Args:
        record: The bytes of one record.
        spec: What a frame looks like.  A size of 0 leaves that feature out,
            whether the record has it or not.
        num_classes: Where given, video labels must lie below it.
        class_ids: Where given, rated classes must be among these ids.

    Raises:
        BadRecord: Where the record breaks a rule.
    """
    context, blocks = _split(record)
    video_id = _video_id(context)
    parts = {}
    for name, width in (("rgb", spec.rgb), ("audio", spec.audio)):
        if width:
            parts[name] = _frames(name, blocks, width, context)
    counts = {name: len(frames) for name, frames in parts.items()}
    count = next(iter(counts.values()))
    if len(set(counts.values())) > 1:
        raise BadRecord(
            "audio", f"`rgb` and `audio` must have as many frames: {counts}."
        )
    if not 0 < count <= spec.max_frames:
        raise BadRecord(
            next(iter(counts)),
            f"A video must have 1 to {spec.max_frames} frames, found {count}.",
        )
    nothing = np.empty((count, 0), np.uint8)
    return Video(
        video_id,
        _labels(context, num_classes),
        parts.get("rgb", nothing),
        parts.get("audio", nothing),
        *_ratings(context, spec, class_ids),
    )


def _split(record):
    """The context (a protobuf message) and the frame blocks of a record.

    A block is either `(buffer, start, end)`, the serialized frames, or the
    list of the frames themselves where the layout is uncommon.
    """
    import tensorflow as tf

    try:
        top = _fields(record, 0, len(record))
        blocks = {}
        for entry in _repeated(record, *top[2]):
            pair = _fields(record, *entry)
            name = record[slice(*pair[1])].decode()
            if name in blocks:
                raise KeyError(name)
            blocks[name] = (record, *pair[2])
        context = record[slice(*top[1])]
    except (IndexError, KeyError, UnicodeDecodeError):
        example = _message(tf.train.SequenceExample, record)
        lists = example.feature_lists.feature_list
        return example.context.feature, {
            name: _values_of_frames(lists[name]) for name in lists
        }
    return _message(tf.train.Features, context).feature, blocks


def _message(kind, content):
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(content)
    except DecodeError:
        raise BadRecord(
            "record", "A record must be a serialized tf.train.SequenceExample."
        ) from None


def _values_of_frames(feature_list) -> list[tuple[bytes, ...]]:
    return [tuple(frame.bytes_list.value) for frame in feature_list.feature]


def _repeated(buffer, at, end):
    """Ranges of the field 1 of a message that holds nothing else."""
    while at < end:
        number, start, at = _field(buffer, at, end)
        if number != 1:
            raise IndexError(number)
        yield start, at


def _fields(buffer, at, end):
    """Field number -> range, of a message with each field once."""
    found = {}
    while at < end:
        number, start, at = _field(buffer, at, end)
        if number in found:
            raise IndexError(number)
        found[number] = (start, at)
    return found


def _field(buffer, at, end):
    """The length-delimited field at `at`: its number, start and end."""
    number, kind = divmod(buffer[at], 8)
    size, shift = 0, 0
    while True:
        at += 1
        size |= (buffer[at] & 127) << shift
        shift += 7
        if buffer[at] < 128:
            break
    at += 1
    if kind != 2 or number not in (1, 2) or at + size > end:
        raise IndexError(at)
    return number, at, at + size


def _frames(name, blocks, width, context):
    """The frames of one feature list, uint8 `(T, width)`."""
    if name not in blocks:
        if "mean_rgb" in context or "mean_audio" in context:
            raise BadRecord(
                name,
                "This is a video-level shard, one mean a video, and frames "
                "are needed: download the frame-level partition, 2/frame "
                "(video labels) or 3/frame (segment ratings), in its place.",
            )
        raise BadRecord(name, f"A record must have the feature `{name}`.")
    block = blocks[name]
    if isinstance(block, tuple):
        frames = _strided(*block, width)
        if frames is not None:
            return frames
        import tensorflow as tf

        buffer, start, end = block
        block = _values_of_frames(
            _message(tf.train.FeatureList, buffer[start:end])
        )
    for at, values in enumerate(block):
        sizes = [len(value) for value in values]
        if sizes != [width]:
            raise BadRecord(
                name,
                f"A frame must be {width} bytes, frame {at} has {sizes}. Give "
                "the `FrameSpec` of these files if they are meant to differ.",
            )
    joined = b"".join(values[0] for values in block)
    return np.frombuffer(joined, np.uint8).reshape(-1, width)


def _strided(buffer, start, end, width):
    """A view of the frames where each has the same header, else None."""
    header = _header(width)
    stride = len(header) + width
    if (end - start) % stride:
        return None
    block = np.frombuffer(buffer, np.uint8, end - start, start)
    block = block.reshape(-1, stride)
    if block[:, : len(header)].tobytes() != header * len(block):
        return None
    return block[:, len(header) :]


@functools.cache
def _header(width: int) -> bytes:
    """What stands before each frame: `Feature.bytes_list.value`, three
    lengths inside one another, each after the tag of field 1."""
    header = b""
    for _ in range(3):
        number, size = width + len(header), bytearray()
        while number > 127:
            size.append(number & 127 | 128)
            number >>= 7
        header = b"\n" + bytes([*size, number]) + header
    return header


def _values(context, name, kind):
    """The values of a context feature; none where it is absent."""
    if name not in context:
        return ()
    found = context[name].WhichOneof("kind")
    if found not in (kind, None):
        raise BadRecord(name, f"`{name}` must be a {kind}, found a {found}.")
    return getattr(context[name], kind).value


def _video_id(context) -> bytes:
    old = "video_id" in context and "id" not in context
    name = "video_id" if old else "id"
    values = _values(context, name, "bytes_list")
    if len(values) != 1 or not values[0]:
        raise BadRecord(
            name, f"A record must have one `id` or `video_id`: {list(values)}."
        )
    try:
        values[0].decode()
    except UnicodeDecodeError as error:
        raise BadRecord(
            name, f"An id must be UTF-8, found {values[0]!r}."
        ) from error
    if b"\0" in values[0]:
        # NumPy's byte strings end at a zero byte.
        raise BadRecord(name, f"An id cannot hold a zero byte: {values[0]!r}.")
    return values[0]


def _labels(context, num_classes) -> np.ndarray:
    labels = list(_values(context, "labels", "int64_list"))
    top = 2**31 if num_classes is None else num_classes
    if labels and not 0 <= min(labels) <= max(labels) < top:
        raise BadRecord(
            "labels",
            f"A label must lie in the vocabulary, 0 to {top - 1}, found "
            f"{labels}: give the `num_classes` of these files.",
        )
    return np.array(labels, np.int64)


def _ratings(context, spec, class_ids):
    """Starts, classes and scores of the ratings: each `(R,)`."""
    if not any(name in context for name in RATING_FIELDS):
        return _UNRATED
    starts, ends, classes, scores = (
        np.asarray(_values(context, name, kind), dtype)
        for name, kind, dtype in zip(
            RATING_FIELDS,
            ("int64_list", "int64_list", "int64_list", "float_list"),
            (np.int64, np.int64, np.int64, np.float32),
            strict=True,
        )
    )
    sizes = [len(starts), len(ends), len(classes), len(scores)]
    if len(set(sizes)) > 1:
        raise BadRecord(
            "segment_scores",
            f"{', '.join(RATING_FIELDS)} must be equally long: {sizes}.",
        )
    step = spec.segment_frames
    if np.any((starts < 0) | (starts % step != 0) | (starts >= 2**31)):
        raise BadRecord(
            "segment_start_times",
            f"A segment must start at 0 or a multiple of {step}, found "
            f"{starts.tolist()}.",
        )
    if not np.isin(scores, (0, 1)).all():
        raise BadRecord(
            "segment_scores", f"A score must be 0 or 1: {scores.tolist()}."
        )
    if np.any((classes < 0) | (classes >= 2**31)) or (
        class_ids is not None and not np.isin(classes, class_ids).all()
    ):
        raise BadRecord(
            "segment_labels",
            "A rated class must be in the vocabulary, found "
            f"{classes.tolist()}: give every rated class in `class_ids`.",
        )
    return _merged(starts, classes, scores.astype(np.int8))


def _merged(starts, classes, scores):
    """The ratings with repeated ones counted once; they must agree."""
    if len(starts) < 2:
        return starts, classes, scores
    pairs, first = np.unique(
        np.stack([starts, classes]), axis=1, return_index=True
    )
    if len(first) == len(starts):
        return starts, classes, scores
    both = np.stack([starts, classes, scores])
    if np.unique(both, axis=1).shape[1] > pairs.shape[1]:
        raise BadRecord(
            "segment_scores", "Two ratings of a segment and class must agree."
        )
    first.sort()
    return starts[first], classes[first], scores[first]
