import gc
import os
import warnings

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kit import data
from kit.data import tfrecord
from kit.spec import FrameSpec
from kit.splits import PARTS, Holdout
from tests.shards import TINY, Record, records, rows, write

CLASSES = list(range(10))


@pytest.fixture(scope="module")
def made():
    return records(40, seed=1)


@pytest.fixture(scope="module")
def shards(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [
        write(folder / "a" / f"validate{at}.tfrecord", made[at::4])
        for at in range(4)
    ]


@pytest.fixture(scope="module")
def by_id(made):
    return {one.video_id: one for one in made}


def read(shards, **options):
    options = {"num_classes": 10, "spec": TINY, "with_ids": True, **options}
    return rows(data.videos(shards, **options))


def test_all_frames_are_padded_and_masked(shards, made, by_id):
    found = read(shards, batch_size=7)
    assert [row[3] for row in found] == [
        one.video_id for at in range(4) for one in made[at::4]
    ]
    for frames, mask, targets, video_id in found:
        one = by_id[video_id]
        count = len(one.rgb)
        assert frames.dtype == np.uint8 and targets.dtype == np.int8
        assert frames.shape == (TINY.max_frames, TINY.dim)
        np.testing.assert_array_equal(frames[:count], one.frames)
        assert not frames[count:].any()
        assert mask.tolist() == [at < count for at in range(TINY.max_frames)]
        assert np.flatnonzero(targets == 1).tolist() == sorted(one.labels)
        assert set(np.unique(targets)) <= {0, 1}


@pytest.mark.parametrize("sampling", ["frames", "run"])
def test_picked_frames(shards, by_id, sampling):
    places = set()
    for frames, mask, _, video_id in read(
        shards, num_frames=6, sampling=sampling
    ):
        true = by_id[video_id].frames
        count = min(6, len(true))
        assert mask.tolist() == [at < count for at in range(6)]
        assert not frames[count:].any()
        # Random bytes: every frame is found at one place only.
        at = [np.flatnonzero((true == row).all(1)) for row in frames[:count]]
        assert all(len(one) == 1 for one in at)
        steps = np.diff(np.concatenate(at))
        assert (steps > 0).all() if sampling == "frames" else (steps == 1).all()
        places.add(int(at[0][0]))
    assert len(places) > 3


def test_every_frame_is_picked_as_often(tmp_path):
    one = records(1, seed=5)[0].but(
        rgb=[bytes([at] * 8) for at in range(8)], audio=[b"four"] * 8
    )
    same = [one.but(video_id=b"%d" % at) for at in range(3000)]
    shard = write(tmp_path / "train.tfrecord", same)
    counts = np.zeros(8)
    for frames, *_ in read(shard, num_frames=3, sampling="frames"):
        counts[frames[:, 0]] += 1
    # Each frame of the eight with probability 3/8; five standard deviations.
    assert np.abs(counts - 1125).max() < 5 * np.sqrt(3000 * 3 / 8 * 5 / 8)


def test_order_is_a_function_of_seed_and_epoch(shards):
    def order(**options):
        options = {"shuffle": True, "num_frames": 3, **options}
        found = read(shards, sampling="frames", **options)
        return [(row[3], row[0].tobytes()) for row in found]

    first = order(seed=4)
    assert first == order(seed=4)
    assert first != order(seed=5)
    assert first != order(seed=4, first_epoch=1)
    ids = [video_id for video_id, _ in first]
    assert sorted(ids) == sorted(row[3] for row in read(shards))
    assert ids != [row[3] for row in read(shards)]


def test_repeat_goes_on_with_the_next_epoch(shards):
    options = {
        "num_classes": 10,
        "spec": TINY,
        "num_frames": 2,
        "sampling": "run",
        "shuffle": True,
        "seed": 9,
        "with_ids": True,
    }
    endless = data.videos(shards, **options, repeat=True, batch_size=16)
    assert endless.element_spec[1].shape == (16, 10)
    found = rows(endless.take(5))
    once = [
        row
        for epoch in (0, 1)
        for row in rows(data.videos(shards, **options, first_epoch=epoch))
    ]
    for ours, theirs in zip(found, once, strict=True):
        for left, right in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    "drop, sizes", [(True, [16, 16]), (False, [16, 16, 8])]
)
def test_the_remainder(shards, drop, sizes):
    found = data.videos(
        shards, num_classes=10, spec=TINY, batch_size=16, drop_remainder=drop
    )
    assert [len(targets) for _, targets in found] == sizes


