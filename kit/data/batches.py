"""Shards -> batches by `tf.data`: whole videos in order, or random snippets.

A record is checked in the graph by a handful of conditions. Where one fails,
`kit.data.records` reads that record once more in Python and says what is wrong
with it: one set of rules, whose remedies are the same everywhere.
"""

import os

import numpy as np

from kit.data.reading import (
    check,
    examine,
    problem_list,
    quiet_options,
    read_shard,
    warn_left_out,
)
from kit.data.records import ID_PATTERN
from kit.data.shards import as_paths
from kit.spec import FrameSpec
from kit.splits import EVERY_VIDEO, Part

OPEN_SHARDS = 8
PARALLEL = max(2, os.cpu_count() or 2)
BUFFER_EXAMPLES = 16_384
BUFFER_BYTES = 256 * 2**20


def videos(
    shards,
    spec: FrameSpec,
    batch_size: int = 32,
    part: Part = EVERY_VIDEO,
    num_classes: int | None = None,
    with_ids: bool = False,
    on_error: str = "stop",
):
    """Whole videos in the order of the shards, padded and masked.

    Args:
        shards: From `list_shards`, or any list of paths (local or `gs://`).
        spec: What a frame and a video look like.
        batch_size: Videos a batch; the last one may have fewer.
        part: Which videos, see `kit.splits`.
        num_classes: Size of the vocabulary, where labels are wanted.
        with_ids: Whether to add the video ids.
        on_error: `"stop"` at the first bad record, or `"skip"`: `check` reads
            the shards first, what is bad is left out, and a warning says how
            much that is.

    Returns:
        A `tf.data.Dataset` of `(inputs[, targets][, video_ids])`, of `inputs`
        alone where nothing is added: `{"frames": uint8 (B, max_frames, D),
        "mask": bool (B, max_frames)}`, targets int8 `(B, num_classes)`, 1 for
        a video's labels and 0 elsewhere, and video ids `(B,)`.

    Raises:
        ValueError: For bad arguments, or where the first record is bad. A
            bad record met later raises an error of TensorFlow that says the
            same: rule, remedy, file, record number and field.
    """
    import tensorflow as tf

    check_whole("batch_size", batch_size, 1)
    reader = Reader(shards, spec, num_classes, part, on_error)
    paths = tf.data.Dataset.from_tensor_slices(reader.paths)
    records = paths.flat_map(reader.records).enumerate()
    examples = reader.examples(records, lambda lists, count, index: lists)
    dataset = reader.batches(examples, batch_size, spec.max_frames)

    def select(inputs, labels, video_ids):
        batch = [inputs]
        if num_classes is not None:
            batch.append(multi_hot(labels, num_classes))
        if with_ids:
            batch.append(video_ids)
        return tuple(batch) if len(batch) > 1 else inputs

    return dataset.map(select).prefetch(2).with_options(quiet_options())


