"""Reading shards and packs: what a training step waits for.

The reference is the usual reader of YouTube-8M kits: parse the record, turn
all frames into float32 on the host, pad them to 300.  It is given the same
parallel map, batching and prefetching.  All figures are videos (or snippets)
a second with the files in the page cache; of several rounds, taken in turn,
the best of each side counts, since anything else on the machine only slows.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from kit import data, pack
from kit.spec import YOUTUBE_8M
from tests.benchmarks.report import options, ratio, table
from tests.shards import Record, write

NUM_CLASSES = 3862
BATCH = 128


def read_snippets(argv):
    """Five random frames of each video, shuffled."""

    def ours(shards, given):
        snippets = data.Snippets(
            shards, YOUTUBE_8M, NUM_CLASSES, contiguous=False, batch_size=BATCH
        )
        return lambda number: snippets.epoch(number, given.videos // BATCH)

    _compare("read-snippets: 5 random frames, uint8", argv, ours)


def read_videos(argv):
    """All frames of each video, padded."""

    def ours(shards, given):
        videos = data.videos(shards, YOUTUBE_8M, BATCH, num_classes=NUM_CLASSES)
        return lambda number: videos

    _compare("read-videos: all frames, uint8, padded", argv, ours)


def read_packed(argv):
    """Packed snippets of five frames, shuffled, against videos."""

    def ours(shards, given):
        folder, classes = Path(shards[0]).parent / "pack", range(NUM_CLASSES)
        pack.pack_snippets(
            shards, folder, YOUTUBE_8M, NUM_CLASSES, given.snippets
        )
        snippets = pack.Pack(folder, classes, batch_size=BATCH)
        steps = 4 * len(snippets) // BATCH  # four times, to hide the start
        return lambda number: snippets.epoch(number, steps)

    title = "read-packed: snippets of 5 frames, shuffled, against videos"
    _compare(title, argv, ours, videos=800, snippets=100)


def _compare(title, argv, ours, **sizes):
    given = options(argv, **{"videos": 6400, "rounds": 5} | sizes)
    with tempfile.TemporaryDirectory() as folder:
        shards = write_shards(folder, given.videos, labels=3)
        size = sum(map(os.path.getsize, shards)) / given.videos
        lengths = tf.data.TFRecordDataset(shards).map(tf.strings.length)
        raw = lengths.batch(BATCH)  # the records alone, not even parsed
        others = {"raw records": raw, "reference": float_videos(shards)}
        epoch = ours(shards, given)
        results = best(
            given.rounds, lambda number: {**others, "ours": epoch(number)}
        )
    most = results["raw records"][0]
    rows = [
        [name, f"{speed:,.0f}", speed / most, f"{core:.1f}"]
        for name, (speed, core) in results.items()
    ]
    header = ["", "examples/s", "share of raw", "core us"]
    table(f"{title}; {size / 1e3:.0f} kB a record", header, rows)
    ratio(results["ours"][0] / results["reference"][0])


def best(rounds, sides) -> dict[str, tuple[float, float]]:
    """The most examples a second of each side, and the least core time.

    Args:
        rounds: How often each is measured, in turn.
        sides: Function of the number of a round: data sets by their names.

    Returns:
        By the same names, examples a second of one pass, its start included,
        and microseconds of processor, of all cores, that an example took.
    """
    results = {}
    for number in range(rounds):
        for name, dataset in sides(number).items():
            start, processor = time.perf_counter(), time.process_time()
            count = sum(len(tf.nest.flatten(batch)[0]) for batch in dataset)
            speed = count / (time.perf_counter() - start)
            core = (time.process_time() - processor) / count * 1e6
            most, least = results.get(name, (0.0, np.inf))
            results[name] = max(speed, most), min(core, least)
    return results


def write_shards(folder, count, shards=4, least=120, labels=0) -> list[str]:
    """Videos of true size: `least` to 300 frames of 1,024 and 128 bytes."""
    rng = np.random.default_rng(0)

    def videos(shard):
        for number in range(shard, count, shards):
            frames = int(rng.integers(least, 301))
            yield Record(
                video_id=f"{number:04d}".encode(),
                rgb=[rng.bytes(1024) for _ in range(frames)],
                audio=[rng.bytes(128) for _ in range(frames)],
                labels=rng.choice(NUM_CLASSES, labels, False).tolist() or None,
            )

    split = "train" if labels else "test"
    paths = [Path(folder, f"{split}{n:04d}.tfrecord") for n in range(shards)]
    return [write(path, videos(shard)) for shard, path in enumerate(paths)]


def float_videos(shards):
    """Parse, dequantise to float32 and pad to 300 frames on the host."""

    def parse(record):
        one = tf.io.FixedLenFeature([], tf.string)
        several = tf.io.FixedLenSequenceFeature([], tf.string)
        context, lists = tf.io.parse_single_sequence_example(
            record,
            {"id": one, "labels": tf.io.VarLenFeature(tf.int64)},
            {"rgb": several, "audio": several},
        )
        blocks = [
            tf.cast(tf.io.decode_raw(lists[name], tf.uint8), tf.float32)
            for name in ("rgb", "audio")
        ]
        blocks = [block * (4 / 255) + (4 / 512 - 2) for block in blocks]
        frames = tf.concat(blocks, axis=1)
        count = tf.shape(frames)[0]
        frames = tf.pad(frames, [[0, 300 - count], [0, 0]])
        frames.set_shape([300, 1152])
        labels = tf.sparse.to_indicator(context["labels"], NUM_CLASSES)
        return frames, count, labels

    records = tf.data.TFRecordDataset(shards)
    videos = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    return videos.batch(BATCH).prefetch(2)
