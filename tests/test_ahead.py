"""Reading ahead in another process changes nothing but the time it takes."""

import os
import signal
import sys
import time
import warnings

import numpy as np
import pytest
import tensorflow as tf

from kit import data, pack
from kit.data import ahead, tfrecord
from tests.shards import TINY, records, write

OPTIONS = {"num_classes": 10, "spec": TINY}
PICKED = {**OPTIONS, "num_frames": 3, "sampling": "frames", "batch_size": 7}


pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere nothing is read ahead"
)


@pytest.fixture(autouse=True)
def small_files_too(read_ahead):
    read_ahead(2000)


@pytest.fixture
def shards(tmp_path):
    """Ten, so that two wait while eight are open; one of them is short."""
    return [
        write(
            tmp_path / f"validate{at}.tfrecord", records(count, at, prefix=at)
        )
        for at, count in enumerate([40, 1, *[30] * 8])
    ]


def contents(batches):
    return [
        [np.asarray(part).tolist() for part in tf.nest.flatten(batch)]
        for batch in batches
    ]


def alone(monkeypatch):
    """From now on without the other process."""
    monkeypatch.setattr(ahead, "available", lambda: False)


def processes():
    return [one.process.pid for one in ahead._resting if one.process]


@pytest.mark.parametrize("sizes", [[1] * 99, [1990] * 5, [7000, 3, 9000, 5]])
@pytest.mark.parametrize("chunk", [100, 2000, 8000])
def test_records_of_every_size(sizes, chunk, read_ahead, tmp_path):
    """Also those that are larger than what is read at a time."""
    read_ahead(chunk)
    whole = [os.urandom(size) for size in sizes]
    path = write(tmp_path / "a.tfrecord", whole)
    with ahead.reading() as reader:
        assert list(map(bytes, reader.records(path))) == whole
        assert reader.process is not None


READERS = {
    "picked": lambda shards: data.videos(shards, **PICKED, shuffle=True),
    "in order": lambda shards: data.videos(shards, **PICKED),
    "rated": lambda shards: data.rated_segments(
        shards, class_ids=range(10), spec=TINY, context=2, shuffle=True
    ),
    "segments": lambda shards: data.segments(shards, spec=TINY),
    "half": lambda shards: data.videos(shards, **PICKED, part="checkpoint"),
}


@pytest.mark.parametrize("name", READERS)
def test_the_same_batches(name, shards, monkeypatch):
    with_it = contents(READERS[name](shards).as_numpy_iterator())
    assert processes(), "nothing was read ahead"
    alone(monkeypatch)
    assert with_it
    assert with_it == contents(READERS[name](shards).as_numpy_iterator())


def test_the_same_ratings_and_the_same_pack(shards, monkeypatch, tmp_path):
    def results(folder):
        quiet = {"spec": TINY, "progress": False}
        pack.pack_snippets(shards, tmp_path / folder, **quiet)
        files = sorted((tmp_path / folder).rglob("*"))
        return data.ratings(shards, spec=TINY).to_csv(), [
            (file.name, file.read_bytes()) for file in files if file.is_file()
        ]

    with_it = results("one")
    assert processes(), "nothing was read ahead"
    alone(monkeypatch)
    assert with_it == results("two")


def test_a_process_that_is_killed(shards, monkeypatch):
    """Its work is done here from there on, and it is said."""
    wanted = contents(data.ratings(shards, spec=TINY).to_numpy())
    with ahead.reading() as reader, warnings.catch_warnings():
        warnings.simplefilter("error")
        found = reader.records(shards[0])
        first = bytes(next(found))
        os.kill(reader.process.pid, signal.SIGKILL)
        reader.process.wait()
        with pytest.raises(UserWarning, match="goes on without it"):
            list(found)
    with (
        ahead.reading() as reader,
        warnings.catch_warnings(record=True) as said,
    ):
        warnings.simplefilter("always")
        found = reader.records(shards[0])
        next(found)
        reader.process.kill()
        rest = [bytes(record) for record in found]
        assert [first, *rest] == list(tfrecord.records(shards[0]))
        assert len(said) == 1
        # The next file of the same pass, too.
        found = [bytes(record) for record in reader.records(shards[2])]
        assert found == list(tfrecord.records(shards[2]))
    assert contents(data.ratings(shards, spec=TINY).to_numpy()) == wanted


def test_a_pass_that_is_left_in_the_middle(shards):
    """Ends its process; the next begins anew and reads the same."""
    wanted = contents(data.videos(shards, **PICKED).as_numpy_iterator())
    for _ in range(3):
        with ahead.reading() as reader:
            next(reader.records(shards[0]))
            process = reader.process
        assert process.poll() is not None
        found = data.videos(shards, **PICKED).as_numpy_iterator()
        assert contents(found) == wanted


def test_passes_side_by_side(shards):
    """As when a look at the hold-out interrupts the training."""
    wanted = contents(data.videos(shards, **PICKED).as_numpy_iterator())
    two = [data.videos(shards, **PICKED).as_numpy_iterator() for _ in range(2)]
    pairs = list(zip(*two, strict=True))
    for side in zip(*pairs, strict=True):
        assert contents(side) == wanted
    assert len(set(processes())) == 2


def test_one_process_serves_one_pass_after_the_other(shards):
    for _ in range(5):
        data.ratings(shards, spec=TINY)
    before = len(os.listdir("/proc/self/fd"))
    assert len(processes()) == 1
    for _ in range(5):
        data.ratings(shards, spec=TINY)
    assert len(processes()) == 1
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_fork_does_not_share_it(shards, monkeypatch):
    data.ratings(shards, spec=TINY)
    [mine] = processes()
    monkeypatch.setattr(ahead._resting[0], "owner", os.getpid() + 1)
    data.ratings(shards, spec=TINY)
    assert processes() != [mine]
    os.kill(mine, 0)  # the parent's is left alone
    os.kill(mine, signal.SIGKILL)


def test_it_ends_with_the_process_that_started_it(shards):
    with ahead.reading() as reader:
        next(reader.records(shards[0]))
        pid = reader.process.pid
        # What the system does when a process is gone, however it went.
        reader.process.stdin.close()
        for _ in range(100):
            if reader.process.poll() is not None:
                break
            time.sleep(0.1)
        assert reader.process.poll() is not None, pid


def test_a_file_that_goes_away(shards):
    """The error is that of reading it here."""
    os.remove(shards[4])
    with pytest.raises(ValueError, match="can be read"):
        data.ratings(shards, spec=TINY)