class Snippets:
    """Random snippets of videos and their labels, for pre-training.

    An epoch has as many batches as you ask for, each video giving one snippet
    a pass over the shards; where they end sooner, they are read again, in
    another order and with other snippets. All of it is a pure function of
    `(seed, epoch)`. Shards are permuted, eight are read in turn, and a buffer
    of up to 16,384 snippets (256 MB) mixes them.

    Args:
        shards: From `list_shards`, or any list of paths (local or `gs://`).
        spec: What a frame looks like.
        num_classes: Size of the vocabulary; a label outside it is an error.
        num_frames: Frames a snippet; a shorter video is padded and masked.
        contiguous: Whether the frames are a run, or each is drawn on its own,
            without replacement, in the order of time.
        part: Which videos, see `kit.splits`.
        batch_size: Snippets a batch.
        seed: The seed of every random choice.
        on_error: `"stop"` at the first bad record, or `"skip"`: `check` reads
            the shards first, what is bad is left out, and a warning says how
            much that is.

    Raises:
        ValueError: For bad arguments, or where the shards hold no video of
            the part.

    Example:

    >>> snippets = Snippets(shards, YOUTUBE_8M, 3862)  # doctest: +SKIP
    >>> model.fit(snippets.epoch(0, steps=200))  # doctest: +SKIP
    """

    def __init__(
        self,
        shards,
        spec: FrameSpec,
        num_classes: int,
        num_frames: int = 5,
        contiguous: bool = True,
        part: Part = EVERY_VIDEO,
        batch_size: int = 128,
        seed: int = 0,
        on_error: str = "stop",
    ):
        check_whole("num_classes", num_classes, 1)
        check_whole("num_frames", num_frames, 1)
        check_whole("batch_size", batch_size, 1)
        check_whole("seed", seed, 0)
        self.reader = Reader(shards, spec, num_classes, part, on_error)
        self.reader.require_video()
        self.num_frames = num_frames
        self.contiguous = contiguous
        self.batch_size = batch_size
        self.seed = seed

    def epoch(self, epoch: int, steps: int):
        """The batches of an epoch.

        Args:
            epoch: Number of the epoch, from 0.
            steps: Batches an epoch.

        Returns:
            A `tf.data.Dataset` of `steps` batches `({"frames": uint8 (B, T,
            D), "mask": bool (B, T)}, targets int8 (B, num_classes))`, B and T
            static.
        """
        import tensorflow as tf

        check_whole("epoch", epoch, 0)
        check_whole("steps", steps, 1)
        state = np.random.SeedSequence([self.seed, epoch]).generate_state(3)
        order, choice, mix = state.tolist()

        def one_pass(number):
            paths = tf.random.experimental.stateless_shuffle(
                self.reader.paths, [order, number]
            )
            return tf.data.Dataset.from_tensor_slices(paths).interleave(
                self.reader.records,
                cycle_length=OPEN_SHARDS,
                num_parallel_calls=OPEN_SHARDS,
            )

        def choose(lists, count, index):
            return self._choose(lists, count, [choice, index])

        records = tf.data.Dataset.range(2**62).flat_map(one_pass).enumerate()
        examples = self.reader.examples(records, choose)
        examples = examples.take(steps * self.batch_size)
        size = BUFFER_BYTES // (self.num_frames * self.reader.spec.dim) + 1
        examples = shuffled(examples, min(size, BUFFER_EXAMPLES), mix)
        dataset = self.reader.batches(
            examples, self.batch_size, self.num_frames, drop_remainder=True
        )
        dataset = dataset.map(
            lambda inputs, labels, _: (
                inputs,
                multi_hot(labels, self.reader.num_classes),
            )
        )
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
        return dataset.prefetch(2).with_options(quiet_options())

    def _choose(self, lists, count, seed):
        """The frames of a snippet, of each feature list."""
        import tensorflow as tf

        wanted = self.num_frames
        if self.contiguous:
            last = tf.maximum(count - wanted, 0)
            begin = tf.random.stateless_uniform([], seed, 0, last + 1, tf.int32)
            return [frames[begin : begin + wanted] for frames in lists]
        noise = tf.random.stateless_uniform([count], seed)
        index = tf.math.top_k(noise, tf.minimum(wanted, count)).indices
        return [tf.gather(frames, tf.sort(index)) for frames in lists]


