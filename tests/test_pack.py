import json
import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from kit import data, pack
from kit.splits import PARTS, Holdout
from tests.shards import TINY, records, rows, write

CLASSES = list(range(10))
QUIET = {"progress": False, "spec": TINY}


@pytest.fixture(scope="module")
def made():
    return records(60, seed=1)


@pytest.fixture(scope="module")
def shards(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [
        write(folder / f"validate{at}.tfrecord", made[at::6]) for at in range(6)
    ]


@pytest.fixture(scope="module")
def snippets(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "snippets"
    pack.pack_snippets(shards, folder, snippets=3, **QUIET)
    return folder


@pytest.fixture(scope="module")
def segments(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "segments"
    pack.pack_segments(shards, folder, context=2, **QUIET)
    return folder


def content(folder):
    return {
        name: (folder / name).read_bytes()
        for name in sorted(os.listdir(folder))
    }


def fields(found):
    """Rows in one form that can be sorted and compared."""
    return [
        tuple(
            value if isinstance(value, bytes) else np.asarray(value).tobytes()
            for value in row
        )
        for row in found
    ]


def test_snippets_are_runs_of_their_videos(snippets, made):
    by_id = {one.video_id: one for one in made}
    opened = pack.Snippets(snippets)
    found = rows(opened.batches(num_classes=10, with_ids=True))
    assert len(found) == len(opened) == 3 * len(made)
    seen = {}
    for frames, mask, targets, video_id in found:
        one = by_id[video_id]
        true, count = one.frames, min(5, len(one.rgb))
        assert mask.tolist() == [at < count for at in range(5)]
        assert not frames[count:].any()
        starts = [
            at
            for at in range(len(true) - count + 1)
            if (true[at : at + count] == frames[:count]).all()
        ]
        assert len(starts) == 1
        assert np.flatnonzero(targets).tolist() == sorted(one.labels)
        seen.setdefault(video_id, []).append(starts[0])
    assert all(len(starts) == 3 for starts in seen.values())
    assert len({start for starts in seen.values() for start in starts}) > 5


def test_segments_are_those_of_the_reader(segments, shards):
    options = {"class_ids": CLASSES[::-1], "with_ids": True}
    packed = rows(pack.Segments(segments).batches(**options))
    read = rows(data.rated_segments(shards, spec=TINY, context=2, **options))
    assert sorted(fields(packed)) == sorted(fields(read))


def test_the_structure_is_that_of_the_readers(snippets, segments, shards):
    for with_ids in (False, True):
        options = {"with_ids": with_ids, "repeat": True, "batch_size": 8}
        videos = data.videos(
            shards,
            num_classes=10,
            spec=TINY,
            num_frames=5,
            sampling="run",
            **options,
        )
        rated = data.rated_segments(
            shards, class_ids=CLASSES, spec=TINY, context=2, **options
        )
        packed = pack.Snippets(snippets).batches(num_classes=10, **options)
        assert packed.element_spec == videos.element_spec
        packed = pack.Segments(segments).batches(class_ids=CLASSES, **options)
        assert packed.element_spec == rated.element_spec


@pytest.mark.parametrize("kind", ["snippets", "segments"])
class TestOrder:
    @pytest.fixture
    def batches(self, kind, snippets, segments):
        def make(**options):
            if kind == "snippets":
                options["num_classes"] = 10
                return pack.Snippets(snippets).batches(**options)
            return pack.Segments(segments).batches(class_ids=CLASSES, **options)

        return make

    def test_it_is_a_function_of_seed_and_epoch(self, batches):
        def order(**options):
            return fields(rows(batches(shuffle=True, **options)))

        first = order(seed=3)
        assert first == order(seed=3)
        plain = fields(rows(batches()))
        for other in (
            order(seed=4),
            order(seed=3, first_epoch=1),
            plain,
        ):
            assert other != first
            assert sorted(other) == sorted(first)

    def test_repeat_goes_on_with_the_next_epoch(self, batches):
        options = {"shuffle": True, "seed": 3}
        epochs = [
            row
            for epoch in range(3)
            for row in fields(rows(batches(first_epoch=epoch, **options)))
        ]
        endless = batches(repeat=True, batch_size=16, **options)
        count = len(epochs) // 16
        found = fields(rows(endless.take(count)))
        assert found == epochs[: 16 * count]

    def test_batches_that_no_pool_fills(self, batches, monkeypatch):
        """Chunks and pools of a few rows give the same rows."""
        plain = fields(rows(batches()))
        monkeypatch.setattr("kit.pack.reader.POOL_BYTES", 400)
        assert fields(rows(batches(batch_size=7))) == plain
        mixed = fields(rows(batches(batch_size=7, shuffle=True)))
        assert mixed != plain
        assert sorted(mixed) == sorted(plain)

    def test_the_remainder(self, batches, kind):
        whole = len(rows(batches()))
        sizes = [
            len(tf.nest.flatten(batch)[0])
            for batch in batches(batch_size=16, drop_remainder=True)
        ]
        assert sizes == [16] * (whole // 16)


def test_rows_are_mixed_across_shards(tmp_path):
    made = records(400, seed=2, rated=False)
    shards = [
        write(tmp_path / f"train{at}.tfrecord", made[at * 100 :][:100])
        for at in range(4)
    ]
    pack.pack_snippets(shards, tmp_path / "pack", snippets=1, **QUIET)
    ids = [
        row[3]
        for row in rows(
            pack.Snippets(tmp_path / "pack").batches(
                num_classes=10, with_ids=True
            )
        )
    ]
    shard = np.array([int(video_id[1:]) // 100 for video_id in ids])
    for block in np.split(shard, 4):
        assert (np.bincount(block, minlength=4) > 10).all()


class TestHoldout:
    holdout = Holdout(fraction=0.4, seed=2)

    def ids(self, dataset):
        return {row[3] for row in rows(dataset)}

    def test_no_held_out_video_is_trained_on(self, snippets, segments):
        for make in (
            lambda **options: pack.Snippets(snippets).batches(
                num_classes=10, **options
            ),
            lambda **options: pack.Segments(segments).batches(
                class_ids=CLASSES, **options
            ),
        ):
            found = {
                part: self.ids(
                    make(
                        holdout=self.holdout,
                        part=part,
                        with_ids=True,
                        shuffle=True,
                    )
                )
                for part in PARTS
            }
            listed = sorted(found["all"])
            for part, ids in found.items():
                wanted = self.holdout.select(listed, part)
                assert ids == set(np.array(listed)[wanted].tolist())
            assert found["training"] and found["checkpoint"]

    @pytest.mark.parametrize("made_of", ["training", "holdout"])
    def test_a_pack_of_a_part_holds_that_part(self, shards, tmp_path, made_of):
        options = {"holdout": self.holdout, "part": made_of}
        for write_pack, kind, extra in (
            (pack.pack_snippets, pack.Snippets, {"num_classes": 10}),
            (pack.pack_segments, pack.Segments, {"class_ids": CLASSES}),
        ):
            folder = tmp_path / kind.__name__
            write_pack(shards, folder, **options, **QUIET)
            opened = kind(folder)
            ids = sorted(self.ids(opened.batches(with_ids=True, **extra)))
            assert self.holdout.select(ids, made_of).all()
            other = {"training": "holdout", "holdout": "training"}[made_of]
            with pytest.raises(ValueError, match=f"part='{other}'"):
                opened.batches(holdout=self.holdout, part=other, **extra)


class TestGoingOn:
    def killed(self, folder, shards, where, count):
        """Packs in another process that kills itself, at the `count`th call
        of `where`."""
        code = f"""
            import os, signal
            from kit import pack
            from kit.pack.writer import Writer
            from tests.shards import TINY
            calls, true = [], Writer.{where}
            def counted(self, *arguments):
                calls.append(1)
                if len(calls) == {count}:
                    os.kill(os.getpid(), signal.SIGKILL)
                return true(self, *arguments)
            Writer.{where} = counted
            pack.pack_snippets(
                {shards!r}, {str(folder)!r}, snippets=3, spec=TINY,
                progress=False,
            )
        """
        ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)])
        assert ended.returncode == -9

    @pytest.mark.parametrize("where, count", [("_append", 18), ("_save", 4)])
    def test_a_killed_pack_ends_up_the_same(
        self, shards, snippets, tmp_path, where, count
    ):
        folder = tmp_path / "pack"
        self.killed(folder, shards, where, count)
        done = pack.packed_shards(folder)
        assert 0 < len(done) < len(shards)
        with pytest.raises(ValueError, match="complete=False"):
            pack.Snippets(folder)
        after = []
        pack.pack_snippets(
            shards, folder, snippets=3, on_packed=after.append, **QUIET
        )
        assert after == [path for path in shards if path not in done]
        ours, theirs = content(folder), content(snippets)
        ours.pop("pack.json.new", None)
        assert ours == theirs

    def test_shards_are_dropped_as_they_are_packed(
        self, shards, snippets, tmp_path
    ):
        names = [os.path.basename(path) for path in shards]
        here = tmp_path / "shards"
        here.mkdir()
        most = []

        def fetched():
            for name in names:
                path = str(here / name)
                if path not in pack.packed_shards(tmp_path / "pack"):
                    shutil.copy(
                        os.path.join(os.path.dirname(shards[0]), name), here
                    )
                    most.append(len(os.listdir(here)))
                    yield path

        def run():
            pack.pack_snippets(
                fetched(),
                tmp_path / "pack",
                snippets=3,
                num_blocks=6,
                on_packed=os.remove,
                **QUIET,
            )

        run()
        assert most == [1] * 6 and not os.listdir(here)
        run()
        assert len(most) == 6
        found, wanted = content(tmp_path / "pack"), content(snippets)
        for name in wanted:
            if name != "pack.json":
                assert found[name] == wanted[name]

    def test_other_options_are_refused(self, shards, snippets, segments):
        for options in ({"snippets": 4}, {"snippets": 3, "seed": 1}):
            with pytest.raises(ValueError, match="made otherwise"):
                pack.pack_snippets(shards, snippets, **options, **QUIET)
        with pytest.raises(ValueError, match="made otherwise"):
            pack.pack_segments(shards, snippets, context=2, **QUIET)

    def test_a_folder_with_other_things(self, shards, tmp_path):
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(ValueError, match="empty folder"):
            pack.pack_snippets(shards, tmp_path, **QUIET)
        assert os.listdir(tmp_path) == ["thesis.txt"]

    def test_a_video_packed_before_is_found(self, shards, tmp_path, made):
        folder = tmp_path / "pack"
        pack.pack_snippets(shards[:2], folder, num_blocks=2, **QUIET)
        again = write(tmp_path / "train.tfrecord", made[:1])
        with pytest.raises(ValueError, match="must occur once"):
            pack.pack_snippets(
                [*shards[:2], again], folder, num_blocks=2, **QUIET
            )


class TestDamage:
    @pytest.fixture
    def folder(self, snippets, tmp_path):
        return shutil.copytree(snippets, tmp_path / "pack")

    @pytest.mark.parametrize(
        "name", ["entries.bin", "ratings.bin", "rows-002.bin", "frames-002.bin"]
    )
    @pytest.mark.parametrize("change", ["shorter", "longer", "gone"])
    def test_a_file_of_another_size(self, folder, name, change):
        path = folder / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] if change == "shorter" else whole + b"x")
        if change == "gone":
            path.unlink()
        with pytest.raises(ValueError, match=f"size.*{name}"):
            pack.Snippets(folder)

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "{",
            "[]",
            "{}",
            '{"format": "npz", "version": 1}',
            '{"format": "kit-pack", "version": 1}',
            '{"format": "kit-pack", "version": 1, "rows": "abc"}',
        ],
    )
    def test_a_foreign_header(self, folder, header):
        (folder / "pack.json").write_text(header)
        with pytest.raises(ValueError, match="folder with our `pack.json`"):
            pack.Snippets(folder)

    def test_no_pack_at_all(self, tmp_path):
        assert pack.packed_shards(tmp_path / "none") == set()
        with pytest.raises(ValueError, match="folder with our `pack.json`"):
            pack.Segments(tmp_path)

    def test_another_version(self, folder):
        header = json.loads((folder / "pack.json").read_text())
        header["version"] = 2
        (folder / "pack.json").write_text(json.dumps(header))
        with pytest.raises(ValueError, match="version=2"):
            pack.Snippets(folder)

    def test_the_other_kind(self, folder):
        with pytest.raises(ValueError, match="kind='snippets'"):
            pack.Segments(folder)

    def test_rows_that_point_nowhere(self, folder):
        path = folder / "rows-001.bin"
        path.write_bytes(b"\xff" * path.stat().st_size)
        with pytest.raises(tf.errors.InvalidArgumentError, match="point into"):
            rows(pack.Snippets(folder).batches(num_classes=10))

    def test_labels_that_do_not_cover(self, folder):
        path = folder / "entries.bin"
        path.write_bytes(b"\x01" * path.stat().st_size)
        with pytest.raises(ValueError, match="cover its ratings"):
            pack.Snippets(folder)

    def test_classes_that_are_not_covered(self, folder, segments):
        with pytest.raises(ValueError, match=r"outside=\[8, 9\]"):
            pack.Snippets(folder).batches(num_classes=8)
        with pytest.raises(ValueError, match=r"outside=\[9\]"):
            pack.Segments(segments).batches(class_ids=CLASSES[:-1])