@pytest.mark.parametrize("context", [0, 3])
def test_rated_segments(shards, by_id, context):
    report = data.Report()
    found = rows(
        data.rated_segments(
            shards,
            class_ids=CLASSES[::-1],
            spec=TINY,
            context=context,
            with_ids=True,
            on_error=report,
        )
    )
    wanted = {
        (one.video_id, start)
        for one in by_id.values()
        for start in one.starts
        if start < len(one.rgb)
    }
    assert len(found) == len(wanted)
    assert {(row[3], row[4]) for row in found} == wanted
    for frames, mask, targets, video_id, start in found:
        one = by_id[video_id]
        _check_window(frames, mask, one.frames, start, context)
        true = np.full(10, -1)
        for at, where in enumerate(one.starts):
            if where == start:
                true[9 - one.classes[at]] = one.scores[at]
        np.testing.assert_array_equal(targets, true)
    beyond = sum(
        start >= len(one.rgb) for one in by_id.values() for start in one.starts
    )
    assert beyond > 0
    assert report.table()["beyond_last_frame"].sum() == beyond


def _check_window(frames, mask, true, start, context):
    places = np.arange(start - context, start + 5 + context)
    inside = (places >= 0) & (places < len(true))
    np.testing.assert_array_equal(mask, inside)
    np.testing.assert_array_equal(frames[mask], true[places[inside]])
    assert not frames[~mask].any()


@pytest.mark.parametrize("context", [0, 2])
def test_every_segment(shards, by_id, context):
    found = rows(data.segments(shards, spec=TINY, context=context))
    wanted = [
        (one.video_id, start)
        for at in range(4)
        for one in list(by_id.values())[at::4]
        for start in range(0, len(one.rgb), 5)
    ]
    assert [(row[2], row[3]) for row in found] == wanted
    for frames, mask, video_id, start in found:
        _check_window(frames, mask, by_id[video_id].frames, start, context)


def test_ratings(shards, by_id):
    found = data.ratings(shards, spec=TINY)
    wanted = pd.DataFrame(
        [
            (one.video_id.decode(), *rating)
            for at in range(4)
            for one in list(by_id.values())[at::4]
            for rating in zip(one.starts, one.classes, one.scores, strict=True)
        ],
        columns=["video_id", "start", "label", "score"],
    )
    pd.testing.assert_frame_equal(found, wanted)


def test_shards_without_ratings(tmp_path):
    shard = write(tmp_path / "test.tfrecord", records(3, rated=False))
    assert list(data.ratings(shard, spec=TINY).columns) == [
        "video_id",
        "start",
        "label",
        "score",
    ]
    with pytest.raises(tf.errors.InvalidArgumentError, match="3/frame/validat"):
        rows(data.rated_segments(shard, class_ids=CLASSES, spec=TINY))


def test_without_targets(shards):
    _, targets = next(iter(data.videos(shards, num_classes=None, spec=TINY)))
    assert targets.shape == (40, 0)


def test_both_dialects(made, tmp_path):
    old = [one.but(id_key="video_id") for one in made]
    paths = [
        write(tmp_path / name / "train.tfrecord", some)
        for name, some in (("old", old), ("new", made))
    ]
    for left, right in zip(*map(read, paths), strict=True):
        for ours, theirs in zip(left, right, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["rgb", "audio"])
