"""Reading: what a training step waits for.

The reference is the usual reader of YouTube-8M kits: parse the record, turn
all frames into float32 on the host, pad them to 300.  It is given the same
parallel map, batching and prefetching.  All figures are videos (or snippets)
a second with the files in the page cache; of several rounds, taken in turn,
the best of each side counts, since anything else on the machine only slows.
A pass takes half a second and more, or its start, 35 ms of TensorFlow's, would
be a quarter of it.
"""

import argparse
import glob
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from kit import data, pack
from tests.benchmarks.report import ratio, table
from tests.shards import Record

NUM_CLASSES = 3862


def read_snippets(argv):
    """Five random frames of each video."""

    def ours(shards):
        return data.videos(
            shards, num_classes=NUM_CLASSES, num_frames=5, sampling="frames"
        )

    _compare("read-snippets: 5 random frames, uint8", argv, ours)


def read_videos(argv):
    """All frames of each video, padded."""

    def ours(shards):
        return data.videos(shards, num_classes=NUM_CLASSES)

    _compare("read-videos: all frames, uint8, padded", argv, ours)


def read_packed(argv):
    """Packed snippets, shuffled; 200 a video, to hide the start."""

    def ours(shards):
        folder = os.path.join(os.path.dirname(shards[0]), "pack")
        pack.pack_snippets(shards, folder, snippets=200, progress=False)
        return pack.Snippets(folder).batches(
            num_classes=NUM_CLASSES, shuffle=True
        )

    _compare("read-packed: packed snippets, shuffled", argv, ours, videos=1600)


def _compare(title, argv, ours, videos=6400):
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--videos", type=int, default=videos)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        shards = _write_shards(folder, options.videos)
        size = sum(map(os.path.getsize, shards)) / options.videos
        sides = {
            "raw records": _raw(shards),
            "reference": _reference(shards),
            "ours": ours(shards),
        }
        best, used = dict.fromkeys(sides, 0.0), dict.fromkeys(sides, np.inf)
        for _ in range(options.rounds):
            for name, dataset in sides.items():
                speed, processor = _measure(dataset)
                best[name] = max(best[name], speed)
                used[name] = min(used[name], processor)
    header = ["", "examples/s", "MB/s of records", "share of raw", "core us"]
    rows = [
        [
            name,
            f"{speed:,.0f}",
            speed * size / 1e6,
            speed / best["raw records"],
            f"{used[name] * 1e6:.0f}",
        ]
        for name, speed in best.items()
    ]
    table(title, header, rows)
    if "packed" in title:
        print("For a pack, MB/s counts the records it stands in for.")
    ratio(best["ours"] / best["reference"])


def _measure(dataset) -> tuple[float, float]:
    """Examples a second of one pass, its start included, and the seconds of
    processor, of all cores together, that an example took."""
    start, processor, count = time.perf_counter(), _processor(), 0
    for batch in dataset:
        count += len(tf.nest.flatten(batch)[0])
    seconds = time.perf_counter() - start
    return count / seconds, (_processor() - processor) / count


def _processor() -> float:
    """Seconds of processor of this process and, on Linux, its children."""
    total = time.process_time()
    for path in glob.glob("/proc/self/task/*/children"):
        for child in Path(path).read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1]
            ticks = sum(map(int, fields.split()[11:13]))
            total += ticks / os.sysconf("SC_CLK_TCK")
    return total


def _write_shards(folder, count, shards=4):
    """Videos of true size: 120 to 300 frames of 1,024 and 128 bytes."""
    rng = np.random.default_rng(0)
    made = []
    for at in range(count):
        frames = int(rng.integers(120, 301))
        made.append(
            Record(
                video_id=f"{at:04d}".encode(),
                rgb=[rng.bytes(1024) for _ in range(frames)],
                audio=[rng.bytes(128) for _ in range(frames)],
                labels=rng.choice(NUM_CLASSES, 3, replace=False).tolist(),
            )
        )
    base = tf.io.gfile.join(folder, "train")
    os.makedirs(base)
    paths = []
    for shard in range(shards):
        path = os.path.join(base, f"train{shard:04d}.tfrecord")
        with tf.io.TFRecordWriter(path) as writer:
            for one in made[shard::shards]:
                writer.write(one.serialized())
        paths.append(path)
    return paths


def _raw(shards):
    """The records alone, not even parsed."""
    return tf.data.TFRecordDataset(shards).map(tf.strings.length).batch(128)


def _reference(shards):
    """Parse, dequantise to float32 and pad to 300 frames on the host."""

    def parse(record):
        context, lists = tf.io.parse_single_sequence_example(
            record,
            {
                "id": tf.io.FixedLenFeature([], tf.string),
                "labels": tf.io.VarLenFeature(tf.int64),
            },
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
        .batch(128)
        .prefetch(2)
    )
