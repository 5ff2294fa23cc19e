"""Shards -> packs; see `kit.pack`."""

import dataclasses
import os
from collections.abc import Callable, Iterator

import numpy as np

from kit.data.batches import Example
from kit.data.readers import HOLDOUT, YOUTUBE_8M, pick, rated_windows
from kit.data.shards import Report
from kit.data.source import Source, check_whole, class_columns
from kit.data.writer import check_local
from kit.pack.header import HEADER, read_header
from kit.pack.writer import Writer, locked
from kit.spec import FrameSpec
from kit.splits import Holdout

MOST_BLOCKS = 256


def pack_snippets(
    shards,
    folder,
    *,
    snippets: int = 4,
    num_classes: int | None = None,
    **options,
) -> dict:
    """Packs random runs of `spec.segment_frames` frames of each video.

    Each snippet goes to a random one of the blocks, so that a block mixes all
    shards.

    Args:
        shards: A path, paths, or an iterator of paths; those packed before
            are skipped.
        folder: Where the pack is, or goes on; a local path.
        snippets: Runs a video.
        num_classes: Size of the vocabulary; a label outside it is an error.
        options: See the module.

    Returns:
        The header.

    Raises:
        ValueError: For bad arguments, bad input, and a folder that holds
            another pack or that another process packs into.
    """
    check_whole("snippets", snippets, 1)
    if num_classes is not None:
        check_whole("num_classes", num_classes, 1)
        num_classes = int(num_classes)

    def cut(video, spec, rng):
        yes = np.ones(len(video.labels), np.int8)
        for _ in range(snippets):
            at = pick(video.num_frames, spec.segment_frames, "run", rng)
            rgb, audio, start = video.rgb[at], video.audio[at], int(at[0])
            yield Example(
                rgb, audio, 0, video.labels, yes, video.video_id, start
            )

    made = {"kind": "snippets", "snippets": int(snippets), "context": 0}
    known = {"num_classes": num_classes}
    return _pack(shards, folder, cut, made, known, **options)


def pack_segments(
    shards, folder, *, context: int = 0, class_ids=None, **options
) -> dict:
    """Packs the rated segments, with `context` frames each side.

    A rated class outside `class_ids` is an error.  The rest is as for
    `pack_snippets`.
    """
    check_whole("context", context, 0)
    if class_ids is not None:
        class_columns(class_ids)  # checks them
        class_ids = np.sort(class_ids).tolist()

    def cut(video, spec, rng):
        return rated_windows(video, spec, context)

    made = {"kind": "segments", "context": int(context)}
    known = {"class_ids": class_ids}
    return _pack(shards, folder, cut, made, known, **options)


def packed_shards(folder) -> set[str]:
    """The shards that a pack, finished or not, already holds."""
    if not os.path.exists(os.path.join(folder, HEADER)):
        return set()
    return set(read_header(folder)["shards"])


def finish(folder) -> dict:
    """Finishes a pack of which a run that was cut off had packed all shards.

    Returns:
        The header.

    Raises:
        ValueError: Where there is no pack, or it lacks shards.
    """
    read_header(folder)
    folder = os.fspath(folder)
    with locked(folder):
        return Writer(folder, {}).finish()


def _pack(
    shards,
    folder,
    cut: Callable,
    made: dict,
    known: dict,
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
    from tensorflow.io import gfile

    folder = check_local(folder)
    if isinstance(shards, str | os.PathLike):
        shards = [shards]
    total = len(shards) if hasattr(shards, "__len__") else None
    if num_blocks is None:
        num_blocks = _blocks(folder, total)
    check_whole("num_blocks", num_blocks, 1)
    check_whole("seed", seed, 0)
    source = Source((), spec, holdout, part, Report.of(on_error), **known)
    fraction, salt = float(holdout.fraction), int(holdout.seed)
    made = {
        **made,
        **known,
        "length": spec.segment_frames + 2 * made["context"],
        "spec": dataclasses.asdict(spec),
        "part": part,
        "holdout": {"fraction": fraction, "seed": salt},
        "seed": int(seed),
        "blocks": int(num_blocks),
    }
    with locked(folder):
        writer = Writer(folder, made)
        bar = keras.utils.Progbar(
            total, unit_name="shard", verbose=int(progress)
        )
        if total != 0:
            names = total and {*writer.header["shards"], *map(str, shards)}
            writer.header["planned"] = names and len(names)
        for path, new in _filled(writer, source, map(str, shards), cut):
            # A run may have been cut off before it let go of its last shard.
            if on_packed is not None and (new or gfile.exists(path)):
                on_packed(path)
            bar.add(1)
        return writer.finish()


def _blocks(folder, total) -> int:
    """Those of a pack to go on with; of a new one, one a shard."""
    if os.path.exists(os.path.join(folder, HEADER)):
        return read_header(folder)["blocks"]
    return min(total or MOST_BLOCKS, MOST_BLOCKS)


def _filled(writer, source, shards, cut) -> Iterator[tuple[str, bool]]:
    """Packs the shards that are not yet packed; yields each, and if it was."""
    header, done = writer.header, writer.header["shards"]
    before = set(done)
    source.report.start()
    for path in shards:
        if path not in before:
            rng = np.random.default_rng([header["seed"], len(done)])
            for video in source.read(path, writer.ids):
                examples = cut(video, source.spec, rng)
                writer.add(examples, video.video_id, rng)
            writer.shard_done(path, source.report, rng)
        yield path, path not in before
    source.report.finish()
