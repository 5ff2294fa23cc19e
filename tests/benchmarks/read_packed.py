"""Reading a pack: what pre-training waits for.

The reference, and how both are measured, are those of `read`.
"""

import argparse
import tempfile
from pathlib import Path

from kit import pack
from kit.spec import YOUTUBE_8M
from tests.benchmarks import read
from tests.benchmarks.report import ratio, table


def read_packed(argv):
    """Packed snippets of five frames, shuffled, against videos."""
    parser = argparse.ArgumentParser(description=read_packed.__doc__)
    parser.add_argument("--videos", type=int, default=800)
    parser.add_argument("--snippets", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        shards = read.write_shards(folder, options.videos)
        packed, classes = Path(folder, "pack"), read.NUM_CLASSES
        pack.pack_snippets(
            shards, packed, YOUTUBE_8M, classes, options.snippets
        )
        snippets = pack.Pack(packed, range(classes), batch_size=read.BATCH)
        steps = 4 * len(snippets) // read.BATCH  # four times, to hide the start
        reference = read.float_videos(shards)
        results = read.best(
            options.rounds,
            lambda number: {
                "reference": reference,
                "ours": snippets.epoch(number, steps),
            },
        )
    rows = [
        [name, f"{speed:,.0f}", f"{core:.1f}"]
        for name, (speed, core) in results.items()
    ]
    title = "read-packed: snippets of 5 frames, shuffled, against videos"
    table(title, ["", "examples/s", "core us"], rows)
    ratio(results["ours"][0] / results["reference"][0])
