"""Shards -> packs; see `kit.pack`."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np

from kit.data.batches import Example, Source, check_whole
from kit.data.readers import HOLDOUT, YOUTUBE_8M, pick, rated_windows
from kit.data.shards import Report, SeenIds
from kit.pack.reader import HEADER, read_header
from kit.pack.writer import Writer
from kit.spec import FrameSpec
from kit.splits import Holdout

MOST_BLOCKS = 256


def pack_snippets(shards, folder, *, snippets: int = 4, **options) -> dict:
    """Packs random runs of `spec.segment_frames` frames of each video.

    Each snippet goes to a random one of the blocks, so that a block mixes all
    shards.

    Args:
        shards: Paths, or an iterator of paths; those packed are skipped.
        folder: Where the pack is, or goes on.
        snippets: Runs a video.
        options: See the module.

    Returns:
        The header.

    Raises:
        ValueError: For bad arguments, bad input, and a folder that holds
            another pack.
    """
    check_whole("snippets", snippets, 1)

    def cut(video, spec, rng):
        yes = np.ones(len(video.labels), np.int8)
        for _ in range(snippets):
            at = pick(video.num_frames, spec.segment_frames, "run", rng)
            rgb, audio, start = video.rgb[at], video.audio[at], int(at[0])
            yield Example(
                rgb, audio, 0, video.labels, yes, video.video_id, start
            )

    made = {"kind": "snippets", "snippets": snippets, "context": 0}
    return _pack(shards, folder, cut, made, **options)


def pack_segments(shards, folder, *, context: int = 0, **options) -> dict:
    """Packs the rated segments, with `context` frames each side.

    The rest is as for `pack_snippets`.
    """
    check_whole("context", context, 0)

    def cut(video, spec, rng):
        return rated_windows(video, spec, context)

    made = {"kind": "segments", "context": context}
    return _pack(shards, folder, cut, made, **options)


def packed_shards(folder) -> set[str]:
    """The shards that a pack, finished or not, already holds."""
    if not os.path.exists(os.path.join(folder, HEADER)):
        return set()
    return set(read_header(folder)["shards"])


def _pack(
    shards,
    folder,
    cut: Callable,
    made: dict,
    *,
    spec: FrameSpec = YOUTUBE_8M,
    holdout: Holdout = HOLDOUT,
    part: str = "all",
    seed: int = 0,
    num_blocks: int | None = None,
    on_error="stop",
    on_packed: Callable | None = None,
    progress: bool = True,
) -> dict:
    """One pass: each shard is written, then entered in the header."""
    import keras

    shards = [shards] if isinstance(shards, str) else shards
    total = len(shards) if hasattr(shards, "__len__") else None
    if num_blocks is None:
        num_blocks = min(total or MOST_BLOCKS, MOST_BLOCKS)
    check_whole("num_blocks", num_blocks, 1)
    check_whole("seed", seed, 0)
    found = Source((), spec, holdout, part, Report.of(on_error))
    made = {
        **made,
        "length": spec.segment_frames + 2 * made["context"],
        "spec": dataclasses.asdict(spec),
        "part": part,
        "holdout": dataclasses.asdict(holdout),
        "seed": seed,
        "blocks": num_blocks,
    }
    writer = Writer(folder, made)
    bar = keras.utils.Progbar(total, unit_name="shard", verbose=int(progress))
    seen = SeenIds(writer.ids())
    with found.reading() as records:
        for path in map(str, shards):
            if path not in writer.header["shards"]:
                done = len(writer.header["shards"])
                rng = np.random.default_rng([seed, done])
                for video in found.read(path, seen, records):
                    writer.add(cut(video, spec, rng), video.video_id, rng)
                writer.shard_done(path, found.report, rng)
                if on_packed is not None:
                    on_packed(path)
            bar.add(1)
    found.report.finish()
    return writer.finish()
