import gzip
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kit import data
from kit.spec import FrameSpec
from kit.splits import Holdout
from tests.refusals import refused
from tests.shards import TINY, Record, check_bag, records, rows, write


@pytest.fixture(scope="module")
def written():
    """The videos in the order of the shards."""
    videos = records(40, seed=1)
    return [video for shard in range(4) for video in videos[shard::4]]


@pytest.fixture(scope="module")
def shards(written, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "a"
    return [
        write(folder / f"validate{n}.tfrecord", written[10 * n : 10 * n + 10])
        for n in range(4)
    ]


@pytest.fixture(scope="module")
def by_id(written):
    return {video.video_id: video for video in written}


def read(shards, **options):
    """Rows of frames, mask, targets and id."""
    options = {"num_classes": 10, "with_ids": True, **options}
    return rows(data.videos(shards, options.pop("spec", TINY), **options))


def snippets(shards, steps=5, epoch=0, kind=data.Snippets, **options):
    options = {"num_classes": 10, "batch_size": 8, **options}
    return kind(shards, TINY, **options).epoch(epoch, steps)


class TestVideos:
    def test_all_frames_are_padded_and_masked(self, shards, written):
        found = read(shards, batch_size=7)
        assert len(found) == len(written)
        for video, row in zip(written, found, strict=True):
            frames, mask, targets, video_id = row
            count = len(video.rgb)
            assert video_id == video.video_id
            assert frames.dtype == np.uint8 and targets.dtype == np.int8
            assert frames.shape == (TINY.max_frames, TINY.dim)
            np.testing.assert_array_equal(frames[:count], video.frames)
            assert not frames[count:].any()
            assert mask.tolist() == [n < count for n in range(TINY.max_frames)]
            assert np.flatnonzero(targets == 1).tolist() == sorted(video.labels)
            assert set(np.unique(targets)) <= {0, 1}

    def test_the_parts_of_a_batch(self, shards):
        def parts(**options):
            return data.videos(shards, TINY, **options).element_spec

        inputs = {"frames": tf.TensorSpec((None, 20, 12), tf.uint8)}
        inputs["mask"] = tf.TensorSpec((None, 20), tf.bool)
        targets = tf.TensorSpec((None, 10), tf.int8)
        ids = tf.TensorSpec((None,), tf.string)
        assert parts() == inputs
        assert parts(num_classes=10) == (inputs, targets)
        assert parts(with_ids=True) == (inputs, ids)
        assert parts(num_classes=10, with_ids=True) == (inputs, targets, ids)

    def test_old_files_call_the_id_video_id(self, written, tmp_path):
        old = [video.but(id_key="video_id") for video in written]
        found = read(write(tmp_path / "train.tfrecord", old))
        assert [row[3] for row in found] == [v.video_id for v in written]

    @pytest.mark.parametrize("name", ["rgb", "audio"])
    def test_one_kind_of_feature(self, written, tmp_path, name):
        sizes = {"rgb": 0, "audio": 0, name: getattr(TINY, name)}
        spec = FrameSpec(**sizes, max_frames=20)
        alone = [video.but(lists=(name,)) for video in written]
        shards = [write(tmp_path / "one.tfrecord", alone)]
        shards += [write(tmp_path / "both.tfrecord", written)]
        videos = [*written, *written]
        for row, video in zip(read(shards, spec=spec), videos, strict=True):
            frames = b"".join(getattr(video, name))
            assert row[0][: len(video.rgb)].tobytes() == frames

    @pytest.mark.parametrize("place", ["run[1] é/train a,b", "link/train"])
    def test_odd_paths_and_a_video_of_one_frame(self, tmp_path, place):
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        video = Record(b"one", [b"12345678"], [b"1234"], [])
        path = Path(write(tmp_path / f"{place}.tfrecord", [video]))
        shards = data.list_shards(path.parent, "train")
        ((frames, mask, targets, _),) = read(shards)
        assert mask.sum() == 1 and frames[0].tobytes() == b"123456781234"
        assert not targets.any()


class TestSnippets:
    def test_steps_are_full_batches_of_static_shape(self, shards):
        dataset = snippets(shards, num_frames=6, steps=9)
        inputs, targets = dataset.element_spec
        assert inputs["frames"].shape == (8, 6, 12)
        assert inputs["mask"].shape == (8, 6)
        assert targets.shape == (8, 10) and targets.dtype == tf.int8
        # 72 of 40 videos: the shards are read again.
        assert len(list(dataset)) == len(dataset) == 9

    @pytest.mark.parametrize("contiguous", [True, False])
    def test_frames_are_those_of_a_video(self, shards, written, contiguous):
        owners = {
            frame.tobytes(): (number, place)
            for number, video in enumerate(written)
            for place, frame in enumerate(video.frames)
        }
        begins = set()
        dataset = snippets(shards, 10, num_frames=6, contiguous=contiguous)
        for frames, mask, targets in rows(dataset):
            place = [owners[frame.tobytes()] for frame in frames[mask]]
            (number,) = {number for number, _ in place}
            video, steps = written[number], np.diff([p for _, p in place])
            assert mask.sum() == min(6, len(video.rgb))
            assert mask[: mask.sum()].all() and not frames[~mask].any()
            assert (steps == 1).all() if contiguous else (steps > 0).all()
            assert np.flatnonzero(targets).tolist() == sorted(video.labels)
            begins.add(place[0][1])
        assert len(begins) > 3

    def test_a_bag_has_windows_spread_over_a_video(self, shards, written):
        bags = snippets(shards, kind=data.Bags, num_frames=3, num_windows=4)
        inputs, _ = bags.element_spec
        refused("num_windows=0", data.Bags, shards, TINY, 10, 0)
        assert [x.shape for x in inputs.values()] == [(8, 4, 3, 12), (8, 4, 3)]
        for frames, mask, targets in rows(bags):
            first = frames[0][mask[0]].tobytes()
            (video,) = (v for v in written if first in v.frames.tobytes())
            check_bag(frames, mask, video.frames)
            assert np.flatnonzero(targets).tolist() == sorted(video.labels)

    @pytest.mark.parametrize("contiguous", [True, False])
    def test_every_choice_is_as_likely(self, tmp_path, contiguous):
        rgb = [bytes([n] * 8) for n in range(8)]
        video = Record(b"", rgb, [b"four"] * 8, [1])
        same = [video.but(video_id=b"%d" % n) for n in range(200)]
        shard = write(tmp_path / "train.tfrecord", same)
        options = {"num_frames": 3, "contiguous": contiguous, "batch_size": 100}
        counts = np.zeros(8)
        for frames, *_ in rows(snippets(shard, steps=30, **options)):
            chosen = frames[:1, 0] if contiguous else frames[:, 0]
            counts[chosen] += 1
        # A beginning of six, or three frames of eight; five deviations.
        share = np.array([1 / 6] * 6 + [0, 0]) if contiguous else 3 / 8
        deviation = np.sqrt(3000 * share * (1 - share))
        assert (np.abs(counts - 3000 * share) <= 5 * deviation).all()

    def test_an_epoch_is_a_function_of_seed_and_number(self, shards):
        def epoch(number, **options):
            dataset = snippets(shards, 10, number, num_frames=3, **options)
            return [row[0].tobytes() for row in rows(dataset)]

        first = epoch(0, seed=4)
        tf.random.set_seed(7)  # somebody else's
        assert first == epoch(0, seed=4)
        for other in (epoch(1, seed=4), epoch(0, seed=5), epoch(4, seed=0)):
            same = sum(a == b for a, b in zip(first, other, strict=True))
            assert same < 10

    def test_a_pass_has_each_video_once(self, shards, by_id):
        labels = {v.frames[0].tobytes(): v.video_id for v in by_id.values()}
        dataset = snippets(shards, 10, num_frames=20)  # whole videos: 2 passes
        ids = [labels[row[0][0].tobytes()] for row in rows(dataset)]
        assert sorted(ids) == sorted([*by_id, *by_id])
        assert ids[:40] != ids[40:]

    def test_bad_arguments(self, shards):
        nobody = Holdout(0).holdout
        refused("must hold a video of the part", snippets, shards, part=nobody)
        for name in ("num_classes", "num_frames", "batch_size"):
            for value in (0, 2.5):
                message = f"Received.*{name}={value!r}"
                refused(message, snippets, shards, **{name: value})


def test_every_reader_holds_out_the_same_videos(written, tmp_path):
    """Whatever the shards are called."""
    rated = [v.but(starts=[0], classes=[1], scores=[1]) for v in written]
    names = ["2/trainpj.tfrecord", "3/train0.tfrecord", "train1.tfrecord"]
    paths = [tmp_path / name for name in names]
    shards = [write(path, rated[n::3]) for n, path in enumerate(paths)]
    by_frame = {v.frames[0].tobytes(): v.video_id for v in written}
    listed = np.array([video.video_id for video in written])
    holdout = Holdout(fraction=0.4, seed=2)
    for part in (holdout.training, holdout.checkpoint, holdout.ensemble):
        expected = set(listed[part.select(listed)].tolist())
        assert len(expected) > 3
        assert {row[3] for row in read(shards, part=part)} == expected
        whole = rows(snippets(shards, 60, num_frames=20, part=part))
        assert {by_frame[row[0][0].tobytes()] for row in whole} == expected
        ids = data.ratings(shards, TINY, part=part)["video_id"]
        assert {name.encode() for name in ids} == expected


class TestRatings:
    def test_all_of_them(self, shards, written):
        pairs = ((v.video_id.decode(), v.ratings) for v in written)
        expected = [[name, *rating] for name, own in pairs for rating in own]
        # Some are of segments beyond the last frame.
        assert any(s >= len(v.rgb) for v in written for s in v.starts)
        found = data.ratings(shards, TINY)
        assert list(found) == ["video_id", "start", "label", "score"]
        assert found.to_numpy().tolist() == expected

    def test_none(self, tmp_path):
        shard = write(tmp_path / "test.tfrecord", records(3, rated=False))
        refused("3/frame/validate", data.ratings, shard, TINY)

    def test_a_part_that_never_says_yes(self, shards, tmp_path):
        part = Holdout(0).holdout
        refused(r"yes.*0 of \d+ ratings", data.ratings, shards, TINY, part=part)
        no = write(tmp_path / "no.tfrecord", [GOOD.but(scores=[0, 0])])
        refused("say yes.*2 of 2 ratings", data.ratings, no, TINY)

    def test_a_rated_class_outside_the_table(self, tmp_path):
        shard = write(tmp_path / "validate.tfrecord", [GOOD])
        message = r"class of the task.*\[1, 2\]"
        refused(message, data.ratings, shard, TINY, class_ids=[1, 3])
        assert len(data.ratings(shard, TINY, class_ids=[2, 1])) == 2

    def test_equal_ratings_count_once(self, tmp_path):
        twice = GOOD.but(starts=[5, 0, 5], classes=[1, 1, 1], scores=[1, 0, 1])
        found = data.ratings(write(tmp_path / "v.tfrecord", [twice]), TINY)
        assert found["start"].tolist() == [5, 0]
        assert found["score"].tolist() == [1, 0]

    def test_skipping_warns(self, tmp_path):
        bad = GOOD.but(video_id=b"bad", starts=[0, 7])
        shard = write(tmp_path / "validate.tfrecord", [GOOD, bad])
        refused(r"record=1, field='segment_start", data.ratings, shard, TINY)
        words = "1 left out, .* record 1, segment"
        with pytest.warns(UserWarning, match=words):
            found = data.ratings(shard, TINY, on_error="skip")
        assert found["video_id"].unique().tolist() == ["good"]


def test_find_video(shards, written):
    video = written[25]
    found = data.find_video(shards, video.video_id.decode(), TINY)
    np.testing.assert_array_equal(found, video.frames)
    refused("video_id='nobody'", data.find_video, shards, "nobody", TINY)


GOOD = Record(
    video_id=b"good",
    rgb=[b"r" * 8] * 6,
    audio=[b"a" * 4] * 6,
    labels=[1],
    starts=[0, 5],
    classes=[1, 2],
    scores=[0, 1],
)


def edited(edit):
    """The good record after `edit(context, lists)`."""
    example = tf.train.SequenceExample.FromString(GOOD.serialized())
    edit(example.context.feature, example.feature_lists.feature_list)
    return example.SerializeToString()


def floats(context, lists):
    for frame in lists["rgb"].feature:
        frame.float_list.value.extend([1] * 8)


def renamed(context, lists):
    lists["audio_embedding"].CopyFrom(lists["audio"])
    del lists["audio"]


def video_level(context, lists):
    context["mean_rgb"].float_list.value.extend([0.5] * 8)
    del lists["rgb"], lists["audio"]


SHORT = GOOD.but(rgb=[*GOOD.rgb[1:], b"short"])
LONG = GOOD.but(rgb=[b"r" * 8] * 21, audio=[b"a" * 4] * 21)
# What is wrong -> field named, words of the rule or remedy, and the record.
BAD = {
    "no rgb": ("rgb", "rgb=0 if there is none", GOOD.but(lists=("audio",))),
    "other name": ("audio", "['audio_embedding', 'rgb']", edited(renamed)),
    "floats": ("rgb", "float_list: quantise", edited(floats)),
    "video-level": ("rgb", "download the frame-level", edited(video_level)),
    "short frame": ("rgb", "8 bytes", SHORT),
    "wide": ("rgb", "give the `FrameSpec`", GOOD.but(rgb=[b"r" * 9] * 6)),
    "unequal": ("rgb", "found [5, 6]", GOOD.but(audio=[b"a" * 4] * 5)),
    "no frames": ("rgb", "1 to 20 frames", GOOD.but(rgb=[], audio=[])),
    "long": ("rgb", "more `max_frames`", LONG),
    "no labels": ("labels", "as `train` has", GOOD.but(labels=None)),
    "label": ("labels", "`num_classes` of these", GOOD.but(labels=[3, 10])),
    "negative label": ("labels", "lie in 0 to 9", GOOD.but(labels=[-1])),
    "space": ("id", "submission can hold", GOOD.but(video_id=b"my video")),
    "colon": ("id", "rename the video", GOOD.but(video_id=b"a:b")),
    "not UTF-8": ("id", "UTF-8", GOOD.but(video_id=b"\xff\xfe")),
    "empty id": ("id", "must have one", GOOD.but(video_id=b"")),
    "no id": ("id", "['labels', 'name', ", GOOD.but(id_key="name")),
    "garbage": ("record", "serialized", b"\x0a\xff\xff\xff"),
}
# What only those see who look at ratings.
START, CLASS = "segment_start_times", "segment_labels"
SCORE = "segment_scores"
TWICE = GOOD.but(starts=[5, 5], classes=[1, 1])
BAD_RATINGS = {
    "list lengths": (SCORE, "found lists of", GOOD.but(scores=[1])),
    "half a score": (SCORE, "0 or 1", GOOD.but(scores=[0, 0.5])),
    "nan score": (SCORE, "0 or 1", GOOD.but(scores=[0, np.nan])),
    "negative start": (START, "multiple of 5", GOOD.but(starts=[-5, 0])),
    "odd start": (START, "multiple of 5", GOOD.but(starts=[0, 7])),
    "class": (CLASS, "segment_label_ids.csv", GOOD.but(classes=[1, -2])),
    "ratings disagree": (SCORE, "must agree", TWICE),
}
EVERY_BAD = {**BAD, **BAD_RATINGS}
# TensorFlow refuses these itself: it names the file and the record, and why.
BY_TENSORFLOW = {"floats", "garbage"}


@pytest.fixture(scope="module")
def bad_shards(tmp_path_factory):
    """A shard for each thing that can be wrong, at its record 2."""
    folder = tmp_path_factory.mktemp("bad")
    shards = {}
    for number, (name, (_, _, bad)) in enumerate(EVERY_BAD.items()):
        good = records(3, prefix=f"{number}-")
        path = folder / f"train{number:02}.tfrecord"
        shards[name] = write(path, [*good[:2], bad, good[2]])
    return shards


class TestBadRecords:
    @pytest.mark.parametrize("name", EVERY_BAD)
    def test_it_is_named(self, bad_shards, name):
        field, words, _ = EVERY_BAD[name]
        shard = bad_shards[name]
        with pytest.raises(ValueError) as caught:
            list(data.read_shard(shard, TINY, 10))
        message = str(caught.value)
        assert words in message
        assert f"Received: file={shard!r}, record=2, field={field!r}" in message

    @pytest.mark.parametrize("reader", ["videos", "snippets"])
    def test_the_graph_says_the_same(self, bad_shards, reader):
        """One pass over all of them: an iterator goes on after an error."""
        first = [bad_shards["odd start"]]  # which the graph does not look at
        shards = first + [bad_shards[name] for name in BAD]
        if reader == "videos":
            dataset = data.videos(shards, TINY, 1, num_classes=10)
        else:
            dataset = snippets(shards, 110, num_frames=20, batch_size=1)
        errors, iterator = {}, iter(dataset)
        for _ in range(110):
            try:
                next(iterator, None)
            except tf.errors.InvalidArgumentError as error:
                for name in BAD:
                    if bad_shards[name] in error.message:
                        errors[name] = error.message
        assert set(errors) == set(BAD)
        for name, (field, words, _) in BAD.items():
            place = f"file={bad_shards[name]!r}, record=2, field={field!r}"
            if name in BY_TENSORFLOW:
                assert f"{bad_shards[name]} record 2" in errors[name]
            else:
                assert words in errors[name] and place in errors[name]

    def test_check_lists_everything(self, bad_shards):
        table = data.check(bad_shards.values(), TINY, num_classes=10)
        assert table["file"].tolist() == list(bad_shards.values())
        assert set(table["record"]) == {2}
        for name, row in zip(EVERY_BAD, table.itertuples(), strict=True):
            field, words, _ = EVERY_BAD[name]
            assert row.field == field and words in row.problem

    def test_skipping_leaves_out_just_that(self, bad_shards):
        good = (records(3, prefix=f"{n}-") for n in range(len(bad_shards)))
        expected = sum(good, [])
        with pytest.warns(UserWarning) as caught:
            found = read(list(bad_shards.values()), on_error="skip")
        (warning,) = caught
        lines = str(warning.message).splitlines()
        assert len(lines) == 1 + len(bad_shards)
        for line, shard in zip(lines[1:], bad_shards.values(), strict=True):
            start = f"{shard}: 1 left out, the first is record 2"
            assert line.startswith(start)
        for row, video in zip(found, expected, strict=True):
            assert row[3] == video.video_id
            np.testing.assert_array_equal(row[0][row[1]], video.frames)

    @pytest.mark.parametrize(
        "name", ["floats", "other name", "video-level", "garbage"]
    )
    def test_a_file_of_another_kind_is_told_at_once(self, tmp_path, name):
        _, words, bad = BAD[name]
        shard = write(tmp_path / "train.tfrecord", [bad])
        for read_them in (data.videos, lambda *a: data.Snippets(*a, 10)):
            with pytest.raises(ValueError, match="record=0") as caught:
                read_them([shard], TINY)
            assert words in str(caught.value)

    def test_shards_without_labels(self, tmp_path):
        videos = [video.but(labels=None) for video in records(4)]
        shard = write(tmp_path / "test.tfrecord", videos)
        refused("shards that have them", data.Snippets, shard, TINY, 10)
        assert len(rows(data.videos(shard, TINY))) == 4

    def test_an_empty_list_of_labels_means_none_of_the_classes(self, tmp_path):
        videos = [video.but(labels=[]) for video in records(4)]
        shard = write(tmp_path / "train.tfrecord", videos)
        for targets in (read(shard)[0][2], rows(snippets(shard, 1))[0][2]):
            assert targets.shape == (10,) and not targets.any()

    def test_the_same_video_twice(self, shards, tmp_path):
        copy = tmp_path / "validate9.tfrecord"
        copy.write_bytes(Path(shards[0]).read_bytes())
        repeated = [shards[0], shards[1], str(copy)]
        words = r"must occur once.*=0, field='id'"
        refused(words, data.ratings, repeated, TINY)
        table = data.check(repeated, TINY)
        assert set(table["file"]) == {str(copy)}
        assert table["record"].tolist() == list(range(10))
        with pytest.warns(UserWarning, match="10 left out"):
            assert len(read(repeated, on_error="skip")) == 20


def test_bad_arguments(shards):
    for wrong in ([], [shards[0], shards[0]]):
        refused("at least one file, and each on", data.videos, wrong, TINY)
    for reader in (data.videos, data.ratings):
        with pytest.raises(ValueError, match="Received: on_error='ignore'"):
            reader(shards, TINY, on_error="ignore")


class TestDamagedFiles:
    @pytest.fixture(params=[("cut", 30), ("cut", 5), ("flip", 30), ("flip", 0)])
    def damaged(self, request, tmp_path):
        """A good file, and one that is damaged in its record 3."""
        videos = records(6, prefix="d")
        path = Path(write(tmp_path / "train1.tfrecord", videos))
        way, place = request.param
        place += sum(len(video.serialized()) + 16 for video in videos[:3])
        content = bytearray(path.read_bytes())
        if way == "cut":
            del content[place:]
        else:
            content[place] ^= 16
        path.write_bytes(content)
        return [write(tmp_path / "train0.tfrecord", records(2)), str(path)]

    def test_the_rest_of_the_file_is_lost_and_said_to_be(self, damaged):
        words = rf"download the file again.*file='{damaged[1]}', record=3, "
        refused(words, data.ratings, damaged, TINY)
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            read(damaged)
        table = data.check(damaged, TINY)
        ((*place, _),) = table.to_numpy().tolist()
        assert place == [damaged[1], 3, "record"]
        with pytest.warns(UserWarning, match="train1.*1 left out"):
            found = read(damaged, on_error="skip")
        ids = [video.video_id for video in records(3, prefix="d")]
        assert [row[3] for row in found] == [b"v000", b"v001", *ids]

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "empty"),
            (b"<html>not a TFRecord</html>" * 100, "look what it is"),
            (gzip.compress(b"a shard", mtime=0), "decompress it first"),
        ],
    )
    def test_a_file_of_another_kind(self, tmp_path, content, words):
        good = write(tmp_path / "train0.tfrecord", records(3))
        bad = tmp_path / "train1.tfrecord"
        bad.write_bytes(content)
        refused(f"{words}.*train1.*record=0", data.videos, bad, TINY)
        with pytest.raises(tf.errors.OpError, match=f"{words}.*train1"):
            read([good, bad])
        with pytest.warns(UserWarning, match=f"train1.*{words}"):
            assert len(read([bad, good], on_error="skip")) == 3

    def test_a_file_that_is_not_there(self, tmp_path):
        good = write(tmp_path / "train0.tfrecord", records(3))
        nowhere, message = f"{tmp_path}/nowhere", "can be read.*nowhere"
        for on_error in ("stop", "skip"):
            refused(message, data.ratings, nowhere, TINY, on_error=on_error)
        with pytest.raises(tf.errors.OpError, match=message):
            read([good, nowhere])

    def test_fit_says_it_too(self, tmp_path):
        good = write(tmp_path / "train0.tfrecord", records(3))
        bad = tmp_path / "train1.tfrecord"
        bad.write_bytes(Path(good).read_bytes()[:-9])
        shapes = {"frames": (20, 12), "mask": (20,)}
        inputs = {n: keras.Input(shape, name=n) for n, shape in shapes.items()}
        model = keras.Model(inputs, keras.layers.Dense(10)(inputs["mask"]))
        model.compile("sgd", "mse")
        batches = snippets([good, bad], 3, num_frames=20, batch_size=4)
        words = f"download.*file='{bad}', record=2"
        with pytest.raises(Exception, match=words):
            model.fit(batches, verbose=0, shuffle=False)