def test_one_kind_of_feature(made, tmp_path, name):
    sizes = {"rgb": 0, "audio": 0, name: getattr(TINY, name)}
    spec = FrameSpec(**sizes, max_frames=20)
    alone = [one.but(lists=(name,)) for one in made]
    both = write(tmp_path / "both.tfrecord", made)
    shard = write(tmp_path / "one.tfrecord", alone)
    for path in (shard, both):
        for one, row in zip(made, read(path, spec=spec), strict=True):
            true = b"".join(getattr(one, name))
            assert row[0][: len(one.rgb)].tobytes() == true
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have the"):
        read(shard)


def test_uncommon_layouts_are_read_alike(made, tmp_path):
    """Protobuf allows fields in any order, twice, or with others beside."""
    plain = made[0].serialized()
    example = tf.train.SequenceExample.FromString(plain)
    head = tf.train.SequenceExample(context=example.context)
    tail = tf.train.SequenceExample(feature_lists=example.feature_lists)
    split = [tf.train.SequenceExample() for _ in range(2)]
    for part, name in zip(split, ("rgb", "audio"), strict=True):
        part.feature_lists.feature_list[name].CopyFrom(
            example.feature_lists.feature_list[name]
        )
    example.feature_lists.feature_list["depth"].feature.add()
    forms = [
        tail.SerializeToString() + head.SerializeToString(),
        b"".join(
            part.SerializeToString() for part in (split[1], head, split[0])
        ),
        plain + b"\x78\x05",  # an unknown field
        example.SerializeToString(),
    ]
    wanted = read(write(tmp_path / "plain.tfrecord", [plain]))
    for at, form in enumerate(forms):
        found = read(write(tmp_path / f"{at}.tfrecord", [form]))
        for left, right in zip(found[0], wanted[0], strict=True):
            np.testing.assert_array_equal(left, right)


class TestListShards:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in (
            "a/trainpj.tfrecord",
            "a/b/train0000.tfrecord",
            "validate/validate0Z.tfrecord",
            "test00.tfrecord",
            "train0001.tfrecord.part",
            "train.csv",
        ):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    def names(self, found):
        return [os.path.basename(path) for path in found]

    def test_a_folder(self, folder):
        found = data.list_shards(folder, "train")
        assert self.names(found) == ["train0000.tfrecord", "trainpj.tfrecord"]
        assert self.names(data.list_shards(str(folder), "validate")) == [
            "validate0Z.tfrecord"
        ]

    def test_globs_and_lists(self, folder):
        for given in (
            f"{folder}/*/train*",
            f"{folder}/?/trainpj.tfrecord",
            [f"{folder}/a/trainpj.tfrecord"],
            [folder / "a" / "trainpj.tfrecord", f"{folder}/a/*pj*"],
        ):
            assert self.names(data.list_shards(given, "train"))[-1:] == [
                "trainpj.tfrecord"
            ]
        found = data.list_shards(f"{folder}/**/train*", "train")
        assert len(found) == 2

    def test_a_folder_with_brackets_in_its_name(self, tmp_path):
        write(tmp_path / "run[1]" / "train0.tfrecord", records(1))
        assert len(data.list_shards(f"{tmp_path}/run[1]", "train")) == 1
        assert len(data.list_shards(f"{tmp_path}/run*", "train")) == 1

    def test_a_bucket(self, folder):
        # ram:// goes the way of gs://, through TensorFlow's file systems.
        tf.io.gfile.makedirs("ram://bucket/3/frame/train")
        for name in ("train00.tfrecord", "other.txt"):
            path = f"ram://bucket/3/frame/train/{name}"
            with tf.io.gfile.GFile(path, "w") as file:
                file.write("")
        for given in ("ram://bucket/3", "ram://bucket/3/frame/train/train*"):
            assert data.list_shards(given, "train") == [
                "ram://bucket/3/frame/train/train00.tfrecord"
            ]

    def test_nothing(self, tmp_path):
        for given in ([], tmp_path):
            with pytest.raises(ValueError, match=r"train\*.tfrecord.*Received"):
                data.list_shards(given, "train")

    @pytest.mark.parametrize("bad", ["nowhere", "/nowhere/*", "ram://none/*"])
    def test_a_place_that_is_not_there_beside_one_that_is(self, folder, bad):
        for given in (bad, [folder, bad]):
            with pytest.raises(ValueError, match="must be there.*Received"):
                data.list_shards(given, "train")

    def test_any_depth_of_a_bucket_by_a_glob(self, folder):
        """TensorFlow would silently look one level deep."""
        with pytest.raises(ValueError, match=r"cannot hold `\*\*`"):
            data.list_shards(f"file://{folder}/**/*.tfrecord", "train")

    def test_an_unknown_split(self, folder):
        with pytest.raises(ValueError, match=r"split='val'"):
            data.list_shards(folder, "val")


