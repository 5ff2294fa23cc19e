"""Damaged at random, a shard is read as it was, refused, or left out."""

import os
import random
import warnings

import numpy as np
import pytest
import tensorflow as tf

from kit.data import ahead, tfrecord
from kit.data.records import RATING_FIELDS, BadRecord, parse
from kit.data.shards import Report
from kit.data.source import source
from kit.splits import Holdout
from tests.shards import TINY, records, write

MADE = records(8, seed=3)
BYTES = [one.serialized() for one in MADE]
# Where a record ends.  A file cut exactly there is a whole TFRecord file, and
# no reader can tell that there was more of it.
ENDS = set(np.cumsum([len(one) + 16 for one in BYTES]).tolist())


def flip(content, chance):
    at = chance.randrange(len(content))
    content[at] ^= 1 << chance.randrange(8)


def overwrite(content, chance):
    at = chance.randrange(len(content))
    content[at : at + 8] = chance.randbytes(min(8, len(content) - at))


def truncate(content, chance):
    at = chance.randrange(len(content))
    del content[at + (at in ENDS) :]


def delete(content, chance):
    at = chance.randrange(len(content))
    del content[at : at + chance.randint(1, 40)]


def insert(content, chance):
    at = chance.randrange(len(content))
    content[at:at] = chance.randbytes(chance.randint(1, 40))


def repeat(content, chance):
    at = chance.randrange(len(content))
    content[at:at] = content[at : at + chance.randint(1, 400)]


def zero(content, chance):
    at = chance.randrange(len(content))
    count = min(chance.randint(1, 64), len(content) - at)
    content[at : at + count] = bytes(count)


def append(content, chance):
    content += chance.randbytes(chance.randint(1, 30))


def swap(content, chance):
    size = chance.randint(1, 50)
    left = chance.randrange(len(content) - 2 * size)
    right = chance.randrange(left + size, len(content) - size)
    left, right = slice(left, left + size), slice(right, right + size)
    content[left], content[right] = content[right], content[left]


MUTATIONS = [
    flip,
    overwrite,
    truncate,
    delete,
    insert,
    repeat,
    zero,
    append,
    swap,
]


def same(video, one):
    """Whether a read video is what was written, to the last byte."""
    kept = zip(one.starts, one.classes, one.scores, strict=True)
    found = zip(
        video.starts.tolist(),
        video.classes.tolist(),
        video.scores.tolist(),
        strict=True,
    )
    return (
        video.video_id == one.video_id
        and video.labels.tolist() == list(one.labels)
        and video.rgb.tobytes() == b"".join(one.rgb)
        and video.audio.tobytes() == b"".join(one.audio)
        and list(found) == list(kept)
    )


def read(path, on_error):
    found = source([path], TINY, Holdout(), "all", on_error, num_classes=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(found.one_pass())


@pytest.fixture(params=["google_crc32c", "TensorFlow", "ahead"])
def way(request, monkeypatch):
    """Each way of verifying checksums, and a process of its own for it."""
    if request.param == "ahead":
        monkeypatch.setattr(ahead, "WORTH_BYTES", 0)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    if request.param == "TensorFlow":
        monkeypatch.setattr(tfrecord, "google_crc32c", None)
    else:
        pytest.importorskip("google_crc32c")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.__name__)
def test_damaged_files(mutation, way, tmp_path):
    """250 of each, read in every way."""
    path = tmp_path / "train.tfrecord"
    write(path, MADE)
    whole = path.read_bytes()
    refused = 0
    for seed in range(250):
        content = bytearray(whole)
        mutation(content, random.Random(seed))
        path.write_bytes(content)
        report = Report()
        found = read(str(path), report)
        # What is kept is the true beginning of the file, never other data.
        for video, one in zip(found, MADE, strict=False):
            assert same(video, one), seed
        line = report.table().iloc[0]
        assert line["kept"] == len(found) <= len(MADE)
        intact = bytes(content) == whole
        assert (line["why"] == "") == intact, (seed, line["why"])
        if intact:
            assert len(read(str(path), "stop")) == len(MADE)
            continue
        refused += 1
        with pytest.raises(ValueError, match="Received: file=.*record="):
            read(str(path), "stop")
    assert refused > 200


def oracle(content):
    """A record as protobuf itself understands it, or None."""
    try:
        example = tf.train.SequenceExample.FromString(content)
    except Exception:  # protobuf's errors have no public base
        return None
    context = example.context.feature
    lists = example.feature_lists.feature_list
    frames = {
        name: [list(one.bytes_list.value) for one in lists[name].feature]
        for name in ("rgb", "audio")
        if name in lists
    }
    key = "id" if "id" in context else "video_id"
    kinds = ("int64_list", "int64_list", "int64_list", "float_list")
    ratings = [
        list(getattr(context[name], kind).value) if name in context else []
        for name, kind in zip(RATING_FIELDS, kinds, strict=True)
    ]
    return (
        list(context[key].bytes_list.value) if key in context else [],
        list(context["labels"].int64_list.value) if "labels" in context else [],
        frames,
        {
            (at, label): score
            for at, _, label, score in zip(*ratings, strict=True)
        },
    )


def changed(content, chance):
    """A record with a bit, or rarely more, of it changed."""
    content = bytearray(content)
    other = [overwrite, delete, insert, repeat, zero]
    chance.choice([flip] * 10 + other)(content, chance)
    return bytes(content)


def test_records_with_good_checksums_and_bad_content():
    """2,000 records whose bytes changed before their checksum was made: read
    as protobuf reads them, or refused by name."""
    chance = random.Random(1)
    kept = 0
    for _ in range(2000):
        content = changed(chance.choice(BYTES), chance)
        try:
            video = parse(content, TINY, 10)
        except BadRecord as error:
            assert error.field and error.problem
            continue
        kept += 1
        ids, labels, frames, ratings = oracle(content)
        assert [video.video_id] == ids
        assert video.labels.tolist() == labels
        assert [[row.tobytes()] for row in video.rgb] == frames["rgb"]
        assert [[row.tobytes()] for row in video.audio] == frames["audio"]
        found = zip(video.starts, video.classes, video.scores, strict=True)
        assert {(at, label): score for at, label, score in found} == ratings
    assert 200 < kept < 1900


def test_a_bad_record_between_good_ones(way, tmp_path):
    """Content may be anything; the records around it are kept."""
    chance = random.Random(2)
    for at in range(300):
        content = changed(BYTES[3], chance)
        try:
            good = parse(content, TINY, 10) is not None
        except BadRecord:
            good = False
        path = write(
            tmp_path / f"train{at}.tfrecord", [*BYTES[:3], content, *BYTES[4:]]
        )
        report = Report()
        found = read(path, report)
        assert len(found) + report.table()["left_out"][0] == len(MADE)
        kept = [video for video in found if video.video_id != MADE[3].video_id]
        if not good:
            assert len(kept) == len(MADE) - 1
            others = MADE[:3] + MADE[4:]
            assert all(map(same, kept, others))
