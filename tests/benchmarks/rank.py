"""Everything around the model: read, cut, average, collect, save.

The model costs nothing: it hands out probabilities that were drawn before.
The reference is the same path with one shift, since a video is read once for
all of them.  At full size (`--videos 44700`) this ranks 2.06 M segments for
1,000 classes and needs 12 GB of scratch for the shards.
"""

import argparse
import os
import resource
import tempfile
import time

import numpy as np

from kit import inference, layers, submission
from kit.spec import FrameSpec
from tests.benchmarks.report import ratio, table
from tests.shards import Record

NUM_CLASSES = 1000
VIDEOS_A_SHARD = 12


class FreeModel:
    """Looks like a model of the kit and computes nothing."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.drawn = rng.random((4096, NUM_CLASSES), np.float32) ** 8
        ids = list(range(NUM_CLASSES))
        self.layers = [
            layers.FrameFeatures(FrameSpec()),
            layers.ClassProbabilities(ids),
        ]
        self.calls = 0

    def get_weights(self):
        return [self.drawn]

    def predict_on_batch(self, inputs):
        rows = len(inputs["mask"])
        # Another stretch each time, so that no two batches are alike.
        self.calls += 1
        start = self.calls * 97 % (len(self.drawn) - rows)
        return self.drawn[start : start + rows]


def rank_segments(argv):
    """Three shifts against one, and the whole path end to end."""
    parser = argparse.ArgumentParser(description=rank_segments.__doc__)
    parser.add_argument("--videos", type=int, default=3000)
    parser.add_argument("--k", type=int, default=100_000)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        shards = _write_shards(folder, options.videos)
        rows, seconds = [], {}
        # Twice, in turn: the first run pays for cold files and fresh memory.
        for shifts in ((0, 0), (-1, 1)) * 2:
            begin = time.perf_counter()
            ranked = inference.rank_segments(
                FreeModel(), shards, shifts=shifts, k=options.k, plain=False
            )["tta"]
            read = time.perf_counter() - begin
            submission.write_csv(ranked, os.path.join(folder, "all.csv"))
            whole = time.perf_counter() - begin
            seconds[shifts] = min(whole, seconds.get(shifts, whole))
            segments = len(ranked.starts)
            del ranked
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            rows.append(
                [str(shifts), segments, read, whole - read, segments / whole,
                 peak]
            )  # fmt: skip
    header = ["shifts", "segments", "rank s", "write s", "segments/s",
              "peak GiB"]  # fmt: skip
    table("rank-segments: all but the model", header, rows)
    print(
        "three shifts cost "
        f"{seconds[-1, 1] / seconds[0, 0]:.2f} times one shift (wanted: 1.15)"
    )
    ratio(seconds[0, 0] / seconds[-1, 1])


def _write_shards(folder, count):
    """True-size shards of a dozen videos each, as the test split has them."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    spec = FrameSpec()
    shape = (spec.max_frames, spec.dim)
    rgb, audio = np.split(
        rng.integers(0, 256, shape, np.uint8), [spec.rgb], axis=1
    )
    rgb, audio = ([row.tobytes() for row in part] for part in (rgb, audio))
    paths = []
    for first in range(0, count, VIDEOS_A_SHARD):
        paths.append(os.path.join(folder, f"test{first:06d}.tfrecord"))
        with tf.io.TFRecordWriter(paths[-1]) as writer:
            for video in range(first, min(first + VIDEOS_A_SHARD, count)):
                length = int(rng.integers(160, spec.max_frames + 1))
                writer.write(
                    Record(
                        f"{video:04x}".encode(),
                        rgb[:length],
                        audio[:length],
                    ).serialized()
                )
    return paths
