import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import data, pack
from kit.pack import reading
from kit.spec import FrameSpec
from kit.splits import Holdout
from tests.refusals import refused
from tests.shards import TINY as SPEC
from tests.shards import check_bag, records, write
from tests.shards import rows as arrays_of

CLASSES = [3, 4, 7, 11, 12]
NUM_CLASSES = 10
ALL = range(NUM_CLASSES)
HOLDOUT = Holdout(0.4, seed=2)


VIDEOS = records(60, classes=CLASSES)
VIDEOS[0].labels = []


def write_shards(folder, videos=VIDEOS, count=4):
    return [
        write(folder / f"train{n}.tfrecord", videos[n::count])
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def snippets(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "snippets"
    pack.pack_snippets(shards, folder, SPEC, NUM_CLASSES, snippets=3)
    return folder


@pytest.fixture(scope="module")
def segments(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "segments"
    pack.pack_segments(shards, folder, SPEC, CLASSES, context=2)
    return folder


@pytest.fixture(scope="module")
def single(shards, tmp_path_factory):
    """A pack of one snippet of each video, so that no two rows agree."""
    folder = tmp_path_factory.mktemp("packs") / "single"
    pack.pack_snippets(shards, folder, SPEC, NUM_CLASSES, snippets=1)
    return folder


@pytest.fixture(params=["snippets", "segments"])
def opened(request, snippets, segments):
    """Opens either kind of pack."""

    def open_pack(*args, **kwargs):
        if request.param == "snippets":
            return pack.Pack(snippets, ALL, *args, **kwargs)
        return pack.Pack(segments, CLASSES, *args, **kwargs)

    return open_pack


def window(frames, start, length):
    """Frames and mask of a window, frame by frame."""
    rows = np.zeros((length, frames.shape[1]), np.uint8)
    mask = np.zeros(length, bool)
    for step in range(length):
        if 0 <= start + step < len(frames):
            rows[step], mask[step] = frames[start + step], True
    return rows, mask


def rows(dataset):
    """The rows of a data set as bytes of frames, mask and targets."""
    return [tuple(x.tobytes() for x in row) for row in arrays_of(dataset)]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rated_rows(context):
    """What a pack of segments must hold: (id, start) -> arrays of the row."""
    expected = {}
    for video in VIDEOS:
        unrated = np.where(np.isin(CLASSES, video.labels or CLASSES), -1, -2)
        for start, class_id, score in video.ratings:
            key = video.video_id, start
            if key not in expected:
                cut = window(video.frames, start - context, 5 + 2 * context)
                expected[key] = *cut, unrated.astype(np.int8)
            expected[key][2][CLASSES.index(class_id)] = score
    return expected


class TestContent:
    def test_snippets_are_runs_of_their_videos(self, snippets):
        expected, starts = {}, {}
        for video in VIDEOS:
            multi_hot = np.zeros(NUM_CLASSES, np.int8)
            multi_hot[video.labels] = 1
            choices = max(len(video.rgb) - 5, 0) + 1
            starts[video.video_id] = set(), min(choices, 3)
            for start in range(choices):
                cut = *window(video.frames, start, 5), multi_hot
                key = tuple(value.tobytes() for value in cut)
                expected[key] = video.video_id, start
        opened = pack.Pack(snippets, ALL, batch_size=len(VIDEOS))
        assert len(opened) == 3 * len(VIDEOS)
        for key in rows(opened.epoch(0, steps=3)):
            video_id, start = expected[key]
            starts[video_id][0].add(start)
        for chosen, count in starts.values():
            assert len(chosen) == count  # different where there are enough
        chosen = set.union(*(chosen for chosen, _ in starts.values()))
        assert len(chosen) > 10

    def test_bags_are_windows_spread_over_a_video(self, shards, tmp_path):
        options = {"snippets": 2, "num_frames": 3, "num_windows": 4}
        pack.pack_snippets(shards, tmp_path, SPEC, NUM_CLASSES, **options)
        opened = pack.Pack(tmp_path, ALL, batch_size=len(VIDEOS))
        bags = opened.epoch(0, steps=2)
        assert bags.element_spec[0]["frames"].shape == (60, 4, 3, SPEC.dim)
        owners = []
        for frames, mask, _ in arrays_of(bags):
            first = frames[0][mask[0]].tobytes()
            (video,) = (v for v in VIDEOS if first in v.frames.tobytes())
            check_bag(frames, mask, video.frames)
            assert not frames[~mask].any()
            owners.append(video.video_id)
        assert sorted(owners) == sorted(2 * [v.video_id for v in VIDEOS])

    @pytest.mark.parametrize("num_frames", [1, 20])
    def test_other_lengths(self, shards, tmp_path, num_frames):
        pack.pack_snippets(shards, tmp_path, SPEC, NUM_CLASSES, 1, num_frames)
        opened = pack.Pack(tmp_path, ALL, batch_size=len(VIDEOS))
        ((inputs, _),) = opened.epoch(0, steps=1).as_numpy_iterator()
        assert inputs["frames"].shape == (60, num_frames, SPEC.dim)
        expected = [min(len(v.rgb), num_frames) for v in VIDEOS]
        assert sorted(inputs["mask"].sum(axis=1)) == sorted(expected)

    @pytest.mark.parametrize("context", [0, 2, 3])
    def test_segments_are_what_was_rated(self, shards, tmp_path, context):
        pack.pack_segments(shards, tmp_path, SPEC, CLASSES[::-1], 3)
        rated = pack.Pack(tmp_path, CLASSES, context=context).rated()
        expected = rated_rows(context)
        keys = list(zip(rated.video_ids, rated.starts, strict=True))
        assert sorted(keys) == sorted(expected)
        for number, key in enumerate(keys):
            frames, mask, targets = expected[key]
            assert (rated.inputs["frames"][number] == frames).all()
            assert (rated.inputs["mask"][number] == mask).all()
            assert (rated.targets[number] == targets).all()

    def test_columns_follow_the_class_ids(self, segments):
        plain = pack.Pack(segments, CLASSES).rated().targets
        order = [4, 0, 2, 1, 3]
        more = [*np.array(CLASSES)[order], 99, 0]
        mixed = pack.Pack(segments, np.array(more)).rated().targets
        assert (mixed[:, :5] == plain[:, order]).all()
        assert (mixed[:, 5:] == -1).all()

    def test_segments_without_frames_are_only_evaluated(self, segments, capsys):
        opened = pack.Pack(segments, CLASSES, batch_size=8)
        num_frames = {video.video_id: len(video.rgb) for video in VIDEOS}
        expected = {
            tuple(value.tobytes() for value in row)
            for (video_id, start), row in rated_rows(0).items()
            if start < num_frames[video_id]
        }
        beyond = len(rated_rows(0)) - len(expected)
        assert beyond > 5 and len(opened) == len(rated_rows(0))
        assert f"{beyond} of {len(opened)} segments" in capsys.readouterr().out
        assert set(rows(opened.epoch(0, steps=40))) == expected

    def test_the_choice_depends_on_seed_and_id_alone(self, shards, tmp_path):
        whole = write_shards(tmp_path, VIDEOS[::-1], count=1)
        choices = []
        for paths, seed in ((shards, 0), (whole, 0), (shards, 1)):
            folder = tmp_path / f"pack{len(choices)}"
            pack.pack_snippets(paths, folder, SPEC, NUM_CLASSES, seed=seed)
            tables = map(np.load, folder.glob("*.table.npy"))
            rows = [row for table in tables for row in table]
            choices.append(sorted((r["video_id"], r["start"]) for r in rows))
        assert choices[0] == choices[1] != choices[2]

    def test_features_of_one_kind(self, tmp_path):
        spec = FrameSpec(rgb=0, audio=3, max_frames=9, segment_frames=3)
        frames = np.arange(18, dtype=np.uint8).reshape(6, 3)
        video = {"id": "a", "frames": frames, "ratings": [(3, 5, 1)]}
        path = data.write_shard(tmp_path / "train.tfrecord", [video], spec)
        pack.pack_segments(path, tmp_path / "pack", spec, [5, 6], context=1)
        rated = pack.Pack(tmp_path / "pack", [5, 6], context=1).rated()
        assert rated.inputs["frames"][0, :4].tolist() == frames[2:].tolist()
        assert rated.inputs["mask"].tolist() == [[True] * 4 + [False]]
        assert rated.targets.tolist() == [[1, -1]]  # a video without labels


def sizes(run, pool):
    """Reads runs and pools of so many rows of the pack `single`."""
    row = 5 * SPEC.dim
    sizes = {"RUN_BYTES": run * row, "POOL_BYTES": pool * (row + NUM_CLASSES)}
    return mock.patch.multiple(reading, **sizes)


class TestOrder:
    def test_it_is_a_function_of_seed_and_epoch(self, opened):
        def order(epoch, seed):
            return rows(opened(batch_size=7, seed=seed).epoch(epoch, steps=4))

        first = order(epoch=2, seed=3)
        assert first == order(epoch=2, seed=3)
        assert first != order(epoch=1, seed=3)
        assert first != order(epoch=2, seed=4)

    @pytest.mark.parametrize("batch_size, steps", [(7, 3), (64, 9), (500, 2)])
    def test_batches_are_full_of_a_known_shape(self, opened, batch_size, steps):
        epoch = opened(batch_size=batch_size).epoch(1, steps)
        specs = tf.nest.flatten(epoch.element_spec)
        batches = list(epoch)
        assert len(batches) == len(epoch) == steps
        for batch in batches:
            for array, spec in zip(tf.nest.flatten(batch), specs, strict=True):
                assert spec.shape[0] == batch_size
                assert array.shape == spec.shape and array.dtype == spec.dtype

    @pytest.mark.parametrize("run, pool", [(1000, 1000), (4, 20), (7, 30)])
    def test_a_pass_shows_every_row_once(self, single, run, pool):
        with sizes(run, pool):
            opened = pack.Pack(single, ALL, batch_size=5)
            passes = [rows(opened.epoch(e, steps=12)) for e in range(3)]
        assert len(set(passes[0])) == 60
        assert set(passes[0]) == set(passes[1]) == set(passes[2])
        assert passes[0] != passes[1] != passes[2]

    @settings(max_examples=8, deadline=None)
    @given(
        batch_size=st.integers(1, 150),
        run=st.integers(1, 70),
        pool=st.integers(1, 100),
        epochs=st.integers(1, 3),
        steps=st.integers(1, 4),
    )
    def test_epochs_are_parts_of_one_sequence(
        self, single, batch_size, run, pool, epochs, steps
    ):
        with sizes(run, pool):
            opened = pack.Pack(single, ALL, batch_size=batch_size)
            parts = [rows(opened.epoch(e, steps)) for e in range(epochs)]
            assert sum(parts, []) == rows(opened.epoch(0, epochs * steps))
            assert len(parts[0]) == steps * batch_size

    def test_what_is_read_together_is_of_many_videos(self, snippets):
        tables = map(np.load, snippets.glob("*.table.npy"))
        ids = [row["video_id"] for table in tables for row in table[:15]]
        assert len(set(ids)) == len(VIDEOS) == 60

    def test_no_pool_is_made_when_python_ends(self, single, monkeypatch):
        """Or a script that ends in the middle of an epoch would hang."""
        monkeypatch.setattr(reading, "_ended", threading.Event())
        opened = pack.Pack(single, ALL, batch_size=5)
        assert len(list(opened.epoch(0, steps=1))) == 1
        reading._end()
        with pytest.raises(tf.errors.InvalidArgumentError):
            list(opened.epoch(0, steps=1))


class TestParts:
    def test_no_video_is_on_both_sides(self, segments):
        ids = {}
        for name in ("training", "holdout", "checkpoint", "ensemble"):
            part = getattr(HOLDOUT, name)
            rated = pack.Pack(segments, CLASSES, part).rated()
            ids[name] = set(rated.video_ids.tolist())
        listed = sorted({video_id for video_id, _ in rated_rows(2)})
        chosen = np.array(listed)[HOLDOUT.training.select(listed)]
        assert ids["training"] == set(chosen.tolist())
        assert ids["holdout"] == set(listed) - ids["training"]
        assert ids["checkpoint"] | ids["ensemble"] == ids["holdout"]
        assert not ids["checkpoint"] & ids["ensemble"]

    def test_epochs_keep_to_their_part(self, opened):
        parts = HOLDOUT.training, HOLDOUT.checkpoint, HOLDOUT.ensemble
        # All rows: a pass leaves out fewer than a batch.
        epochs = [opened(part, batch_size=16).epoch(0, 60) for part in parts]
        seen = [set(rows(epoch)) for epoch in epochs]
        assert all(seen)
        for first, second in itertools.combinations(seen, 2):
            assert not first & second

    def test_a_part_without_videos(self, opened):
        refused("must hold rows of this part", opened, Holdout(0.0).holdout)


class TestGoingOn:
    def pack(self, shards, folder):
        pack.pack_snippets(shards, folder, SPEC, NUM_CLASSES, snippets=3)

    def test_a_killed_pack_ends_up_the_same(self, shards, snippets, tmp_path):
        """Killed while it writes the frames of the second shard."""
        code = f"""
            import os, signal
            import numpy as np
            from kit import pack
            from kit.spec import FrameSpec
            save, calls = np.save, []
            def killed(path, array):
                calls.append(path)
                save(path, array)
                if len(calls) == 4:
                    os.truncate(path, os.path.getsize(path) // 2)
                    os.kill(os.getpid(), signal.SIGKILL)
            np.save = killed
            spec = FrameSpec(8, 4, 20, 5)
            pack.pack_snippets({shards!r}, {str(tmp_path)!r}, spec, 10, 3)
        """
        ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)])
        assert ended.returncode == -9
        assert list(tmp_path.glob("new-*"))
        refused("pack the same shards again", pack.Pack, tmp_path, ALL)
        self.pack(shards, tmp_path)
        assert content(tmp_path) == content(snippets)

    def test_a_full_disk(self, shards, snippets, tmp_path, monkeypatch):
        save = np.save

        def full(path, array):
            if "train2" in path.name and "frames" in path.name:
                path.write_bytes(b"half")
                raise OSError(errno.ENOSPC, "No space left on device")
            save(path, array)

        with monkeypatch.context() as patch:
            patch.setattr(np, "save", full)
            with pytest.raises(OSError, match="No space left"):
                self.pack(shards, tmp_path)
        assert not list(tmp_path.glob("new-*"))
        assert len(list(tmp_path.glob("*.frames.npy"))) == 2
        self.pack(shards, tmp_path)
        assert content(tmp_path) == content(snippets)

    def test_shards_can_come_one_by_one_and_go(
        self, shards, snippets, tmp_path
    ):
        for path in reversed(shards):
            copy = shutil.copy(path, tmp_path)
            self.pack(copy, tmp_path / "pack")
            os.remove(copy)
        packs = pack.Pack(snippets, ALL), pack.Pack(tmp_path / "pack", ALL)
        one, other = (each.epoch(0, steps=3) for each in packs)
        assert rows(one) == rows(other)

    def test_a_finished_pack_is_left_alone(
        self, shards, snippets, capsys, monkeypatch
    ):
        """However the paths of its shards are written."""
        before = {path: path.stat().st_mtime_ns for path in snippets.iterdir()}
        folder, name = os.path.split(shards[0])
        monkeypatch.chdir(folder)
        for paths in (shards, shards[:2], name):
            self.pack(paths, snippets)
        rows(pack.Pack(snippets, ALL).epoch(0, steps=1))
        after = {path: path.stat().st_mtime_ns for path in snippets.iterdir()}
        assert before == after
        assert "4/4" in capsys.readouterr().out

    def test_other_options_are_refused(self, shards, snippets, segments):
        same = {"spec": SPEC, "num_classes": NUM_CLASSES, "snippets": 3}
        longer = FrameSpec(8, 4, 30, 5)
        others = {"seed": 1, "snippets": 4, "num_frames": 6, "num_classes": 16}
        for name, other in {**others, "spec": longer, "num_windows": 2}.items():
            with pytest.raises(ValueError, match=f"give the same `{name}`"):
                pack.pack_snippets(shards, snippets, **same | {name: other})
        same = {"spec": SPEC, "class_ids": CLASSES, "context": 2}
        for name, other in {"class_ids": [*CLASSES, 13], "context": 1}.items():
            with pytest.raises(ValueError, match=f"give the same `{name}`"):
                pack.pack_segments(shards, segments, **same | {name: other})
        with pytest.raises(ValueError, match="give the same `kind`"):
            pack.pack_segments(shards, snippets, SPEC, CLASSES)