@pytest.mark.parametrize("fast", [True, False])
def test_a_remote_shard_is_read(made, monkeypatch, fast):
    if not fast:
        monkeypatch.setattr(tfrecord, "google_crc32c", None)
    path = f"ram://{fast}/train00.tfrecord"
    with tf.io.TFRecordWriter(path) as writer:
        for one in made:
            writer.write(one.serialized())
    assert len(read(path)) == 40
    with tf.io.gfile.GFile(path, "rb") as file:
        content = file.read()
    path = f"ram://{fast}/train01.tfrecord"
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content[:-9])
    with pytest.warns(UserWarning, match="kept 39 .* ended at record 39"):
        assert len(read(path, on_error="skip")) == 39


def test_csv_files(tmp_path):
    (tmp_path / "deep").mkdir()
    assert data.read_vocabulary(tmp_path) is None
    assert data.read_segment_classes(tmp_path) is None
    path = tmp_path / "deep" / "vocabulary.csv"
    path.write_text("Index,TrainVideoCount,Name\n0,5,Game\n7,3,\n9,1,NA\n")
    (tmp_path / "segment_label_ids.csv").write_text("Index\n7\n9\n")
    vocabulary = data.read_vocabulary(str(tmp_path))
    assert vocabulary["Name"].tolist() == ["Game", "", "NA"]
    assert vocabulary["Index"].tolist() == [0, 7, 9]
    assert data.read_segment_classes(tmp_path).tolist() == [7, 9]
    path.write_text("Id,Name\n0,Game\n")
    with pytest.raises(ValueError, match=r"`Index`.*vocabulary.csv"):
        data.read_vocabulary(tmp_path)


class TestHoldout:
    """No held-out video reaches training, whatever the shards are called."""

    holdout = Holdout(fraction=0.4, seed=2)

    def ids(self, shards, part):
        options = {"spec": TINY, "holdout": self.holdout, "part": part}
        return {
            "videos": {
                row[3] for row in read(shards, holdout=self.holdout, part=part)
            },
            "shuffled": {
                row[3]
                for row in read(
                    shards, holdout=self.holdout, part=part, shuffle=True
                )
            },
            "rated": {
                row[3]
                for row in rows(
                    data.rated_segments(
                        shards, class_ids=CLASSES, with_ids=True, **options
                    )
                )
            },
            "segments": {
                row[2] for row in rows(data.segments(shards, **options))
            },
            "ratings": {
                name.encode()
                for name in data.ratings(shards, **options)["video_id"]
            },
        }

    def layouts(self, made, folder):
        yield [write(folder / "2" / "trainpj.tfrecord", made)]
        yield [
            write(folder / "3" / f"validate{at:04}.tfrecord", made[::-1][at::7])
            for at in range(7)
        ]

    def test_every_reader_cuts_alike(self, made, tmp_path):
        for shards in self.layouts(made, tmp_path):
            found = {part: self.ids(shards, part) for part in PARTS}
            for reader in found["all"]:
                parts = {part: found[part][reader] for part in PARTS}
                assert not parts["training"] & parts["holdout"]
                assert not parts["checkpoint"] & parts["ensemble"]
                halves = parts["checkpoint"] | parts["ensemble"]
                assert halves == parts["holdout"]
                assert parts["training"] | parts["holdout"] == parts["all"]
                for part, ids in parts.items():
                    listed = sorted(parts["all"])
                    wanted = self.holdout.select(listed, part)
                    assert ids == set(np.array(listed)[wanted].tolist())

    def test_a_part_without_videos_is_an_error(self, shards):
        with pytest.raises(tf.errors.InvalidArgumentError, match="'holdout'"):
            read(shards, holdout=Holdout(0), part="holdout", repeat=True)


