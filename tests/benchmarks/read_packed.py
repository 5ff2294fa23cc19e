"""Reading a pack: what pre-training waits for.

The reference is the usual reader of YouTube-8M kits: parse the record, turn
all frames into float32 on the host, pad them to 300, with a parallel map and
prefetching. Both are in the page cache; of several rounds, taken in turn, the
best of each side counts, since anything else on the machine only slows.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from kit import data, pack
from kit.spec import YOUTUBE_8M
from tests.benchmarks.report import ratio, table

NUM_CLASSES = 3862
BATCH = 128


def read_packed(argv):
    """Packed snippets, shuffled, against videos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=800)
    parser.add_argument("--snippets", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        shards = _write_shards(folder, options.videos)
        packed = Path(folder, "pack")
        pack.pack_snippets(
            shards, packed, YOUTUBE_8M, NUM_CLASSES, options.snippets
        )
        snippets = pack.Snippets(packed, NUM_CLASSES, batch_size=BATCH)
        steps = 4 * len(snippets) // BATCH
        rows = {}
        for number in range(options.rounds):
            sides = {
                "reference": _reference(shards),
                "ours": snippets.epoch(number, steps),
            }
            for name, dataset in sides.items():
                measured = *_measure(dataset), rows.get(name, (0, np.inf))
                speed, processor, (best, least) = measured
                rows[name] = max(speed, best), min(processor, least)
    table(
        "read-packed: snippets of 5 frames, shuffled, against videos",
        ["", "examples/s", "core us an example"],
        [
            [name, f"{speed:,.0f}", f"{seconds * 1e6:.1f}"]
            for name, (speed, seconds) in rows.items()
        ],
    )
    ratio(rows["ours"][0] / rows["reference"][0])


def _measure(dataset) -> tuple[float, float]:
    """Examples a second, start included, and seconds of processor for one."""
    start, processor, count = time.perf_counter(), time.process_time(), 0
    for batch in dataset:
        count += len(tf.nest.flatten(batch)[0])
    seconds = time.perf_counter() - start
    return count / seconds, (time.process_time() - processor) / count


def _write_shards(folder, count, shards=4) -> list[str]:
    """Videos of true size: 120 to 300 frames of 1,024 and 128 bytes."""
    rng = np.random.default_rng(0)

    def videos(shard):
        for number in range(shard, count, shards):
            shape = rng.integers(120, 301), YOUTUBE_8M.dim
            labels = rng.choice(NUM_CLASSES, 3, replace=False)
            frames = rng.integers(256, size=shape, dtype=np.uint8)
            yield {"id": f"{number:04d}", "frames": frames, "labels": labels}

    return [
        data.write_shard(
            Path(folder, f"train{shard:04d}.tfrecord"),
            videos(shard),
            YOUTUBE_8M,
        )
        for shard in range(shards)
    ]


def _reference(shards):
    """Parse, dequantise to float32 and pad to 300 frames on the host."""

    def parse(record):
        context, lists = tf.io.parse_single_sequence_example(
            record,
            {"labels": tf.io.VarLenFeature(tf.int64)},
            {
                "rgb": tf.io.FixedLenSequenceFeature([], tf.string),
                "audio": tf.io.FixedLenSequenceFeature([], tf.string),
            },
        )
        frames = tf.concat(
            [
                tf.cast(tf.io.decode_raw(lists[name], tf.uint8), tf.float32)
                * (4 / 255)
                + (4 / 512 - 2)
                for name in ("rgb", "audio")
            ],
            axis=1,
        )
        count = tf.shape(frames)[0]
        frames = tf.pad(frames, [[0, 300 - count], [0, 0]])
        frames.set_shape([300, 1152])
        labels = tf.sparse.to_indicator(context["labels"], NUM_CLASSES)
        return frames, count, labels

    return (
        tf.data.TFRecordDataset(shards)
        .map(parse, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(BATCH)
        .prefetch(2)
    )
