import json
import os
import runpy
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

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
        monkeypatch.setattr("kit.pack.rows.POOL_BYTES", 400)
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
        assert after == shards
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
        pack.pack_snippets(shards[:2], folder, **QUIET)
        again = write(tmp_path / "train.tfrecord", made[:1])
        with pytest.raises(ValueError, match="must occur once"):
            pack.pack_snippets([*shards[:2], again], folder, **QUIET)

    @pytest.fixture
    def dropped(self, shards, tmp_path):
        """A folder of shards, the pack of all, and a way to pack and drop
        that stops after some."""
        here = tmp_path / "shards"
        shutil.copytree(os.path.dirname(shards[0]), here)
        whole = tmp_path / "whole"
        pack.pack_snippets(data.list_shards(here, "validate"), whole, **QUIET)

        def drop(count, remove=os.remove):
            left = data.list_shards(here, "validate")
            stop = left[count] if count < len(left) else None

            def packed(path):
                if path == stop:
                    raise InterruptedError
                remove(path)

            pack.pack_snippets(
                left, tmp_path / "pack", on_packed=packed, **QUIET
            )

        return here, whole, tmp_path / "pack", drop

    def test_what_is_left_is_enough_to_go_on(self, dropped):
        here, whole, folder, drop = dropped
        with pytest.raises(InterruptedError):
            drop(2)
        # The third was packed and not dropped: now it goes first.
        assert len(os.listdir(here)) == 4
        with pytest.raises(InterruptedError):
            drop(3)
        assert len(os.listdir(here)) == 1
        drop(9)
        assert not os.listdir(here)
        assert content(folder) == content(whole)

    @pytest.mark.parametrize("way", ["finish", "no shards"])
    def test_a_pack_without_a_shard_left_is_finished(
        self, dropped, monkeypatch, way
    ):
        here, whole, folder, drop = dropped
        with monkeypatch.context() as patch:
            patch.setattr("kit.pack.writer.Writer.finish", lambda self: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                drop(9)
        assert not os.listdir(here)
        with pytest.raises(ValueError, match="complete=False"):
            pack.Snippets(folder)
        if way == "finish":
            pack.finish(folder)
        else:
            pack.pack_snippets([], folder, **QUIET)
        assert content(folder) == content(whole)

    def test_what_lacks_shards_is_not_finished(self, dropped, tmp_path):
        _, _, folder, drop = dropped
        with pytest.raises(InterruptedError):
            drop(2)
        for finish in (
            lambda: pack.finish(folder),
            lambda: pack.pack_snippets([], folder, **QUIET),
        ):
            with pytest.raises(ValueError, match="with 3 of 6"):
                finish()
        with pytest.raises(ValueError, match="complete=False"):
            pack.Snippets(folder)
        with pytest.raises(ValueError, match="folder with our `pack.json`"):
            pack.finish(tmp_path / "none")
        assert not (tmp_path / "none").exists()

    def test_shards_are_added_to_a_finished_pack(self, shards, tmp_path):
        for given in (shards[:2], shards[2:5]):
            pack.pack_snippets(given, tmp_path / "pack", **QUIET)
        both = {"num_blocks": 2, **QUIET}
        pack.pack_snippets(shards[:5], tmp_path / "whole", **both)
        assert content(tmp_path / "pack") == content(tmp_path / "whole")

    def test_a_header_that_was_not_written(self, shards, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", lambda *names: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                pack.pack_snippets(shards[:1], tmp_path, **QUIET)
        assert os.listdir(tmp_path) == ["pack.json.new"]
        assert pack.pack_snippets(shards[:1], tmp_path, **QUIET)["complete"]

    def test_what_holds_no_shard_is_made_otherwise(self, shards, tmp_path):
        options = {"num_classes": 3, "num_blocks": 9}
        with pytest.raises(ValueError, match="0 to 2"):
            pack.pack_snippets(shards, tmp_path / "pack", **options, **QUIET)
        for name in ("pack", "whole"):
            options = {"num_classes": 10, "num_blocks": 4}
            pack.pack_snippets(shards, tmp_path / name, **options, **QUIET)
        assert content(tmp_path / "pack") == content(tmp_path / "whole")

    @pytest.mark.filterwarnings("ignore:Bad input")
    def test_an_id_that_was_read_and_not_packed_is_known(self, made, tmp_path):
        rated = {"starts": [0], "classes": [1], "scores": [1]}
        unrated = {"starts": [], "classes": [], "scores": []}
        held = Holdout(0.5)
        inside, outside = (
            next(one for one in made if held.select([one.video_id], part)[0])
            for part in ("training", "holdout")
        )
        shards = [
            write(
                tmp_path / "train0.tfrecord", [inside.but(**unrated), outside]
            ),
            write(
                tmp_path / "train1.tfrecord",
                [one.but(**rated) for one in [*made[:3], inside, outside]],
            ),
        ]
        options = {"on_error": "skip", "holdout": held, "part": "training"}
        whole, folder = tmp_path / "whole", tmp_path / "pack"
        pack.pack_segments(shards, whole, **options, **QUIET)
        with pytest.raises(ZeroDivisionError):
            pack.pack_segments(
                shards, folder, on_packed=lambda path: 1 / 0, **options, **QUIET
            )
        pack.pack_segments(shards, folder, **options, **QUIET)
        assert content(folder) == content(whole)
        assert json.loads((folder / "pack.json").read_text())["left_out"] >= 2


class TestOneAtATime:
    def test_a_second_packer_is_refused(self, shards, snippets, tmp_path):
        def second(path):
            with pytest.raises(ValueError, match="One process packs"):
                pack.pack_snippets(shards, tmp_path, snippets=3, **QUIET)
            with pytest.raises(ValueError, match="One process packs"):
                pack.finish(tmp_path)

        options = {"snippets": 3, "on_packed": second, **QUIET}
        pack.pack_snippets(shards, tmp_path, **options)
        assert content(tmp_path) == content(snippets)

    @pytest.mark.parametrize("name", ["ids.bin", "frames-002.bin"])
    def test_without_locks_it_is_found(
        self, shards, snippets, tmp_path, monkeypatch, name
    ):
        def no_lock(*arguments):
            raise OSError("no locks here")

        def meddle(path):
            with open(tmp_path / name, "ab") as file:
                file.write(b"mine")

        options = {"snippets": 3, **QUIET}
        with monkeypatch.context() as patch:
            patch.setattr("fcntl.flock", no_lock)
            with pytest.raises(ValueError, match=f"Nobody else.*{name}"):
                pack.pack_snippets(
                    shards, tmp_path, on_packed=meddle, **options
                )
            pack.pack_snippets(shards, tmp_path, **options)
        assert content(tmp_path) == content(snippets)


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
            '{"format": "kit-pack", "version": 2}',
            '{"format": "kit-pack", "version": 2, "rows": "abc"}',
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
        header["version"] = 1
        (folder / "pack.json").write_text(json.dumps(header))
        with pytest.raises(ValueError, match="version=1"):
            pack.Snippets(folder)

    NEEDED = (
        *("format", "version", "kind", "complete", "shards", "planned"),
        *("ids", "entries", "ratings", "rows", "left_out", "blocks"),
        *("beyond_last_frame", "ended", "spec", "holdout", "seed", "length"),
        *("context", "checksums"),
    )

    @pytest.mark.parametrize("name", NEEDED)
    def test_a_header_that_lacks_a_key(self, folder, name):
        header = json.loads((folder / "pack.json").read_text())
        del header[name]
        (folder / "pack.json").write_text(json.dumps(header))
        with pytest.raises(ValueError, match=f"our `pack.json`.*'{name}'"):
            pack.Snippets(folder)

    @pytest.mark.parametrize(
        "change",
        [
            lambda header: {"rows": []},
            lambda header: {"rows": {}},
            lambda header: {"rows": 6},
            lambda header: {"rows": [float(n) for n in header["rows"]]},
            lambda header: {"rows": [0] * len(header["rows"])},
            lambda header: {"rows": header["rows"][:-1]},
            lambda header: {"rows": [-1, *header["rows"][1:]]},
            lambda header: {"entries": float(header["entries"])},
            lambda header: {"complete": "yes"},
            lambda header: {"complete": 1},
            lambda header: {"kind": ["snippets"]},
            lambda header: {"length": 7},
            lambda header: {"shards": "abc"},
            lambda header: {"shards": [[]]},
            lambda header: {"planned": "6"},
            lambda header: {"ended": []},
            lambda header: {"checksums": []},
            lambda header: {"checksums": {"ids.bin": 0}},
            lambda header: {"spec": {}},
            lambda header: {"spec": {**header["spec"], "depth": 3}},
            lambda header: {"spec": {**header["spec"], "rgb": 8.0}},
            lambda header: {"spec": None},
            lambda header: {"holdout": {"fraction": 2, "seed": 0}},
        ],
    )
    def test_a_header_that_makes_no_sense(self, folder, change):
        header = json.loads((folder / "pack.json").read_text())
        header |= change(header)
        (folder / "pack.json").write_text(json.dumps(header))
        with pytest.raises(ValueError, match="our `pack.json`"):
            pack.Snippets(folder)

    @pytest.mark.parametrize("name", ["ids", "entries", "ratings"])
    def test_a_bit_that_is_wrong(self, folder, name):
        """Else a score could be 77, or a held-out video be another."""
        path = folder / f"{name}.bin"
        whole = path.read_bytes()
        chance = np.random.default_rng(0)
        for at in chance.integers(8 * len(whole), size=20).tolist():
            damaged = bytearray(whole)
            damaged[at // 8] ^= 1 << at % 8
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=f"damaged.*{name}.bin"):
                pack.Snippets(folder)
        path.write_bytes(whole)
        pack.Snippets(folder)

    def test_the_other_kind(self, folder):
        with pytest.raises(ValueError, match="kind='snippets'"):
            pack.Segments(folder)

    def test_rows_that_point_nowhere(self, folder):
        path = folder / "rows-001.bin"
        path.write_bytes(b"\xff" * path.stat().st_size)
        with pytest.raises(tf.errors.InvalidArgumentError, match="point into"):
            rows(pack.Snippets(folder).batches(num_classes=10))

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


def test_ids_of_any_length(made, tmp_path):
    names = ["x" * 17, "é" * 400, "y/" * 20_000, "b"]
    long = [
        one.but(video_id=name.encode(), starts=[0], classes=[1], scores=[1])
        for one, name in zip(made, names, strict=False)
    ]
    shards = [
        write(tmp_path / f"train{at}.tfrecord", long[2 * at :][:2])
        for at in range(2)
    ]
    folder, held = tmp_path / "pack", Holdout(0.5, seed=1)
    pack.pack_segments(shards, folder, **QUIET)
    options = {"class_ids": CLASSES, "with_ids": True, "holdout": held}
    for part in ("all", "training", "holdout"):
        packed = pack.Segments(folder).batches(part=part, **options)
        read = data.rated_segments(shards, spec=TINY, part=part, **options)
        assert sorted(fields(rows(packed))) == sorted(fields(rows(read)))
    again = write(tmp_path / "train3.tfrecord", long[1:2])
    with pytest.raises(ValueError, match="must occur once"):
        pack.pack_segments([*shards, again], folder, **QUIET)


@pytest.mark.filterwarnings("ignore:Bad input")
class TestVocabulary:
    """What lies outside it would make the whole pack useless."""

    def test_of_snippets(self, made, tmp_path):
        bad = [made[5].but(labels=[10]), *made[6:]]
        shard = write(tmp_path / "train.tfrecord", [*made[:5], *bad])
        options = {"num_classes": np.int64(10), **QUIET}
        with pytest.raises(ValueError, match="record=5, field='labels'"):
            pack.pack_snippets([shard], tmp_path / "pack", **options)
        header = pack.pack_snippets(
            [shard], tmp_path / "pack", on_error="skip", **options
        )
        assert (header["left_out"], header["num_classes"]) == (1, 10)
        opened = pack.Snippets(tmp_path / "pack")
        found = rows(opened.batches(num_classes=10, with_ids=True))
        wanted = {one.video_id for one in made} - {made[5].video_id}
        assert {row[3] for row in found} == wanted

    def test_of_segments(self, made, tmp_path):
        rated = {"starts": [0], "classes": [99], "scores": [1]}
        bad = [made[5].but(**rated), *made[6:]]
        shard = write(tmp_path / "train.tfrecord", [*made[:5], *bad])
        options = {"class_ids": np.array(CLASSES[::-1]), **QUIET}
        with pytest.raises(ValueError, match="field='segment_labels'"):
            pack.pack_segments([shard], tmp_path / "pack", **options)
        header = pack.pack_segments(
            [shard], tmp_path / "pack", on_error="skip", **options
        )
        assert (header["left_out"], header["class_ids"]) == (1, CLASSES)
        pack.Segments(tmp_path / "pack").batches(class_ids=CLASSES)

    @pytest.mark.parametrize("given", [0, 1.5, "10"])
    def test_that_is_none(self, shards, tmp_path, given):
        with pytest.raises(ValueError, match="`num_classes` must be"):
            pack.pack_snippets(shards, tmp_path, num_classes=given, **QUIET)
        with pytest.raises(ValueError, match="`class_ids` must be"):
            pack.pack_segments(shards, tmp_path, class_ids=given, **QUIET)


def test_the_header_says_what_was_left_out(made, tmp_path):
    shard = tmp_path / "train.tfrecord"
    write(shard, [made[0].but(labels=[-1]), *made[1:]])
    shard.write_bytes(shard.read_bytes()[:-9])
    report = data.Report()
    # It has counted the same shard in another pass.
    with pytest.warns(UserWarning, match="left out 1"):
        data.ratings([str(shard)], spec=TINY, on_error=report)
    with pytest.warns(UserWarning, match="left out 1"):
        header = pack.pack_snippets(
            shard,
            tmp_path / "pack",
            on_error=report,
            on_packed=os.remove,
            **QUIET,
        )
    assert header["left_out"] == 1
    assert header["beyond_last_frame"] == sum(
        start >= len(one.rgb) for one in made[1:-1] for start in one.starts
    )
    (path,) = header["ended"]
    assert path == str(shard)
    assert header["ended"][path].startswith(f"ended at record {len(made) - 1}:")
    assert not shard.exists()
    assert pack.read_header(tmp_path / "pack") == header


def test_numbers_of_numpy(shards, tmp_path):
    one, two = np.int64(1), np.float32(0.5)
    options = {"seed": one, "num_blocks": one, **QUIET}
    for holdout in (Holdout(seed=one), Holdout(two)):
        folder = tmp_path / repr(holdout)
        for _ in range(2):
            pack.pack_snippets(
                shards[0], folder, snippets=one, holdout=holdout, **options
            )
        assert len(pack.Snippets(folder)) == 10
    pack.pack_segments(shards, tmp_path / "segments", context=one, **options)


@pytest.mark.parametrize(
    "folder", ["ram://bucket/pack", "gs://bucket/pack", Path("gs://b/pack")]
)
def test_a_folder_elsewhere_is_refused(shards, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for write_pack in (pack.pack_snippets, pack.pack_segments):
        with pytest.raises(ValueError, match="goes to a local path"):
            write_pack(shards, folder, **QUIET)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("option", ["on_error", "spec", "context", "sampling"])
def test_options_that_were_settled(snippets, segments, option):
    for opened, known in (
        (pack.Snippets(snippets), {"num_classes": 10}),
        (pack.Segments(segments), {"class_ids": CLASSES}),
    ):
        with pytest.raises(ValueError, match=f"settled.*Received: {option}$"):
            opened.batches(**{option: "skip"}, **known)


class TestCommand:
    """`python -m kit.stages.pack`."""

    @pytest.fixture
    def folder(self, made, tmp_path):
        """Two shards of training videos, and no others."""
        for at in range(2):
            write(tmp_path / "data" / f"train{at}.tfrecord", made[at::2])
        table = "Index\n" + "\n".join(map(str, CLASSES))
        (tmp_path / "data" / "segment_label_ids.csv").write_text(table)
        return tmp_path

    @pytest.fixture
    def run(self, folder, monkeypatch):
        def run(**settings):
            settings = {
                "data_dir": str(folder / "data"),
                "output_dir": str(folder / "out"),
                "frame_spec": "8,4,20,5",
                **settings,
            }
            arguments = ["pack"]
            for name, value in settings.items():
                arguments += ["--" + name.replace("_", "-"), value]
            monkeypatch.setattr(sys, "argv", arguments)
            runpy.run_module("kit.stages.pack", run_name="__main__")
            return pack.Snippets(folder / "out" / "snippets")

        return run

    def ids(self, opened):
        return set(opened.entries["id"].tolist())

    def training(self, made):
        ids = np.array([one.video_id for one in made])
        return set(ids[Holdout().select(ids, "training")].tolist())

    def test_train_shards_alone_are_enough(self, folder, run, made, capsys):
        opened = run()
        assert self.ids(opened) == self.training(made)
        assert opened.header["num_classes"] == 3862
        # Those of another split are added to it.
        other = records(9, prefix="w")
        write(folder / "data" / "validate.tfrecord", other)
        assert self.ids(run()) == self.training(made + other)
        assert "--pack-dir" in capsys.readouterr().out

    def test_shards_of_a_bucket_and_a_table_at_home(self, folder, run, made):
        bucket = f"ram://{folder.name}/2/frame/train"
        tf.io.gfile.makedirs(bucket)
        for path in (folder / "data").glob("*.tfrecord"):
            tf.io.gfile.copy(str(path), f"{bucket}/{path.name}")
            path.unlink()
        table = folder / "data" / "segment_label_ids.csv"
        opened = run(data_dir=f"{bucket},{table}")
        assert self.ids(opened) == self.training(made)
        assert opened.header["shards"][0].startswith("ram://")

    def test_it_finishes_what_has_no_shard_left(self, folder, run, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr("kit.pack.writer.Writer.finish", lambda self: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                run()
        for path in (folder / "data").glob("*.tfrecord"):
            path.unlink()
        assert len(run()) == 4 * len(self.ids(run()))

    def test_without_shards_or_a_pack(self, folder, run):
        for path in (folder / "data").glob("*.tfrecord"):
            path.unlink()
        with pytest.raises(ValueError, match="must hold shards named `train"):
            run()

    def test_simulated_shards_are_not_mixed_in(self, folder, run, sample):
        both = f"{folder / 'data'},{sample}/**/validate*.tfrecord"
        with pytest.raises(ValueError, match="cannot be mixed"):
            run(data_dir=both)
