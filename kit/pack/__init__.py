"""Packs: shards read once, and then many times at the speed of the disk.

A pack is a folder of plain arrays, two files a shard, and a header,
`pack.json`, that says what was packed and of which shards.

    snippets: a few random runs of frames of each video, with its labels. A
        run of 5 frames takes 5.8 KB, so that one snippet of each of the 3.9 M
        training videos takes 22 GB. The paper trains on 25.6 M examples:
        of 4 snippets a video (90 GB) each is seen about 1.6 times, of 1 (22
        GB) 6.6 times.
    segments: the rated segments with their ratings, 1.4 GB in all; with two
        frames of context on each side, as the notebooks pack them, 2.5 GB.

A shard is read once, in one pass, checked as by `data.check([shard])`, and not
needed after that. From the bucket no shard touches the disk:

    shards = data.list_shards("gs://youtube8m-ml/2/frame/train", "train")
    pack.pack_snippets(shards, "/content/snippets", spec, num_classes=3862)

From a download each shard can go as soon as it is packed, so that 1.5 TB pass
through a disk that never holds them:

    for name in names:
        path = download(name)
        pack.pack_snippets([path], "snippets", spec, num_classes=3862)
        os.remove(path)

The files of a shard appear when they are whole. Packing that was cut off, even
by a kill, goes on where it stopped when it is started again, and the pack ends
up the same, byte for byte. Shards are known by their paths, and more can be
added later. One process packs into a folder at a time.

A pack holds all videos; the readers take the `part` that they are asked for.
"""

from kit.pack.packing import pack_segments, pack_snippets
from kit.pack.reading import Pack, Rated
