"""Shards -> batches by `tf.data`: whole videos in order, or random snippets."""

import math

import numpy as np

from kit.data.examples import Examples
from kit.data.reading import problem_list, quiet_options, read_shard
from kit.spec import FrameSpec
from kit.splits import EVERY_VIDEO, Part

OPEN_SHARDS = 8
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

    examples = Examples(shards, spec, num_classes, part, on_error)
    length = spec.max_frames

    def choose(lists, count, index):
        return [frames[: tf.minimum(count, length)] for frames in lists], None

    def select(_, *parts):
        parts = parts if with_ids else parts[:-1]
        return parts if len(parts) > 1 else parts[0]

    paths = tf.data.Dataset.from_tensor_slices(examples.paths)
    records = paths.flat_map(examples.records)
    batches = examples.parsed(records, length, choose).batch(batch_size)
    return batches.map(select).prefetch(2).with_options(quiet_options())


class Snippets:
    """Random snippets of videos and their labels, for pre-training.

    An epoch has as many batches as you ask for, each video giving one snippet
    a pass over the shards; where they end sooner, they are read again, in
    another order and with other snippets. All of it is a pure function of
    `(seed, epoch)`. Shards are permuted, eight are read in turn, and a buffer
    of up to 16,384 snippets or 256 MB mixes them.

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
        for value in (num_classes, num_frames, batch_size):
            if not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(
                    "Numbers of classes, frames and snippets must be whole and "
                    f"at least 1. Received: num_classes={num_classes!r}, "
                    f"num_frames={num_frames!r}, batch_size={batch_size!r}"
                )
        self.examples = Examples(shards, spec, num_classes, part, on_error)
        rules = spec, num_classes, None, problem_list(on_error), False
        videos = read_shard(shards, *rules)
        if not any(part.select([video.video_id])[0] for video in videos):
            raise ValueError(
                "The shards must hold a video of the part: give more, or "
                f"another part. Received: {part}, {self.examples.paths[:3]!r}"
            )
        self.num_frames, self.contiguous = num_frames, contiguous
        self.shape = (num_frames,)  # of the frames of an example
        self.batch_size, self.seed = batch_size, seed

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

        state = np.random.SeedSequence([self.seed, epoch]).generate_state(3)
        order, choice, mix = state.tolist()
        examples, length = self.examples, math.prod(self.shape)

        def one_pass(number):
            shuffle = tf.random.experimental.stateless_shuffle
            paths = shuffle(examples.paths, [order, number])
            paths = tf.data.Dataset.from_tensor_slices(paths)
            return paths.interleave(
                examples.records,
                cycle_length=OPEN_SHARDS,
                num_parallel_calls=OPEN_SHARDS,
            )

        def choose(lists, count, index):
            return self._choose(lists, count, [choice, index])

        records = tf.data.Dataset.range(2**62).flat_map(one_pass)
        snippets = examples.parsed(records, length, choose)
        snippets = snippets.take(steps * self.batch_size)
        room = BUFFER_BYTES // (length * examples.spec.dim) + 1
        snippets = shuffled(snippets, min(room, BUFFER_EXAMPLES), mix)
        batches = snippets.batch(self.batch_size, drop_remainder=True)
        batches = batches.map(self._batch)
        exactly = tf.data.experimental.assert_cardinality(steps)
        batches = batches.prefetch(2).apply(exactly)
        return batches.with_options(quiet_options())

    def _choose(self, lists, count, seed):
        """The frames of an example, of each feature list; see `Examples`."""
        import tensorflow as tf

        wanted = tf.minimum(self.num_frames, count)
        if self.contiguous:
            last = count - wanted
            begin = tf.random.stateless_uniform([], seed, 0, last + 1, tf.int32)
            return [frames[begin : begin + wanted] for frames in lists], None
        noise = tf.random.stateless_uniform([count], seed)
        index = tf.sort(tf.math.top_k(noise, wanted).indices)
        return [tf.gather(frames, index) for frames in lists], None

    def _batch(self, _, inputs, targets, *rest):
        """Inputs and targets of a batch, its frames in the example's shape."""
        import tensorflow as tf

        shape = self.batch_size, *self.shape
        reshaped = {
            name: tf.reshape(x, (*shape, *x.shape[2:]))
            for name, x in inputs.items()
        }
        return reshaped, targets


class Bags(Snippets):
    """Videos as bags of windows and their labels, for pre-training.

    A window is a run of frames. Those of a bag are spread over the video, each
    drawn from a stretch of its own. A video has at most as many as it has
    segments; the others are masked. All else is as in `Snippets`.

    Batches are `({"frames": uint8 (B, N, T, D), "mask": bool (B, N, T)},
    targets int8 (B, num_classes))`, for `kit.models.multiple_instance`.

    Args:
        shards, spec, num_classes: As for `Snippets`.
        num_windows: N, windows of a bag.
        options: `num_frames` of a window, `part`, `batch_size`, `seed` and
            `on_error`, as for `Snippets`.

    Raises:
        ValueError: As `Snippets`, and where a bag would have no window.
    """

    def __init__(self, shards, spec, num_classes, num_windows=8, **options):
        if not isinstance(num_windows, int | np.integer) or num_windows < 1:
            raise ValueError(
                "A bag must have a whole number of windows, at least 1. "
                f"Received: num_windows={num_windows!r}"
            )
        super().__init__(shards, spec, num_classes, contiguous=True, **options)
        self.shape = num_windows, self.num_frames

    def _choose(self, lists, count, seed):
        import tensorflow as tf

        windows, length = self.shape
        number = tf.range(windows)
        segment = self.examples.spec.segment_frames
        filled = -(-tf.maximum(count, 1) // segment)
        filled = tf.minimum(filled, windows)
        last = tf.maximum(count - length, 0)
        stretch = (last + 1) / filled  # starts that a window is drawn from
        place = tf.random.stateless_uniform([windows], seed)
        place += tf.cast(number, tf.float32)
        start = tf.cast(place * tf.cast(stretch, tf.float32), tf.int32)
        frame = tf.minimum(start, last)[:, None] + tf.range(length)
        real = (frame < count) & (number < filled)[:, None]
        index = tf.reshape(tf.minimum(frame, count - 1), [-1])
        index = index[: count * windows * length]  # a file's end has none
        chosen = [tf.gather(frames, index) for frames in lists]
        return chosen, tf.reshape(real, [-1])


def shuffled(dataset, size, seed):
    """`dataset.shuffle(size, seed)`, whatever the global seed is."""
    import tensorflow as tf

    def shuffle(_):
        tf.random.set_seed(seed)  # of the graph of this function alone
        return dataset.shuffle(size, seed)

    return tf.data.Dataset.range(1).flat_map(shuffle)