class TestListShards:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in (
            *("a/trainpj.tfrecord", "a/b/train0000.tfrecord"),
            *("validate/validate0Z.tfrecord", "test00.tfrecord"),
            *("train0001.tfrecord.part", "train.csv", "run[1]/train0.tfrecord"),
        ):
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "data"

    @pytest.mark.parametrize(
        ("given", "names"),
        [
            ("", ["train0000", "trainpj", "train0"]),
            ("a", ["train0000", "trainpj"]),
            ("run[1]", ["train0"]),
            ("run*", ["train0"]),
            ("*/train*", ["trainpj", "train0"]),
            ("?/trainpj.tfrecord", ["trainpj"]),
            ("a/b/../trainpj.tfrecord", ["trainpj"]),
            ("a/**/train*", ["train0000", "trainpj"]),
        ],
    )
    def test_places(self, folder, given, names, monkeypatch):
        monkeypatch.chdir(folder)
        for place in (f"{folder}/{given}", f"./{given}", folder / given):
            found = data.list_shards(place, "train")
            assert [Path(path).stem for path in found] == names
            assert all(map(os.path.isabs, found))

    def test_lists_and_splits(self, folder):
        one = folder / "a" / "trainpj.tfrecord"
        (found,) = data.list_shards([one, f"{folder}/a/*pj*"], "train")
        assert found == str(one)
        (found,) = data.list_shards(str(folder), "validate")
        assert found == f"{folder}/validate/validate0Z.tfrecord"
        refused(r"split='val'", data.list_shards, folder, "val")

    def test_a_linked_folder(self, folder, tmp_path):
        (tmp_path / "links").mkdir()
        (tmp_path / "links" / "a").symlink_to(folder / "a")
        assert len(data.list_shards(tmp_path / "links", "train")) == 2

    def test_a_bucket(self, shards):
        # ram:// goes the way of gs://, through TensorFlow's file systems.
        place = "ram://listed/3/frame/train"
        tf.io.gfile.makedirs(place)
        tf.io.gfile.copy(shards[0], f"{place}/train00.tfrecord")
        tf.io.write_file(f"{place}/other.txt", "anything")
        for given in ("ram://listed/3", f"{place}/train*"):
            found = data.list_shards(given, "train")
            assert found == [f"{place}/train00.tfrecord"]
        assert len(read(found)) == 10
        with pytest.raises(ValueError, match=r"not have `\*\*`"):
            data.list_shards("ram://listed/**/train*", "train")

    def test_nothing(self, tmp_path):
        for given in ([], tmp_path):
            with pytest.raises(ValueError, match=r"train\*.tfrecord.*Received"):
                data.list_shards(given, "train")

    @pytest.mark.parametrize("bad", ["nowhere", "/nowhere/*", "ram://none/*"])
    def test_a_place_that_is_not_there_beside_one_that_is(self, folder, bad):
        for given in (bad, [folder, bad]):
            refused("must exist.*Received", data.list_shards, given, "train")


