"""Records as `tf.data`: read, parsed and checked in the graph.

A record is checked by a handful of conditions. Where one fails, the record
goes through `kit.data.records` in Python, which says what is wrong with it: one
set of rules, whose remedies are the same everywhere.
"""

import os

import numpy as np

from kit.data import reading
from kit.data.records import ID_PATTERN, BadRecord, feature_sizes
from kit.data.shards import as_paths

PARALLEL = max(2, os.cpu_count() or 2)


class Examples:
    """The examples of a part of some shards.

    Args:
        shards, spec, num_classes, part, on_error: As `kit.data.videos` takes
            them.
    """

    def __init__(self, shards, spec, num_classes, part, on_error):
        self.paths, self.part = as_paths(shards), part
        self.spec, self.num_classes = spec, num_classes
        self.sizes = feature_sizes(spec)
        self.problems = reading.problem_list(on_error)
        if self.problems is None:
            # This reports a file of another kind at once, with the remedy.
            next(reading.read_shard(self.paths[0], spec, num_classes))
        else:
            table = reading.check(self.paths, spec, num_classes)
            self.problems = table.to_numpy().tolist()
            reading.warn_left_out(self.problems)

    def records(self, path):
        """Data set of `(path, number, left, record)`, `left` in bytes.

        The last record of a file is empty and stands where TensorFlow stops
        reading.  `examine` says whether the file should end there, since
        TensorFlow's own error does not name the file, and TensorFlow takes
        some cut files for whole ones.
        """
        import tensorflow as tf

        def step(state, record):
            number, left = state
            size = tf.cast(tf.strings.length(record), tf.int64)
            size += reading.FRAMING
            return (number + 1, left - size), (path, number, left, record)

        records = tf.data.TFRecordDataset(path).ignore_errors()
        if self.problems is None:
            records = records.concatenate(tf.data.Dataset.from_tensors(""))
        # A file that is not there has no length, and would be tried for ever.
        length = tf.numpy_function(reading.file_length, [path], tf.int64)
        length = tf.ensure_shape(length, [])
        records = records.scan((np.int64(0), length), step)
        if not self.problems:
            return records
        bad = [f"{path} record {number}" for path, number, *_ in self.problems]
        return records.filter(lambda *one: tf.reduce_all(_name(*one) != bad))

    def parsed(self, records, length, choose):
        """Data set of `(True, inputs[, targets], video_id)` of the part.

        Args:
            records: Data set of what `records` gives.
            length: Frames an example, padded and masked.
            choose: Function of the lists of frames of a record, their length,
                and the index of the record in the data set.  It returns the
                lists of the chosen frames, at most `length` each, and a bool
                mask `(length,)` of the real ones, or None if all are real.
        """
        import tensorflow as tf

        def example(index, record):
            ids, labels, lists = self._parse(record)
            video_id = tf.strings.reduce_join(ids, separator=" ")
            counts = tf.stack([tf.size(frames) for frames in lists])
            count = tf.reduce_min(counts)
            chosen = choose(lists, count, index)
            inputs, sizes = self._decode(*chosen, length)
            parts = [inputs, video_id]
            good = [
                tf.strings.regex_full_match(video_id, ID_PATTERN),
                (count > 0) & (count <= self.spec.max_frames),
                tf.reduce_all(counts == count),
                *sizes,
            ]
            if self.num_classes is not None:
                inside = (labels >= 0) & (labels < self.num_classes)
                # An empty list, or none: TensorFlow does not tell them apart.
                good += [tf.size(labels) > 0, tf.reduce_all(inside)]
                hits = tf.one_hot(labels, self.num_classes, dtype=tf.int8)
                parts.insert(1, tf.minimum(tf.reduce_sum(hits, axis=0), 1))
            keep = tf.cond(
                tf.reduce_all(good), lambda: True, lambda: self._examine(record)
            )
            return keep & self.part.select(video_id), *parts

        examples = records.enumerate().map(example, num_parallel_calls=PARALLEL)
        # Without anything to compute, a filter costs nothing.
        return examples.filter(lambda keep, *_: keep)

    def _parse(self, record):
        """Ids, labels and lists of frames, as many as the record has."""
        import tensorflow as tf

        text = tf.io.RaggedFeature(tf.string)
        number = tf.io.RaggedFeature(tf.int64)
        frames = tf.io.FixedLenSequenceFeature([], tf.string, True)
        context, lists = tf.io.parse_single_sequence_example(
            record[-1],
            {"id": text, "video_id": text, "labels": number},
            dict.fromkeys(self.sizes, frames),
            example_name=_name(*record),
        )
        ids = tf.concat([context["id"], context["video_id"]], axis=0)
        return ids, context["labels"], [lists[name] for name in self.sizes]

    def _decode(self, lists, mask, length):
        """Inputs of lists of frames, and whether these have the right sizes."""
        import tensorflow as tf

        good, blocks = [], []
        for frames, size in zip(lists, self.sizes.values(), strict=True):
            good.append(tf.reduce_all(tf.strings.length(frames) == size))
            blocks.append(tf.io.decode_raw(frames, tf.uint8, fixed_length=size))
        frames = tf.concat(blocks, axis=1)
        count = tf.shape(frames)[0]
        frames = tf.pad(frames, [[0, length - count], [0, 0]])
        frames = tf.ensure_shape(frames, [length, self.spec.dim])
        if mask is None:
            mask = tf.range(length) < count
        return {"frames": frames, "mask": mask}, good

    def _examine(self, record):
        """Whether a record holds an example; raises where it is bad.

        False for the empty record at a proper end of a file.
        """
        import tensorflow as tf

        def in_python(path, number, *record):
            rules = self.spec, self.num_classes
            try:
                video = reading.examine(path, number, *record, *rules)
            except BadRecord as bad:
                raise bad.with_location(path.decode(), number) from None
            return video is not None

        good = tf.numpy_function(in_python, record, tf.bool)
        return tf.ensure_shape(good, [])


def _name(path, number, *_):
    """What TensorFlow calls a record that it cannot parse."""
    import tensorflow as tf

    return tf.strings.join([path, " record ", tf.strings.as_string(number)])