def video_level(one):
    example = tf.train.Example()
    example.features.feature["id"].bytes_list.value.append(one.video_id)
    example.features.feature["mean_rgb"].float_list.value.extend([0.5] * 8)
    return example.SerializeToString()


def wrong_kind(one):
    example = tf.train.SequenceExample.FromString(one.serialized())
    example.context.feature["labels"].float_list.value.append(1.0)
    return example.SerializeToString()


def two_values(one):
    example = tf.train.SequenceExample.FromString(one.serialized())
    frames = example.feature_lists.feature_list["rgb"]
    frames.feature[1].bytes_list.value.append(b"x" * 8)
    return example.SerializeToString()


GOOD = Record(
    video_id=b"good",
    rgb=[b"r" * 8] * 6,
    audio=[b"a" * 4] * 6,
    labels=[1],
    starts=[0, 5],
    classes=[1, 2],
    scores=[0, 1],
)
# What is wrong -> field named, words of the rule, and the record.
BAD = {
    "no rgb": ("rgb", "must have the feature", GOOD.but(lists=("audio",))),
    "no audio": ("audio", "must have the feature", GOOD.but(lists=("rgb",))),
    "short frame": (
        "rgb",
        "frame 2 has",
        GOOD.but(rgb=[b"r" * 8] * 2 + [b"r" * 7] + [b"r" * 8] * 3),
    ),
    "wide frames": ("rgb", "must be 8 bytes", GOOD.but(rgb=[b"r" * 9] * 6)),
    "two in a frame": ("rgb", "frame 1 has", two_values(GOOD)),
    "unequal": ("audio", "as many frames", GOOD.but(audio=[b"a" * 4] * 5)),
    "no frames": ("rgb", "1 to 20 frames, found 0", GOOD.but(rgb=[], audio=[])),
    "long": (
        "rgb",
        "1 to 20 frames, found 21",
        GOOD.but(rgb=[b"r" * 8] * 21, audio=[b"a" * 4] * 21),
    ),
    "label": ("labels", "in the vocabulary", GOOD.but(labels=[3, 10])),
    "negative label": ("labels", "in the vocabulary", GOOD.but(labels=[-1])),
    "labels kind": ("labels", "must be a int64_list", wrong_kind(GOOD)),
    "list lengths": ("segment_scores", "equally long", GOOD.but(scores=[1])),
    "end lengths": ("segment_scores", "equally long", GOOD.but(ends=[5])),
    "half a score": ("segment_scores", "0 or 1", GOOD.but(scores=[0, 0.5])),
    "nan score": (
        "segment_scores",
        "0 or 1",
        GOOD.but(scores=[0, float("nan")]),
    ),
    "negative start": (
        "segment_start_times",
        "multiple of 5",
        GOOD.but(starts=[-5, 0]),
    ),
    "odd start": (
        "segment_start_times",
        "multiple of 5",
        GOOD.but(starts=[0, 7]),
    ),
    "rated class": (
        "segment_labels",
        "in the vocabulary",
        GOOD.but(classes=[1, -2]),
    ),
    "ratings disagree": (
        "segment_scores",
        "must agree",
        GOOD.but(starts=[5, 5], classes=[1, 1]),
    ),
    "not UTF-8": ("id", "UTF-8", GOOD.but(video_id=b"\xff\xfe")),
    "empty id": ("id", "must have one", GOOD.but(video_id=b"")),
    "zero byte": ("id", "zero byte", GOOD.but(video_id=b"ab\0")),
    "no id": ("id", "must have one", GOOD.but(id_key="name")),
    "twice": ("id", "occur once", records(3)[0]),
    "video-level": ("rgb", "download the frame-level", video_level(GOOD)),
    "garbage": ("record", "serialized", b"\x0a\xff\xff\xff"),
}