class TestClasses:
    @pytest.fixture
    def folder(self, tmp_path):
        """`ours` beside a neighbour that has tables of its own."""
        neighbour = tmp_path / "neighbour"
        neighbour.mkdir()
        (neighbour / "segment_label_ids.csv").write_text("Index\n500\n600\n")
        (neighbour / "vocabulary.csv").write_text("Index,Name\n500,Theirs\n")
        write(tmp_path / "ours" / "validate" / "validate0.tfrecord", records(1))
        return tmp_path / "ours"

    def test_both_tables(self, folder, capsys):
        (folder / "segment_label_ids.csv").write_text("Index\n7\n9\n")
        deep = folder / "deep" / "vocabulary.csv"
        deep.parent.mkdir()
        deep.write_text("Index,Count,Name\n0,5,Game\n7,3,\n9,1,NA\n")
        class_ids, names = data.read_classes(str(folder))
        assert class_ids.tolist() == [7, 9] and class_ids.dtype.kind == "i"
        assert names == {0: "Game", 7: "class 7", 9: "NA"}
        printed = capsys.readouterr().out
        assert f"{folder}/segment_label_ids.csv" in printed
        assert str(deep) in printed

    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            ("vocabulary.csv", "Index,Name\n3,Game\n", "Game"),
            ("segment_label_ids.csv", "Index\n3\n", "class 3"),
            # A mark of byte order and the line ends of Windows.
            ("vocabulary.csv", "\ufeffIndex,Name\r\n3,Café\r\n", "Café"),
        ],
    )
    def test_one_table(self, folder, name, content, expected):
        (folder / name).write_bytes(content.encode())
        class_ids, names = data.read_classes(folder)
        assert class_ids.tolist() == [3] and names == {3: expected}

    def test_the_folder_above_is_looked_at_but_no_neighbour(self, folder):
        refused("must be known.*Received: data_", data.read_classes, folder)
        (folder.parent / "vocabulary.csv").write_text("Index,Name\n1,Above\n")
        assert data.read_classes(folder)[1] == {1: "Above"}
        (folder / "vocabulary.csv").write_text("Index,Name\n1,Inside\n")
        for place in (f"{folder}/*", f"{folder}/*/*.tfrecord"):
            assert data.read_classes(place)[1] == {1: "Inside"}
        # The nearer wins, also over one of the other kind above.
        (folder.parent / "segment_label_ids.csv").write_text("Index\n500\n")
        deeper = folder / "validate" / "vocabulary.csv"
        deeper.write_text("Index,Name\n2,Deeper\n")
        class_ids, names = data.read_classes(folder)
        assert class_ids.tolist() == [1] and names == {1: "Inside"}

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"Index,Name\n",
            b"Id,Name\n0,Game\n",
            "Index,Name\n0,Game\n".encode("utf-16"),
            b"Index,Name\n0,Game\n0,Again\n",
            b"Index,Name\n0.5,Game\n",
            b"Index,Name\n-1,Game\n",
        ],
    )
    def test_a_table_that_cannot_be_used(self, folder, content):
        (folder / "vocabulary.csv").write_bytes(content)
        refused(r"column `Index`.*vocabulary.csv", data.read_classes, folder)


