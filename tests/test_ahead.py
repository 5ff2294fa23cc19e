"""The process that reads ahead gives what reading in one process gives."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kit import data
from kit.data import ahead, helper, tfrecord
from kit.data.records import parse
from kit.data.source import source
from kit.spec import FrameSpec
from kit.splits import Holdout
from tests.shards import TINY, Record, records, rows, write

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"),
    reason="only Linux reads ahead; elsewhere tests/test_data.py is all",
)


@pytest.fixture
def always(monkeypatch):
    """Has every pass read ahead, with a process of its own."""
    monkeypatch.setattr(ahead, "WORTH_BYTES", 0)
    monkeypatch.setattr(ahead, "_idle", [])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    yield
    ahead._end()


@pytest.fixture
def used(always, monkeypatch):
    """The shards that are read ahead to their end, one by one."""
    original, paths = ahead.Reader.records, []

    def watched(self, file, widths):
        paths.append(file.name)
        end = yield from original(self, file, widths)
        assert end == os.fstat(file.fileno()).st_size
        return end

    monkeypatch.setattr(ahead.Reader, "records", watched)
    return paths


def big(count, seed=0, width=1024):
    """Videos of which a slot holds few."""
    rng = np.random.default_rng(seed)
    made = []
    for at in range(count):
        frames = int(rng.integers(100, 301))
        made.append(
            Record(
                video_id=b"%d-%d" % (seed, at),
                rgb=[rng.bytes(width) for _ in range(frames)],
                audio=[rng.bytes(128) for _ in range(frames)],
                labels=[at % 7],
            )
        )
    return made


@pytest.fixture(scope="module")
def made():
    return [big(count, seed) for seed, count in enumerate((40, 3, 25))]


@pytest.fixture(scope="module")
def shards(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("big")
    return [
        write(folder / f"train{at}.tfrecord", one)
        for at, one in enumerate(made)
    ]


def passed(shards, spec=data.YOUTUBE_8M):
    found = source(shards, spec, Holdout(), "all", "stop", num_classes=10)
    return found.one_pass()


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 64},
        {"batch_size": 16, "num_frames": 5, "sampling": "frames"},
        {"num_frames": 5, "sampling": "run", "shuffle": True, "seed": 3},
        {"shuffle": True, "part": "training", "holdout": Holdout(0.4)},
    ],
)
def test_the_same_batches(shards, used, monkeypatch, options):
    def read():
        batches = data.videos(
            shards,
            num_classes=10,
            with_ids=True,
            **{"batch_size": 7, **options},
        )
        return [
            (x["frames"].numpy(), x["mask"].numpy(), y.numpy(), ids.numpy())
            for x, y, ids in batches
        ]

    found = read()
    assert sorted(used) == sorted(shards)
    monkeypatch.setattr(ahead, "WORTH_BYTES", 2**60)
    expected = read()
    assert len(used) == len(shards)
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "spec", [TINY, FrameSpec(8, 0, 20), FrameSpec(0, 4, 20)]
)
def test_ratings_and_features_left_out(used, tmp_path, monkeypatch, spec):
    shard = write(tmp_path / "validate.tfrecord", records(30))
    options = {"class_ids": range(10), "spec": spec, "with_ids": True}
    found = rows(data.rated_segments([shard], **options))
    assert used == [shard]
    monkeypatch.setattr(ahead, "WORTH_BYTES", 2**60)
    expected = rows(data.rated_segments([shard], **options))
    assert len(found) == len(expected) > 20
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_equal(one, other)


def test_every_frame_is_right_while_all_are_held(shards, made, used):
    """Nothing is overwritten that somebody still looks at."""
    videos = list(passed(shards))
    written = [one for some in made for one in some]
    for video, one in zip(videos, written, strict=True):
        assert video.rgb.tobytes() == b"".join(one.rgb)
        assert video.audio.tobytes() == b"".join(one.audio)


def test_memory_is_used_again(shards, used, monkeypatch):
    monkeypatch.setattr(ahead, "_idle", [])
    reader = ahead.take(shards)
    for _ in range(3):
        for path in shards:
            with open(path, "rb") as file:
                for _ in reader.records(file, (1024, 128)):
                    pass
        assert len(reader.users) <= 2 * ahead.DEPTH + 1
    reader.close()


def test_a_record_larger_than_a_slot(tmp_path, always, monkeypatch):
    """It, and what is behind it, is read without the process."""
    original, ends = ahead.Reader.records, []

    def watched(self, file, widths):
        ends.append((yield from original(self, file, widths)))
        return ends[-1]

    monkeypatch.setattr(ahead.Reader, "records", watched)
    spec = FrameSpec(16_384, 128, 300)
    made = [*big(2, width=16_384), *big(2, seed=1, width=16_384)]
    made[1] = made[1].but(rgb=made[1].rgb[:20], audio=made[1].audio[:20])
    made[0], made[1] = made[1], made[0]
    shard = write(tmp_path / "train.tfrecord", made)
    assert os.path.getsize(shard) > 2 * helper.SLOT
    found = [video.video_id for video in passed([shard], spec)]
    assert found == [one.video_id for one in made]
    assert ends == [len(made[0].serialized()) + 16]


def test_a_killed_process_changes_nothing(shards, made, always):
    reader = ahead.take(shards)
    ahead.give_back(reader)
    found = []
    for at, video in enumerate(passed(shards)):
        if at == 13:
            reader.process.kill()
            reader.process.wait()
        found.append(video.video_id)
    assert found == [one.video_id for some in made for one in some]
    assert len(list(passed(shards))) == len(found)
    [other] = ahead._idle
    assert other is not reader
    other.close()


def test_a_pass_that_is_left_early(shards, made, used, monkeypatch):
    for _ in range(3):
        next(passed(shards))
    assert len(list(passed(shards))) == 68
    [reader] = ahead._idle  # one for all of them
    reader.close()


def test_relative_paths_after_a_change_of_folder(
    shards, used, tmp_path, monkeypatch
):
    monkeypatch.setattr(ahead, "_idle", [])
    list(passed(shards))
    monkeypatch.chdir(os.path.dirname(shards[0]))
    assert len(list(passed(["train0.tfrecord"]))) == 40
    write(tmp_path / "train0.tfrecord", big(3, seed=9))
    monkeypatch.chdir(tmp_path)
    assert len(list(passed(["train0.tfrecord"]))) == 3
    ahead._end()


@pytest.mark.parametrize(
    "act", [os.unlink, lambda path: os.replace(path + "2", path)]
)
def test_a_file_that_goes_away_while_it_is_read(made, used, tmp_path, act):
    shard = write(tmp_path / "train.tfrecord", made[2])
    write(tmp_path / "train.tfrecord2", made[0])
    found = passed([shard])
    next(found)
    act(shard)
    assert len(list(found)) == 24


@pytest.mark.parametrize("at", [0, 1, 5, 9, 24])
def test_nothing_is_lost_where_reading_fails(shards, made, at):
    """After such an error, the rest is read by the other process."""
    shard = helper.Shard(shards[2], (1024, 128))
    real, reads = shard.file, iter(range(99))

    def readinto(slot):
        if next(reads) == at:
            raise OSError("the mount did not answer")
        return real.readinto(slot)

    shard.file = SimpleNamespace(readinto=readinto, close=real.close)
    slot, found = memoryview(bytearray(helper.SLOT)), []
    while some := shard.fill(slot):
        found += some
    assert len(found) == at
    with open(shards[2], "rb") as file:
        rest = tfrecord.rest(file, found[-1][0] if found else 0)
        ids = [parse(one, data.YOUTUBE_8M).video_id for one in rest]
    assert ids == [one.video_id for one in made[2][at:]]


@pytest.mark.parametrize("method", ["send", "receive"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_pass_after_an_interrupt(shards, used, monkeypatch, method, when):
    monkeypatch.setattr(ahead, "_idle", [])
    for count in range(5):
        with monkeypatch.context() as patch:
            original, left = getattr(helper.Talk, method), iter(range(99))

            def interrupted(self, *given, left=left, original=original):
                last = next(left) == count  # noqa: B023
                if last and when == "before":
                    raise KeyboardInterrupt
                answer = original(self, *given)
                if last:
                    raise KeyboardInterrupt
                return answer

            patch.setattr(helper.Talk, method, interrupted)
            with pytest.raises(KeyboardInterrupt):
                list(passed(shards[:1]))
        assert ahead._idle == []  # it is not kept
        assert len(list(passed(shards[2:]))) == 25
        ahead._end()


FORK = """
import os, sys
from kit.data import ahead
reader = ahead.Reader()
with open(sys.argv[1], "rb") as file:
    found = reader.records(file, (1024, 128))
    ids = [next(found).context for _ in range(3)]
    if os.fork() == 0:
        # Another process may not go on with it, nor hand it on or end it.
        rest = list(found)
        ahead.give_back(reader)
        reader.close()
        os._exit(bool(rest or ahead._idle))
    assert os.wait()[1] == 0
    ids += [one.context for one in found]