class TestBadRecords:
    def shard(self, tmp_path, name):
        made = records(3)
        bad = BAD[name][2]
        return made, write(
            tmp_path / "train.tfrecord", [*made[:2], bad, made[2]]
        )

    @pytest.mark.parametrize("name", BAD)
    def test_it_stops_and_says_where(self, tmp_path, name):
        field, words, _ = BAD[name]
        _, shard = self.shard(tmp_path, name)
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            read(shard)
        message = caught.value.message
        assert words in message
        assert f"file='{shard}', record=2, field='{field}'" in message

    @pytest.mark.parametrize("name", BAD)
    def test_skipping_leaves_out_just_that(self, tmp_path, name):
        made, shard = self.shard(tmp_path, name)
        report = data.Report()
        with pytest.warns(UserWarning, match=r"kept 3 records, left out 1"):
            found = read(shard, on_error=report)
        assert [row[3] for row in found] == [one.video_id for one in made]
        for one, row in zip(made, found, strict=True):
            np.testing.assert_array_equal(row[0][: len(one.rgb)], one.frames)
        line = report.table().iloc[0]
        assert (line["kept"], line["left_out"]) == (3, 1)
        assert BAD[name][1] in line["why"]

    def test_a_rated_class_outside_the_columns(self, tmp_path):
        shard = write(tmp_path / "train.tfrecord", [GOOD])
        with pytest.raises(tf.errors.InvalidArgumentError, match="class_ids"):
            rows(data.rated_segments(shard, class_ids=[1, 3], spec=TINY))

    def test_ratings_name_it_too(self, tmp_path):
        _, shard = self.shard(tmp_path, "odd start")
        with pytest.raises(ValueError, match=r"record=2, field='segment_start"):
            data.ratings(shard, spec=TINY)

    def test_equal_ratings_count_once(self, tmp_path):
        twice = GOOD.but(starts=[5, 0, 5], classes=[1, 1, 1], scores=[1, 0, 1])
        shard = write(tmp_path / "train.tfrecord", [twice])
        found = data.ratings(shard, spec=TINY)
        assert found["start"].tolist() == [5, 0]
        assert found["score"].tolist() == [1, 0]

    def test_the_same_video_in_two_shards(self, tmp_path):
        made = records(4)
        shards = [
            write(tmp_path / f"train{at}.tfrecord", made) for at in range(2)
        ]
        with pytest.raises(ValueError, match=r"train1.*record=0, field='id'"):
            data.ratings(shards, spec=TINY)