def plain(video, **changes):
    """A record as `write_shard` is given it."""
    given = {"id": video.video_id.decode(), "frames": video.frames}
    given |= {"ratings": video.ratings} if video.ratings else {}
    return given | {"labels": video.labels} | changes


class TestWriteShard:
    def test_the_records_are_those_of_youtube_8m(self, tmp_path):
        """Also of one frame, no label, and numbers that a table made floats."""
        one, *others = records(9)
        one = one.but(rgb=one.rgb[:1], audio=one.audio[:1], labels=[])
        ratings = np.array(GOOD.ratings, float)
        floats = plain(GOOD, labels=np.ones(1), ratings=ratings)
        given = [plain(one), *map(plain, others), floats]
        path = tmp_path / "new" / "validate.tfrecord"
        shard = data.write_shard(path, iter(given), TINY)
        assert data.list_shards(tmp_path, "validate") == [shard]
        parse = tf.train.SequenceExample.FromString
        written = tf.data.TFRecordDataset(shard).as_numpy_iterator()
        for record, video in zip(written, [one, *others, GOOD], strict=True):
            assert parse(record) == parse(video.serialized())
        again = data.write_shard(tmp_path / "again.tfrecord", given, TINY)
        assert Path(again).read_bytes() == path.read_bytes()
        data.write_shard(path, [plain(one, ratings=[])], TINY)
        assert len(read(path)) == 1 and not len(data.check(path, TINY))

    @pytest.mark.parametrize("spec", [FrameSpec(0, 12, 6), FrameSpec(12, 0, 6)])
    def test_features_of_one_kind(self, spec, tmp_path):
        given = [plain(GOOD)]
        path = data.write_shard(tmp_path / "train.tfrecord", given, spec)
        ((frames, *_),) = read(path, spec=spec)
        np.testing.assert_array_equal(frames, GOOD.frames)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"frames": np.zeros((4, 12))}, "must be uint8"),
            ({"frames": np.zeros((4, 9), np.uint8)}, r"\(num_frames, 12\)"),
            ({"frames": np.zeros((0, 12), np.uint8)}, "1 to 20 frames"),
            ({"id": "v001"}, "An id must occur once"),
            ({"id": "my video.mp4"}, "rename the video"),
            ({"id": 7}, r"give `str\(id\)`. Received: 7"),
            ({"labels": ["1"]}, "flatnonzero.*labels="),
            ({"labels": [0.5]}, "flatnonzero.*labels="),
            ({"labels": [0, 1, 0, 1]}, "flatnonzero.*labels="),
            ({"labels": np.array([False, True])}, "flatnonzero.*labels="),
            ({"ratings": [(0, 2), (3, 2), (6, 2)]}, "rows of .start.*ratings="),
            ({"ratings": (0, 2, 1)}, "rows of .start.*ratings="),
            ({"ratings": [(0, 2, 0.5)]}, "rows of .start.*ratings="),
            ({"ratings": [(1, 2, 1)]}, "multiple of 5"),
        ],
    )
    def test_what_readers_refuse_is_not_written(self, wrong, message, tmp_path):
        path = tmp_path / "train.tfrecord"
        path.write_bytes(b"older")
        with pytest.raises(ValueError, match=message):
            bad = plain(GOOD, **wrong)
            data.write_shard(path, [*map(plain, records(3)), bad], TINY)
        assert path.read_bytes() == b"older"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_shard_is_written_here(self):
        for path in ("gs://own/train.tfrecord", Path("gs://own/t.tfrecord")):
            with pytest.raises(ValueError, match="to a local folder.*gs:/"):
                data.write_shard(path, [plain(GOOD)], TINY)
