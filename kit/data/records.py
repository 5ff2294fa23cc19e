"""One record of a shard: what it holds, and what can be wrong with it."""

from typing import NamedTuple

import numpy as np

from kit.data import wire
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


class Laid(NamedTuple):
    """A record of which it is known where its frames are.

    Attributes:
        context: Its serialized context.
        rgb, audio: The frames, uint8 `(T, rgb)` and `(T, audio)`; None where
            the spec has none.
    """

    context: bytes
    rgb: np.ndarray | None
    audio: np.ndarray | None


def parse(record, spec: FrameSpec, num_classes=None, class_ids=None) -> Video:
    """Reads and checks one serialized `tf.train.SequenceExample`.

    No frame is copied or decoded: `rgb` and `audio` are views of the record,
    see `kit.data.wire`, and the caller copies the frames it wants.

    Args:
        record: The bytes of one record, or a `Laid` one.
        spec: What a frame looks like.  A size of 0 leaves that feature out,
            whether the record has it or not.
        num_classes: Where given, video labels must lie below it.
        class_ids: Where given, rated classes must be among these ids.

    Raises:
        BadRecord: Where the record breaks a rule.
    """
    try:
        context, rgb, audio = _parts(record, spec)
    except wire.decode_error():
        raise BadRecord(
            "record", "A record must be a serialized tf.train.SequenceExample."
        ) from None
    video_id = _video_id(context)
    count = len(rgb if spec.rgb else audio)
    if spec.rgb and spec.audio and len(audio) != count:
        raise BadRecord(
            "audio",
            "`rgb` and `audio` must have as many frames: "
            f"{{'rgb': {count}, 'audio': {len(audio)}}}.",
        )
    if not 0 < count <= spec.max_frames:
        raise BadRecord(
            "rgb" if spec.rgb else "audio",
            f"A video must have 1 to {spec.max_frames} frames, found {count}.",
        )
    return Video(
        video_id,
        _labels(context, num_classes),
        rgb if spec.rgb else np.empty((count, 0), np.uint8),
        audio if spec.audio else np.empty((count, 0), np.uint8),
        *_ratings(context, spec, class_ids),
    )


def _parts(record, spec):
    """The context of a record and the frames of what the spec has."""
    if isinstance(record, Laid):
        return wire.features(record.context), record.rgb, record.audio
    context, blocks = wire.contents(record)
    rgb = spec.rgb and _frames("rgb", blocks, spec.rgb, context)
    audio = spec.audio and _frames("audio", blocks, spec.audio, context)
    return context, rgb, audio


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
    frames = wire.view(*blocks[name], width)
    if frames is not None:
        return frames
    values = wire.values(*blocks[name])
    for at, here in enumerate(values):
        sizes = [len(value) for value in here]
        if sizes != [width]:
            raise BadRecord(
                name,
                f"A frame must be {width} bytes, frame {at} has {sizes}. Give "
                "the `FrameSpec` of these files if they are meant to differ.",
            )
    joined = b"".join(here[0] for here in values)
    return np.frombuffer(joined, np.uint8).reshape(-1, width)


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