class TestBadInput:
    def test_classes_that_are_not_among_those_given(self, shards, tmp_path):
        words = "`num_classes`.*file=.*record=.*field='labels'"
        with pytest.raises(ValueError, match=words):
            pack.pack_snippets(shards, tmp_path / "1", SPEC, NUM_CLASSES - 1)
        with pytest.raises(ValueError, match="field='segment_labels'"):
            pack.pack_segments(shards, tmp_path / "2", SPEC, CLASSES[1:])

    def test_what_is_bad_can_be_left_out(self, shards, tmp_path):
        bad = [v for v in VIDEOS if NUM_CLASSES - 1 in v.labels]
        with pytest.warns(UserWarning, match="left out") as warnings:
            pack.pack_snippets(
                shards, tmp_path, SPEC, NUM_CLASSES - 1, on_error="skip"
            )
        assert len(warnings) == 1
        opened = pack.Pack(tmp_path, ALL[:-1])
        assert len(opened) == 4 * (len(VIDEOS) - len(bad))

    def test_shards_without_ratings(self, tmp_path):
        path = write(tmp_path / "train.tfrecord", records(3, rated=False))
        pack.pack_segments(path, tmp_path / "p", SPEC, CLASSES)
        refused("rated ones for segments", pack.Pack, tmp_path / "p", CLASSES)

    def test_a_shard_given_by_two_paths(self, shards, tmp_path):
        copy = shutil.copy(shards[0], tmp_path / "train9.tfrecord")
        pack.pack_segments([shards[0], copy], tmp_path / "pack", SPEC, CLASSES)
        refused("give each shard once", pack.Pack, tmp_path / "pack", CLASSES)

    def test_shards_of_one_name(self, tmp_path):
        paths = [write(tmp_path / "a" / "train.tfrecord", VIDEOS[:3])]
        paths += [write(tmp_path / "b" / "train.tfrecord", VIDEOS[3:5])]
        pack.pack_snippets(paths, tmp_path / "pack", SPEC, NUM_CLASSES)
        assert len(pack.Pack(tmp_path / "pack", ALL)) == 4 * 5

    def test_context_that_it_does_not_have(self, shards, segments, tmp_path):
        refused("not 0 to 2", pack.Pack, segments, CLASSES, context=3)
        refused(": -1", pack.pack_segments, shards, tmp_path, SPEC, CLASSES, -1)

    def test_classes_that_are_not_covered(self, snippets, segments):
        refused(r"without \[8, 9\]", pack.Pack, snippets, ALL[:8])
        refused(r"without \[7\]", pack.Pack, segments, [3, 4, 11, 12])

    def test_classes_that_a_table_made_floats(self, shards, segments, tmp_path):
        pack.pack_segments(shards, tmp_path, SPEC, np.array(CLASSES, float), 2)
        for folder in (tmp_path, segments):
            pack.Pack(folder, np.array(CLASSES, float))
        with pytest.raises(ValueError, match="each a whole number"):
            pack.pack_segments(shards, tmp_path, SPEC, [*CLASSES, 0.5])

    @pytest.mark.parametrize("end", ["table", "frames"])
    @pytest.mark.parametrize("length", [None, 0, -9])
    def test_a_damaged_pack(self, snippets, tmp_path, end, length):
        folder = shutil.copytree(snippets, tmp_path / "pack")
        path = sorted(folder.glob(f"*.{end}.npy"))[1]
        content = path.read_bytes()
        path.unlink()
        if length is not None:
            path.write_bytes(content[:length])
        refused(f"must be whole.*{path.name}", pack.Pack, folder, ALL)

    def test_a_folder_without_a_pack(self, tmp_path):
        for text in ("", json.dumps({"name": "mine"})):
            if text:
                (tmp_path / "pack.json").write_text(text)
            refused("must hold a pack", pack.Pack, tmp_path, CLASSES)
        with pytest.raises(ValueError, match="must hold a pack"):
            pack.pack_segments(["train.tfrecord"], tmp_path, SPEC, CLASSES)
        with pytest.raises(ValueError, match="to a local folder"):
            pack.pack_segments(["a.tfrecord"], "gs://a/b", SPEC, CLASSES)
