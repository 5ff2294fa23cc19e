"""Writes shards for tests, independently of `kit.data` and `kit.sample`.

The records are built by `tf.train.SequenceExample` and written by
`tf.io.TFRecordWriter`; what they hold is kept as plain arrays, so that a test
can say what a reader must return.
"""

from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from kit.spec import FrameSpec

TINY = FrameSpec(rgb=8, audio=4, max_frames=20, segment_frames=5)


@dataclass
class Record:
    """What a record holds, as given; nothing here checks anything."""

    video_id: bytes
    rgb: list
    audio: list
    labels: list | None = None
    starts: list = ()
    classes: list = ()
    scores: list = ()
    id_key: str = "id"
    lists: tuple = ("rgb", "audio")

    def but(self, **changes):
        return replace(self, **changes)

    @property
    def frames(self):
        """All frames side by side, uint8 `(T, D)`."""
        rows = zip(self.rgb, self.audio, strict=True)
        return np.array([list(r + a) for r, a in rows], np.uint8)

    @property
    def ratings(self):
        """Rows of start, class and score."""
        return list(zip(self.starts, self.classes, self.scores, strict=True))

    def serialized(self) -> bytes:
        context = {self.id_key: _bytes([self.video_id])}
        if self.labels is not None:
            context["labels"] = _ints(self.labels)
        if len(self.starts):
            context["segment_start_times"] = _ints(self.starts)
            context["segment_end_times"] = _ints([s + 5 for s in self.starts])
            context["segment_labels"] = _ints(self.classes)
            scores = tf.train.FloatList(value=self.scores)
            context["segment_scores"] = tf.train.Feature(float_list=scores)
        lists = {}
        for name in self.lists:
            frames = [_bytes([frame]) for frame in getattr(self, name)]
            lists[name] = tf.train.FeatureList(feature=frames)
        return tf.train.SequenceExample(
            context=tf.train.Features(feature=context),
            feature_lists=tf.train.FeatureLists(feature_list=lists),
        ).SerializeToString()


def _bytes(values):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _ints(values):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def records(count, seed=0, rated=True, prefix="v", classes=range(10)):
    """Random videos of ten labels; ids differ for different prefixes.

    Some ratings, which are of `classes`, lie beyond the last frame.
    """
    rng = np.random.default_rng(seed)
    videos = []
    for number in range(count):
        length = int(rng.integers(2, TINY.max_frames + 1))
        pairs = {
            (5 * int(rng.integers(5)), classes[rng.integers(len(classes))])
            for _ in range(int(rng.integers(0, 5)) if rated else 0)
        }
        pairs = sorted(pairs)
        labels = rng.choice(10, rng.integers(1, 4), replace=False)
        video = Record(
            video_id=f"{prefix}{number:03d}".encode(),
            rgb=[rng.bytes(TINY.rgb) for _ in range(length)],
            audio=[rng.bytes(TINY.audio) for _ in range(length)],
            labels=labels.tolist(),
            starts=[start for start, _ in pairs],
            classes=[class_id for _, class_id in pairs],
            scores=[int(rng.integers(2)) for _ in pairs],
        )
        videos.append(video)
    return videos


def write(path, videos) -> str:
    """Writes records (or their bytes) to one shard and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for video in videos:
            plain = isinstance(video, bytes)
            writer.write(video if plain else video.serialized())
    return str(path)


def rows(dataset):
    """The rows of a dataset as tuples of NumPy values, batches undone."""
    examples = []
    for batch in dataset.as_numpy_iterator():
        examples += list(zip(*tf.nest.flatten(batch), strict=True))
    return examples


def check_bag(frames, mask, video):
    """A bag `(N, T, D)` has windows of a video, each from its own stretch."""
    length, count = frames.shape[1], len(video)
    filled = min(len(frames), -(-count // 5))  # a window a segment
    choices = max(count - length, 0) + 1
    assert not mask[filled:].any()
    for number, (window, real) in enumerate(zip(frames, mask, strict=True)):
        if number < filled:
            assert real.sum() == min(count, length) and real[: real.sum()].all()
            first, last = (choices * (number + i) // filled for i in (0, 1))
            runs = (video[s : s + length] for s in range(first, last + 1))
            assert any(np.array_equal(window[real], run) for run in runs)
