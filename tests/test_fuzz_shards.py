"""Damaged at random, a shard is read as it was, refused, or left out."""

import random

import numpy as np
import pytest
import tensorflow as tf

from kit import data
from kit.data.records import RATING_FIELDS, BadRecord, parse
from tests.shards import TINY, records, write

VIDEOS = records(8, seed=3)
BYTES = [video.serialized() for video in VIDEOS]
# Where a record ends.  A file cut exactly there is a whole TFRecord file, and
# no reader can tell that there was more of it.
ENDS = set(np.cumsum([len(record) + 16 for record in BYTES]).tolist())


def flip(content, chance):
    index = chance.randrange(len(content))
    content[index] ^= 1 << chance.randrange(8)


def overwrite(content, chance):
    index = chance.randrange(len(content))
    count = min(8, len(content) - index)
    content[index : index + count] = chance.randbytes(count)


def truncate(content, chance):
    index = chance.randrange(len(content))
    del content[index + (index in ENDS) :]


def delete(content, chance):
    index = chance.randrange(len(content))
    del content[index : index + chance.randint(1, 40)]


def insert(content, chance):
    index = chance.randrange(len(content))
    content[index:index] = chance.randbytes(chance.randint(1, 40))


def repeat(content, chance):
    index = chance.randrange(len(content))
    content[index:index] = content[index : index + chance.randint(1, 400)]


def zero(content, chance):
    index = chance.randrange(len(content))
    count = min(chance.randint(1, 64), len(content) - index)
    content[index : index + count] = bytes(count)


def append(content, chance):
    content += chance.randbytes(chance.randint(1, 30))


MUTATIONS = [flip, overwrite, truncate, delete, insert, repeat, zero, append]


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
    """What is to be read of a video."""
    return video.video_id, video.frames.tobytes(), sorted(video.labels)


def test_damaged_files(tmp_path):
    """Whatever is read is the true beginning of the file, never other data,
    and its end is told by file and record, by both readers."""
    whole = write(tmp_path / "train.tfrecord", VIDEOS)
    original = (tmp_path / "train.tfrecord").read_bytes()
    shards, counts, refused = [whole], [], 0
    for number in range(8 * len(MUTATIONS)):
        content = bytearray(original)
        mutation = MUTATIONS[number % len(MUTATIONS)]
        mutation(content, random.Random(number))
        path = tmp_path / f"{mutation.__name__}{number}.tfrecord"
        path.write_bytes(content)
        problems = []
        videos = list(data.read_shard(path, TINY, 10, None, problems))
        for found, video in zip(videos, VIDEOS, strict=False):
            assert same(found, video), path
        if bytes(content) == original:
            assert len(videos) == len(VIDEOS) and not problems
        else:
            refused += 1
            ((name, record, field, _),) = problems
            assert name == str(path) and record == len(videos)
            assert field == "record"
        shards.append(str(path))
        counts.append((len(videos), bool(problems)))
    assert refused > 50
    results = iter(outcomes(shards))
    for path, (count, bad) in zip(shards, [(8, False), *counts], strict=True):
        for video in VIDEOS[:count]:
            assert next(results) == contents(video), path
        if bad:
            assert f"file={path!r}, record={count}, " in next(results)
    assert not list(results)


def same(found, video):
    """Whether a read video is what was written, to the last byte."""
    ratings = zip(found.starts, found.classes, found.scores, strict=True)
    return (
        contents(video)
        == (found.video_id, found.frames.tobytes(), sorted(found.labels))
        and list(ratings) == video.ratings
    )


def oracle(content):
    """A record as protobuf itself understands it."""
    example = tf.train.SequenceExample.FromString(content)
    context = example.context.feature
    lists = example.feature_lists.feature_list
    frames = [
        b"".join(pair)
        for pair in zip(
            *(
                [frame.bytes_list.value[0] for frame in lists[name].feature]
                for name in ("rgb", "audio")
            ),
            strict=True,
        )
    ]
    key = "id" if "id" in context else "video_id"
    ratings = [
        getattr(context[name], kind).value if name in context else []
        for name, kind in RATING_FIELDS.items()
    ]
    starts, _, classes, scores = ratings
    return (
        context[key].bytes_list.value[0],
        list(context["labels"].int64_list.value),
        b"".join(frames),
        list(zip(starts, classes, scores, strict=True)),
    )


def changed(content, chance):
    """A record with a bit, or rarely more, of it changed."""
    content = bytearray(content)
    others = [overwrite, delete, insert, repeat, zero]
    chance.choice([flip] * 10 + others)(content, chance)
    return bytes(content)


@pytest.fixture(scope="module")
def forged():
    """300 records whose bytes changed before their checksum was made."""
    chance = random.Random(1)
    return [changed(chance.choice(BYTES), chance) for _ in range(300)]


def checked(content):
    """A record as `parse` takes it, or what it says of it."""
    try:
        return parse(content, TINY, 10)
    except BadRecord as bad:
        assert bad.field and bad.problem
        return bad


def test_forged_records_are_read_as_protobuf_reads_them(forged):
    kept = 0
    for content in forged:
        video = checked(content)
        if isinstance(video, BadRecord):
            continue
        kept += 1
        video_id, labels, frames, ratings = oracle(content)
        assert video.video_id == video_id
        assert video.labels.tolist() == labels
        assert video.frames.tobytes() == frames
        found = zip(video.starts, video.classes, video.scores, strict=True)
        assert list(found) == ratings
    assert 50 < kept < 280


def test_the_graph_takes_the_same_forged_records(forged, tmp_path):
    """Or says which it does not take.  At ratings, and names in what is no
    text, it never looks, and gives the video as it was."""
    path = write(tmp_path / "train.tfrecord", [BYTES[0], *forged])
    originals = list(map(contents, VIDEOS))
    results = outcomes([path])
    assert len(results) == len(forged) + 1
    kept = 0
    for number, content in enumerate(forged, 1):
        video, result = checked(content), results[number]
        if isinstance(result, str):
            # TensorFlow names the record, but where a feature has two lists.
            ours = f"file={path!r}, record={number}, field="
            theirs = f"{path} record {number}", "number of elements in feature"
            assert any(words in result for words in (ours, *theirs))
        elif isinstance(video, BadRecord):
            assert video.field in {*RATING_FIELDS, "record"}
            assert result in originals
        else:
            kept += 1
            labels = sorted({*video.labels.tolist()})
            assert result == (video.video_id, video.frames.tobytes(), labels)
    assert kept > 50
