"""Everything around the model: read, cut, average, collect, save, submit.

The loop is that of notebook 4, and the model costs nothing: it hands out
probabilities that were drawn before.  Some true-size shards of a dozen videos,
as the test split has them, are read over and over under new ids, so that 12 GB
need not lie on the disk.  What was collected is written on the way, as it is in
a run of hours.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from kit import data, inference, submission
from kit.ranking import Ranking, TopK
from kit.spec import FrameSpec
from tests.benchmarks.read import write_shards
from tests.benchmarks.report import options, peak_gib, ratio, table

SPEC = FrameSpec()
CLASS_IDS = range(1000)
VIDEOS = 44_700  # of the test split, with 2.06 M segments
VIDEOS_A_SHARD = 12
MINUTES, GIB = 5, 3  # to stay below


class FreeModel:
    """Stands in for a model, and computes nothing."""

    output_shape = (None, len(CLASS_IDS))
    predict_function = run_eagerly = True

    def __init__(self):
        rng = np.random.default_rng(0)
        self.scores = rng.random((8192, len(CLASS_IDS)), np.float32) ** 8
        self.calls = 0

    def predict_on_batch(self, inputs):
        # Another stretch each time, so that no two batches are alike.
        self.calls += 1
        size = len(inputs["mask"])
        first = self.calls * 97 % (len(self.scores) - size)
        return self.scores[first : first + size]


def rank_segments(argv):
    """The whole way from shards to a submission, against what is allowed."""
    given = options(argv, videos=VIDEOS, save_every=60.0)
    with tempfile.TemporaryDirectory() as folder:
        written = write_shards(folder, 64 * VIDEOS_A_SHARD, 64, least=160)
        count = -(-given.videos // VIDEOS_A_SHARD)
        shards = [written[i % len(written)] for i in range(count)]
        start = time.perf_counter()
        # Of a slice, all that costs time is scaled down alike.
        scale = VIDEOS / given.videos
        inference.resume.TURNS = max(1, round(inference.resume.TURNS / scale))
        top = TopK(CLASS_IDS, round(100_000 / scale))
        place = Path(folder, "ranked")
        ranking = rank(FreeModel(), top, shards, place, given.save_every)
        ranked = time.perf_counter() - start
        submission.write_csv(ranking, Path(folder, "submission.csv"))
        whole = time.perf_counter() - start
    limits = ["at most", "", "", 60.0 * MINUTES, float(GIB)]
    seconds = ranked * scale, (whole - ranked) * scale, whole * scale
    table(
        f"{len(ranking.starts):,} segments x 3 shifts x 1,000 classes"
        + (f"; times as of {VIDEOS:,} videos" if scale > 1 else ""),
        ["", "rank s", "submit s", "all s", "peak GiB"],
        [["ours", *seconds, peak_gib()], limits],
    )
    ratio(60 * MINUTES / (whole * scale))


def rank(model, top, shards, folder, save_every):
    """The loop of notebook 4, under new ids each time a shard is read."""
    shifts, ids_read = (-1, 0, 1), 0
    about = {"shifts": shifts}
    loop = inference.remaining({"tta": top}, shards, folder, about, save_every)
    for some in loop:
        videos = data.videos(some, SPEC, with_ids=True)
        for inputs, ids in videos.as_numpy_iterator():
            windows, rows, starts = inference.shifted_windows(
                inputs, SPEC, shifts
            )
            scores = inference.predict(model, windows).mean(axis=0)
            ids = [f"{ids_read + i:04x}" for i in range(len(ids))]
            ids_read += len(ids)
            top.add(scores, np.array(ids, "S")[rows], starts)
    return Ranking.load(folder / "tta")