assert len(set(ids)) == len(ids) == 40, len(ids)
reader.close()
"""


def test_a_fork(shards):
    subprocess.run([sys.executable, "-c", FORK, shards[0]], check=True)


SUSPENDED = """
import sys
from kit.data import ahead
readers = [ahead.Reader(), ahead.Reader()]
ahead.give_back(readers.pop())
file = open(sys.argv[1], "rb", buffering=0)
found = readers[0].records(file, (1024, 128))
next(found)
file.close()
"""


def test_an_exit_leaves_nothing(shards):
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", SUSPENDED]
        + shards[:1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert "Resource" not in done.stderr and "Traceback" not in done.stderr


def test_what_held_much_is_not_kept(shards, used, monkeypatch):
    monkeypatch.setattr(ahead, "_idle", [])
    monkeypatch.setattr(ahead, "MOST_SLOTS", 5)
    assert len(list(passed(shards))) == 68
    assert ahead._idle == []


def test_frames_cannot_be_written(shards, used):
    video = next(passed(shards))
    with pytest.raises(ValueError, match="read-only"):
        video.rgb[0] = 0


def test_two_passes_at_once(shards, made, used, monkeypatch):
    monkeypatch.setattr(ahead, "_idle", [])
    both = zip(passed(shards), passed(shards), strict=True)
    assert all(np.array_equal(one.rgb, other.rgb) for one, other in both)
    assert len(ahead._idle) == 2
    ahead._end()
    assert ahead._idle == []


def test_it_does_not_import_what_it_does_not_need(shards, used, monkeypatch):
    monkeypatch.setattr(ahead, "_idle", [])
    list(passed(shards))
    [reader] = ahead._idle
    mapped = Path(f"/proc/{reader.process.pid}/maps").read_text()
    assert "numpy" in mapped
    assert "tensorflow" not in mapped
    reader.close()


def test_it_ends_with_the_process_that_started_it():
    script = (
        "import time; from kit.data import ahead; reader = ahead.Reader(); "
        "print(reader.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    )
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().split()[2]
        except FileNotFoundError:
            return
        if state == "Z":  # nobody collects it where there is no init
            return
        time.sleep(0.1)
    pytest.fail("It goes on.")


def test_where_it_does_not_pay(shards, always, monkeypatch):
    monkeypatch.setattr(ahead, "WORTH_BYTES", 2**60)
    assert ahead.take(shards) is None  # little to read
    monkeypatch.setattr(ahead, "WORTH_BYTES", 0)
    reader = ahead.take(shards)
    assert reader is not None
    reader.close()
    for change in (
        lambda patch: patch.setattr(os, "sched_getaffinity", lambda _: {0}),
        lambda patch: patch.setattr(tfrecord, "google_crc32c", None),
        lambda patch: patch.delattr(os, "memfd_create"),
        lambda patch: patch.setattr(sys, "executable", "/nowhere/python"),
        lambda patch: patch.setattr(sys, "executable", None),
    ):
        with monkeypatch.context() as patch:
            change(patch)
            patch.setattr(ahead, "_idle", [])
            assert ahead.take(shards) is None
            assert len(list(passed(shards))) == 68
    assert ahead.take(["gs://bucket/train.tfrecord"]) is None
    assert ahead.take(["/nowhere/train.tfrecord"]) is None
