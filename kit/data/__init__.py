"""Shards -> batches: videos, rated segments, every segment, ratings.

Features stay uint8 from the disk to the device; the model dequantises them.
Frames are picked before they are copied, so that five frames of a video cost
little more than reading its record.  Much of that is done ahead by a process
of its own, on Linux, where the machine has a second core and the shards, local
ones, have 256 MB together.  `write_shard` makes shards of arrays.

Every reader takes the same options:

    shards: From `list_shards`, or any list of paths (local or `gs://`).
    spec: What a frame, a video and a segment look like.
    batch_size: Examples a batch.
    holdout, part: Which videos, see `kit.splits`.
    shuffle: Whether each epoch has its own order.  Shards are permuted, eight
        are read in turn, and a buffer of up to 16,384 examples (256 MB) mixes
        them.  The order is a pure function of `seed` and the epoch.
    seed, first_epoch: The seed of every random choice, and the number of the
        first epoch; to go on after a stop, give the epoch to go on with.
    repeat: Whether to go on with the next epoch for ever.  Batches then
        run across the end of an epoch.
    drop_remainder: Whether to drop a last batch that is not full, so that
        shapes are static; by default where `repeat` is set.
    with_ids: Whether to add the video ids as a third element.
    on_error: `"stop"` raises on the first bad record or file, naming file,
        record and field (inside a `tf.data` pipeline, as TensorFlow's
        `InvalidArgumentError` with that message).  `"skip"` leaves out the
        records that are bad and what follows damage in a file, and warns at
        the end of each pass with the counts of each file.  A `Report` does
        the same and keeps the counts.
"""

from kit.data.readers import (
    HOLDOUT,
    YOUTUBE_8M,
    rated_segments,
    ratings,
    segments,
    videos,
)
from kit.data.shards import Report, list_shards
from kit.data.vocabulary import read_segment_classes, read_vocabulary
from kit.data.writer import write_shard

__all__ = [
    "HOLDOUT",
    "YOUTUBE_8M",
    "Report",
    "list_shards",
    "rated_segments",
    "ratings",
    "read_segment_classes",
    "read_vocabulary",
    "segments",
    "videos",
    "write_shard",
]