def test_it_is_only_read(snippets, segments):
    """Nothing is written, so that a read-only mount will do."""
    before = {}
    for folder in (snippets, segments):
        for name in os.listdir(folder):
            path = folder / name
            path.chmod(0o444)
            before[path] = path.stat().st_mtime_ns
        folder.chmod(0o555)
        before[folder] = folder.stat().st_mtime_ns
    rows(pack.Snippets(snippets).batches(num_classes=10, shuffle=True))
    rows(pack.Segments(segments).batches(class_ids=CLASSES, shuffle=True))
    assert before == {path: path.stat().st_mtime_ns for path in before}
    snippets.chmod(0o755)
    segments.chmod(0o755)


def test_bad_records_can_be_left_out(made, tmp_path):
    bad = made[5].but(labels=[-1])
    shard = write(tmp_path / "train.tfrecord", [*made[:5], bad, *made[6:]])
    with pytest.raises(ValueError, match="record=5, field='labels'"):
        pack.pack_snippets([shard], tmp_path / "pack", **QUIET)
    with pytest.warns(UserWarning, match="left out 1"):
        header = pack.pack_snippets(
            [shard], tmp_path / "pack", on_error="skip", **QUIET
        )
    assert header["left_out"] == 1
    assert header["entries"] == len(made) - 1


def test_ratings_without_frames_are_counted(segments, made):
    header = pack.Segments(segments).header
    assert header["beyond_last_frame"] == sum(
        start >= len(one.rgb) for one in made for start in one.starts
    )


def test_nothing_to_pack(tmp_path):
    shard = write(tmp_path / "test.tfrecord", records(3, rated=False))
    with pytest.raises(ValueError, match="nothing to pack"):
        pack.pack_segments([shard], tmp_path / "pack", **QUIET)


def test_a_long_id_is_refused(tmp_path):
    one = records(1)[0].but(video_id=b"x" * 17)
    shard = write(tmp_path / "train.tfrecord", [one])
    with pytest.raises(ValueError, match="at most 16 bytes"):
        pack.pack_snippets([shard], tmp_path / "pack", **QUIET)
