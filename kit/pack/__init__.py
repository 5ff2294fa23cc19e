"""Packs: shards read once, and then many times at the speed of the disk.

A pack is a folder of plain arrays and one small header, `pack.json`:

    snippets: a few random runs of frames of each video, with its labels.
        One run of 5 frames takes 5.8 KB, so that all 3.9 M training videos
        take 22 GB for each snippet a video.  The paper trains on 25.6 M
        examples: 4 snippets (90 GB) see each about 1.6 times, 2 (45 GB) 3.3
        times and 1 (22 GB) 6.6 times.
    segments: the rated segments with their ratings; with 3 frames of context
        each side 3 GB for all of them.

A shard is read once, in one pass, and not needed after that, so that the
whole 1.5 TB can go through a disk that never holds it.  From the bucket no
shard touches the disk:

    shards = data.list_shards("gs://youtube8m-ml/2/frame/train", "train")
    pack.pack_snippets(shards, "/content/snippets")

From a download loop, give an iterator that fetches the next shard when it is
asked for, and have each deleted once it is packed:

    def fetched():
        for name in names:
            if name not in pack.packed_shards("snippets"):
                download(name)
            yield name

    pack.pack_snippets(fetched(), "snippets", on_packed=os.remove)

Both writers take the same options:

    spec: What a frame and a segment look like.
    holdout, part: Which videos to pack; the readers ask again.
    seed: Of the runs and of the mixing.
    num_blocks: Files to spread the rows over; by default one a shard, at most
        256, and those that are there where a pack goes on.
    on_error: See `kit.data`.  The header counts the records `left_out`, and
        says of the shards that `ended` early why.
    on_packed: Called with the path of each shard that is safely packed, by
        this run or, where it is still there, by one before.
    progress: Whether to show a progress bar.

A pack that was cut off, even by a kill, goes on after the last whole shard
when it is started again, with the shards that are left or all of them, and
ends up the same byte for byte.  Shards are known by their paths.  More can be
added in the same way, and `finish` ends a pack that has no shard left to read.
One process packs into a folder at a time.
"""

from kit.pack.header import read_header
from kit.pack.packing import (
    finish,
    pack_segments,
    pack_snippets,
    packed_shards,
)
from kit.pack.reader import Segments, Snippets

__all__ = [
    "Segments",
    "Snippets",
    "finish",
    "pack_segments",
    "pack_snippets",
    "packed_shards",
    "read_header",
]