class TestDamagedFiles:
    def damaged(self, tmp_path, change):
        made = records(6)
        shard = tmp_path / "train.tfrecord"
        write(shard, made)
        content = bytearray(shard.read_bytes())
        ends = np.cumsum([len(one.serialized()) + 16 for one in made])
        shard.write_bytes(bytes(change(content, ends)))
        return made, str(shard)

    def cut(content, ends):
        return content[: ends[2] + 30]

    def cut_in_length(content, ends):
        return content[: ends[2] + 5]

    def flip(content, ends):
        content[ends[2] + 30] ^= 16
        return content

    def flip_length(content, ends):
        content[ends[2]] ^= 1
        return content

    @pytest.mark.parametrize("change", [cut, cut_in_length, flip, flip_length])
    def test_damage_ends_the_file(self, tmp_path, change):
        made, shard = self.damaged(tmp_path, change)
        with pytest.raises(
            ValueError, match="whole TFRecord.*record=3"
        ) as stop:
            data.ratings(shard, spec=TINY)
        assert shard in str(stop.value)
        report = data.Report()
        with pytest.warns(UserWarning, match="ended at record 3"):
            found = read(shard, on_error=report)
        assert [row[3] for row in found] == [one.video_id for one in made[:3]]
        assert report.table()["kept"].tolist() == [3]

    @pytest.mark.parametrize(
        "content", [b"", b"hello", b"not a TFRecord at all" * 100]
    )
    def test_not_a_shard(self, tmp_path, content):
        bad = tmp_path / "train0.tfrecord"
        bad.write_bytes(content)
        good = write(tmp_path / "train1.tfrecord", records(3))
        with pytest.raises(ValueError, match=r"whole TFRecord.*train0"):
            data.ratings([str(bad), good], spec=TINY)
        with pytest.warns(UserWarning, match="train0.*kept 0"):
            found = read([str(bad), good], on_error="skip")
        assert len(found) == 3

    @pytest.mark.parametrize("bits", [30, 36, 40, 62, 63, 64])
    @pytest.mark.parametrize("scheme", ["", "file://"])
    def test_a_length_that_no_file_has(self, tmp_path, scheme, bits):
        """With a good checksum, and more than there is memory for."""
        made, shard = self.damaged(tmp_path, lambda content, ends: content)
        length = (2**bits - 1).to_bytes(8, "little")
        check = tfrecord.masked(length).to_bytes(4, "little")
        with open(shard, "ab") as file:
            file.write(length + check + b"x" * 100)
        report = data.Report()
        with pytest.warns(UserWarning, match="ended at record 6.*ends inside"):
            assert len(read(scheme + shard, on_error=report)) == 6

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(ValueError, match="can be read.*nowhere"):
            data.ratings(f"{tmp_path}/nowhere", spec=TINY, on_error="skip")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_frames": 3}, "goes with"),
        ({"sampling": "run"}, "goes with"),
        ({"sampling": "some"}, "`sampling`"),
        ({"num_frames": 0, "sampling": "run"}, "num_frames=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"seed": -1}, "seed=-1"),
        ({"first_epoch": 0.5}, "first_epoch=0.5"),
        ({"part": "dev"}, "part='dev'"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
        ({"num_classes": -3}, "num_classes=-3"),
    ],
)
def test_bad_options(shards, options, words):
    with pytest.raises(ValueError, match="Received") as caught:
        read(shards, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize("ids", [[], [1, 1], [-1], [[1]], [0.5]])
def test_bad_class_ids(shards, ids):
    with pytest.raises(ValueError, match="class_ids"):
        data.rated_segments(shards, class_ids=ids, spec=TINY)


def test_no_shards():
    with pytest.raises(ValueError, match="at least one"):
        data.videos([], num_classes=10)


def test_ids_met_twice_are_found_among_very_many():
    from kit.data.seen import SeenIds

    long = b"long" * 100_000
    seen = SeenIds(map(SeenIds.key, [b"old", b"older"]))
    assert seen.add(long)
    assert all(seen.add(b"%x" % number) for number in range(120_000))
    again = [b"0", b"1d4bf", b"old", b"older", b"c350", b"c351", long]
    assert not any(seen.add(video_id) for video_id in again)
    assert seen.add(b"new")


def test_memory_stays_flat(tmp_path):
    """Reading 200 MB ten times over may not keep any of it."""
    one = Record(b"", [os.urandom(1024)] * 300, [os.urandom(128)] * 300, [1])
    shards = [
        write(
            tmp_path / f"train{shard}.tfrecord",
            [one.but(video_id=b"%d-%d" % (shard, at)) for at in range(100)],
        )
        for shard in range(4)
    ]
    dataset = data.videos(
        shards,
        num_classes=10,
        num_frames=5,
        sampling="run",
        shuffle=True,
        repeat=True,
        batch_size=100,
    )

    def resident():
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    sizes = []
    for at, _ in enumerate(dataset.take(40)):
        if at in (11, 39):
            sizes.append(resident())
    assert sizes[1] - sizes[0] < 100e6


def test_a_good_pass_does_not_warn(shards):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(shards, on_error="skip")
