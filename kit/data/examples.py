"""Records as `tf.data`: read, parsed and checked in the graph.

A record is checked by a handful of conditions. Where one fails, the record
goes through `kit.data.records` in Python, which says what is wrong with it: one
set of rules, whose remedies are the same everywhere.
"""

import os

import numpy as np

from kit.data.reading import (
    FRAMING,
    check,
    examine,
    problem_list,
    read_shard,
    warn_left_out,
)
from kit.data.records import ID_PATTERN, BadRecord
from kit.data.shards import as_paths

PARALLEL = max(2, os.cpu_count() or 2)


class Examples:
    """The checked examples of a part of some shards."""

    def __init__(self, shards, spec, num_classes, part, on_error):
        self.paths = as_paths(shards)
        self.spec = spec
        sizes = {"rgb": spec.rgb, "audio": spec.audio}
        self.sizes = {name: size for name, size in sizes.items() if size}
        self.num_classes = num_classes
        self.part = part
        self.bad = problem_list(on_error)
        if self.bad is None:
            # Files of another kind are told from the first record.
            next(read_shard(self.paths[0], spec, num_classes))
        else:
            problems = check(self.paths, spec, num_classes)
            warn_left_out(problems.to_numpy().tolist())
            places = zip(problems["file"], problems["record"], strict=True)
            self.bad = [f"{path} record {number}" for path, number in places]

    def require_video(self) -> None:
        """Raises `ValueError` where the shards hold no video of the part."""
        problems = None if self.bad is None else []
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
        """Of each record its file, number, bytes before it, and itself.

        An empty record ends the file, wherever TensorFlow stops to read it,
        and `examine` says whether the file was to end there: TensorFlow's own
        error does not name it, and some cuts it takes for the end.
        """
        import tensorflow as tf

        def step(state, record):
            number, size = state
            length = tf.strings.length(record)
            after = number + 1, size + FRAMING + tf.cast(length, tf.int64)
            return after, (path, number, size, record)

        records = tf.data.TFRecordDataset(path).ignore_errors()
        if self.bad is None:
            records = records.concatenate(tf.data.Dataset.from_tensors(""))
        return records.scan((np.int64(0), np.int64(0)), step)

    def examples(self, records, choose):
        """Examples of the records of the part: true, inputs, labels, video id.

        Args:
            records: Data set of an index and one of `records`.
            choose: Function of lists of frames, their length and the index of
                the record, that returns the lists of the chosen frames.
        """
        import tensorflow as tf

        def example(index, record):
            return self._example(index, record, choose)

        if self.bad:
            records = records.filter(
                lambda _, record: tf.reduce_all(_name(record) != self.bad)
            )
        examples = records.map(example, num_parallel_calls=PARALLEL)
        return examples.filter(lambda keep, *_: keep)

    def _example(self, index, record, choose):
        import tensorflow as tf

        ids, labels, lists = self._parse(record)
        video_id = tf.strings.reduce_join(ids, separator=" ")
        counts = tf.stack([tf.size(frames) for frames in lists])
        count = tf.reduce_min(counts)
        lists = choose(lists, count, index)
        good = [
            tf.strings.regex_full_match(video_id, ID_PATTERN),
            count > 0,
            count <= self.spec.max_frames,
            tf.reduce_all(counts == count),
        ]
        if self.num_classes is not None:
            # TensorFlow does not tell an empty list from one that is absent.
            good.append(tf.size(labels) > 0)
            good.append(tf.reduce_all(labels >= 0))
            good.append(tf.reduce_all(labels < self.num_classes))
        blocks = []
        for frames, size in zip(lists, self.sizes.values(), strict=True):
            good.append(tf.reduce_all(tf.strings.length(frames) == size))
            block = tf.io.decode_raw(frames, tf.uint8, fixed_length=size)
            blocks.append(block)
        keep = tf.cond(
            tf.reduce_all(good), lambda: True, lambda: self._examine(record)
        )
        frames = tf.concat(blocks, axis=1)
        mask = tf.ones([tf.shape(frames)[0]], tf.bool)
        inputs = {"frames": frames, "mask": mask}
        return keep & self.part.select(video_id), inputs, labels, video_id

    def _parse(self, record):
        """Ids, labels and lists of frames of a record, as it has them."""
        import tensorflow as tf

        text = tf.io.RaggedFeature(tf.string)
        number = tf.io.RaggedFeature(tf.int64)
        frames = tf.io.FixedLenSequenceFeature([], tf.string, True)
        context, lists = tf.io.parse_single_sequence_example(
            record[-1],
            {"id": text, "video_id": text, "labels": number},
            dict.fromkeys(self.sizes, frames),
            example_name=_name(record),
        )
        ids = tf.concat([context["id"], context["video_id"]], axis=0)
        return ids, context["labels"], [lists[name] for name in self.sizes]

    def _examine(self, record):
        """Whether there is nothing wrong with a record; raises where there is.

        Of the end of a file it says that there is no example.
        """
        import tensorflow as tf

        def in_python(path, *record):
            rules = self.spec, self.num_classes
            try:
                return examine(path.decode(), *record, *rules) is not None
            except BadRecord as bad:
                raise bad.at(path.decode(), record[0]) from None

        return tf.ensure_shape(
            tf.numpy_function(in_python, record, tf.bool), []
        )


def _name(record):
    """What TensorFlow calls a record where it cannot parse it."""
    import tensorflow as tf

    path, number, *_ = record
    return tf.strings.join([path, " record ", tf.strings.as_string(number)])


def batch(examples, batch_size, length, drop_remainder=False):
    """Batches of examples, frames padded to `length` and labels with -1."""
    _, inputs, *_ = examples.element_spec
    dim = inputs["frames"].shape[-1]
    return examples.padded_batch(
        batch_size,
        ([], {"frames": [length, dim], "mask": [length]}, [None], []),
        (None, {"frames": None, "mask": None}, np.int64(-1), None),
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