class Reader:
    """The checked examples of a part of some shards."""

    def __init__(self, shards, spec, num_classes, part, on_error):
        self.paths = as_paths(shards)
        self.spec = spec
        self.num_classes = num_classes
        self.part = part
        self.left_out = None
        if problem_list(on_error) is None:
            next(read_shard(self.paths[0], spec, num_classes))
            return
        problems = check(self.paths, spec, num_classes)
        warn_left_out(problems.itertuples(index=False, name=None))
        self.left_out = problems.groupby("file")["record"].apply(np.array)

    def require_video(self):
        """Raises `ValueError` where the shards hold no video of the part."""
        problems = None if self.left_out is None else []
        for path in self.paths:
            for video in read_shard(
                path, self.spec, self.num_classes, problems=problems
            ):
                if self.part.select([video.video_id])[0]:
                    return
        raise ValueError(
            "The shards must hold a video of the part: give more of them, or "
            "hold out another share of the videos. "
            f"Received: part={self.part}, shards={self.paths[:3]!r}"
        )

    def records(self, path):
        """Path, number, bytes of each record and of all before it, in a file.

        At its end comes an empty record, so that `examine` sees whether the
        file was read to its end: TensorFlow's own error does not name it, and
        some cuts it takes for the end.
        """
        import tensorflow as tf

        def step(state, record):
            number, size = state
            length = tf.cast(tf.strings.length(record), tf.int64)
            after = (number + 1, size + length + 16)
            return after, (path, number, record, size)

        records = tf.data.TFRecordDataset(path).ignore_errors()
        if self.left_out is None:
            end = tf.data.Dataset.from_tensors("")
            records = records.concatenate(end)
        zero = np.int64(0)
        records = records.scan((zero, zero), step)
        if self.left_out is None:
            return records
        bad = tf.numpy_function(self._bad_numbers, [path], tf.int64)
        return records.filter(
            lambda _, number, *rest: tf.reduce_all(number != bad)
        )

    def _bad_numbers(self, path):
        return np.array(self.left_out.get(path.decode(), []), np.int64)

    def examples(self, records, choose):
        """Inputs, labels and video id of the records of the part."""

        def example(index, record):
            return self._example(index, *record, choose)

        examples = records.map(example, num_parallel_calls=PARALLEL)
        examples = examples.filter(lambda keep, *_: keep)
        return examples.map(lambda keep, *example: example)

    def _example(self, index, path, number, record, size, choose):
        import tensorflow as tf

        widths = {"rgb": self.spec.rgb, "audio": self.spec.audio}
        widths = {name: width for name, width in widths.items() if width}
        text = tf.io.RaggedFeature(tf.string)
        frames = tf.io.FixedLenSequenceFeature([], tf.string, True)
        context, lists = tf.io.parse_single_sequence_example(
            record,
            {
                "id": text,
                "video_id": text,
                "labels": tf.io.RaggedFeature(tf.int64),
            },
            dict.fromkeys(widths, frames),
            tf.strings.join([path, " record ", tf.strings.as_string(number)]),
        )
        ids = tf.concat([context["id"], context["video_id"]], axis=0)
        video_id = tf.strings.reduce_join(ids, separator=" ")
        lists = [lists[name] for name in widths]
        count = tf.size(lists[0])
        good = tf.strings.regex_full_match(video_id, ID_PATTERN)
        good &= (count > 0) & (count <= self.spec.max_frames)
        good &= count == tf.size(lists[-1])
        picked = choose(lists, count, index)
        for values, width in zip(picked, widths.values(), strict=True):
            good &= tf.reduce_all(tf.strings.length(values) == width)
        labels = context["labels"]
        if self.num_classes is not None:
            # Absent or empty: TensorFlow does not tell them apart.
            good &= tf.size(labels) > 0
            good &= tf.reduce_all((labels >= 0) & (labels < self.num_classes))
        keep = tf.cond(
            good,
            lambda: True,
            lambda: self._examine(path, number, record, size),
        )
        keep &= self.part.select(video_id)
        rows = [
            tf.io.decode_raw(values, tf.uint8, fixed_length=width)
            for values, width in zip(picked, widths.values(), strict=True)
        ]
        frames = tf.concat(rows, axis=1)
        inputs = {
            "frames": frames,
            "mask": tf.ones([tf.shape(frames)[0]], tf.bool),
        }
        return keep, inputs, labels, video_id

    def _examine(self, path, number, record, size):
        import tensorflow as tf

        def in_python(path, number, record, size):
            return examine(
                path.decode(), number, record, size, self.spec, self.num_classes
            )

        keep = tf.numpy_function(
            in_python, [path, number, record, size], tf.bool
        )
        return tf.ensure_shape(keep, [])

    def batches(self, examples, batch_size, length, drop_remainder=False):
        """Batches of inputs, labels padded with -1, and video ids."""
        return examples.padded_batch(
            batch_size,
            (
                {"frames": [length, self.spec.dim], "mask": [length]},
                [None],
                [],
            ),
            ({"frames": None, "mask": None}, np.int64(-1), None),
            drop_remainder,
        )


def multi_hot(labels, num_classes):
    """Targets int8 `(B, num_classes)` of labels `(B, L)`, padded with -1."""
    import tensorflow as tf

    rows = tf.where(labels >= 0)
    index = tf.stack([rows[:, 0], tf.gather_nd(labels, rows)], axis=1)
    shape = tf.stack([tf.shape(labels, tf.int64)[0], num_classes])
    hits = tf.scatter_nd(index, tf.ones_like(index[:, 0]), shape)
    targets = tf.cast(hits > 0, tf.int8)
    return tf.ensure_shape(targets, [labels.shape[0], num_classes])


def shuffled(dataset, size, seed):
    """`dataset.shuffle(size, seed)`, whatever the global seed is."""
    import tensorflow as tf

    def shuffle(_):
        tf.random.set_seed(seed)  # of the graph of this function alone
        return dataset.shuffle(size, seed)

    return tf.data.Dataset.range(1).flat_map(shuffle)


def check_whole(name: str, value, least: int) -> None:
    """Raises `ValueError` where an argument is no number of its kind."""
    if not isinstance(value, int | np.integer) or value < least:
        raise ValueError(
            f"`{name}` must be a whole number of at least {least}. "
            f"Received: {name}={value!r}"
        )
