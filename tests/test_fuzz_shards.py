"""Files damaged at random: a shard is read as it was, and its damage named."""

import random

import numpy as np
import tensorflow as tf

from kit import data
from tests.shards import TINY, records, write

VIDEOS = records(8, seed=3)
# Where a record ends.  A file cut exactly there is a whole TFRecord file, and
# no reader can tell that there was more of it.
ENDS = np.cumsum([len(video.serialized()) + 16 for video in VIDEOS]).tolist()
WAYS = "flip overwrite delete insert repeat zero truncate append".split()


def damaged(content, way, chance):
    """`content` with one to 40 bytes of it changed, or cut off anywhere."""
    start = chance.randrange(len(content))
    old = content[start : start + chance.randint(1, 40)]
    noise = chance.randbytes(len(old))
    if way == "truncate":
        return content[: start + (start in ENDS)]
    if way == "append":
        return content + noise
    new = {
        "flip": bytes([old[0] ^ 1 << chance.randrange(8)]) + old[1:],
        "overwrite": noise,
        "delete": b"",
        "insert": noise + old,
        "repeat": old + old,
        "zero": bytes(len(old)),
    }
    return content[:start] + new[way] + content[start + len(old) :]


def outcomes(shards):
    """What `data.videos` gives, example by example: a tuple or an error.

    An iterator goes on with the next record after an error.
    """
    options = {"num_classes": 10, "with_ids": True}
    iterator = iter(data.videos(shards, TINY, 1, **options))
    results = []
    while True:
        try:
            inputs, targets, video_ids = next(iterator)
            frames = inputs["frames"][inputs["mask"]].numpy()
            labels = np.flatnonzero(targets[0]).tolist()
            results.append((video_ids[0].numpy(), frames.tobytes(), labels))
        except StopIteration:
            return results
        except tf.errors.OpError as error:
            results.append(error.message)


def contents(video):
    """What both readers give of a video."""
    return video.video_id, video.frames.tobytes(), sorted(video.labels)


def test_damaged_files(tmp_path):
    """Whatever is read is the true beginning of the file, never other data,
    and its end is told by file and record, by both readers."""
    shards, counts = [write(tmp_path / "train.tfrecord", VIDEOS)], [(8, False)]
    original = (tmp_path / "train.tfrecord").read_bytes()
    for number in range(8 * len(WAYS)):
        way = WAYS[number % len(WAYS)]
        content = damaged(original, way, random.Random(number))
        path = tmp_path / f"{way}{number}.tfrecord"
        path.write_bytes(content)
        problems = []
        videos = list(data.read_shard(path, TINY, 10, None, problems))
        for found, video in zip(videos, VIDEOS, strict=False):
            assert contents(found) == contents(video), path
            assert list(map(tuple, found.ratings.tolist())) == video.ratings
        if content == original:
            assert len(videos) == len(VIDEOS) and not problems
        else:
            ((name, record, field, _),) = problems
            assert name == str(path) and record == len(videos)
            assert field == "record"
        shards.append(str(path))
        counts.append((len(videos), bool(problems)))
    assert sum(bad for _, bad in counts) > 50
    results = iter(outcomes(shards))
    for path, (count, bad) in zip(shards, counts, strict=True):
        for video in VIDEOS[:count]:
            assert next(results) == contents(video), path
        if bad:
            assert f"file={path!r}, record={count}, " in next(results)
    assert not list(results)
