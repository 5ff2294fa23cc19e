"""Whatever happens to training, run again it ends with the same bits."""

import contextlib
import errno
import os
import random
import shutil
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from kit import training
from kit.training import checkpoint

EPOCHS, STEPS = 5, 2


@pytest.fixture(autouse=True)
def with_a_checkpoint_each_epoch(monkeypatch):
    """Also where saving takes longer than the epoch."""
    monkeypatch.setattr("kit.training.backup.SHARE", 0)


def make_epoch(epoch, steps):
    """Random batches that depend on the number of the epoch alone."""
    rng = np.random.default_rng(epoch)
    frames = rng.integers(256, size=(steps, 8, 5, 6), dtype="u1")
    targets = rng.integers(2, size=(steps, 8, 3), dtype="i1")
    return tf.data.Dataset.from_tensor_slices(({"frames": frames}, targets))


def build():
    """With the states that a weight file forgets: dropout, moving moments."""
    keras.utils.set_random_seed(4)
    frames = keras.Input((5, 6), dtype="uint8", name="frames")
    hidden = keras.layers.Rescaling(1 / 255)(frames)
    hidden = keras.layers.GlobalAveragePooling1D()(hidden)
    hidden = keras.layers.BatchNormalization()(hidden)
    hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(9)(hidden))
    outputs = keras.layers.Dense(3, activation="sigmoid")(hidden)
    return keras.Model({"frames": frames}, outputs)


class Killed(BaseException):
    """As sudden as a signal, but within this process."""


class Score(keras.callbacks.Callback):
    """A score that is best in epoch 2; raises at the end of another."""

    def __init__(self, scores=(1, 2, 5, 4, 3), kill=None):
        super().__init__()
        self.scores, self.kill = scores, kill

    def on_epoch_end(self, epoch, logs=None):
        logs["val_map"] = float(self.scores[epoch])
        if epoch == self.kill:
            raise Killed


class Run:
    """One start of a script that trains; `fit` is what its cell does."""

    def __init__(self, folder, about=None, patience=9, **where):
        self.model, self.best = build(), folder / "best.weights.h5"
        self.keep_best = keras.callbacks.ModelCheckpoint(
            *(self.best, "val_map"),
            mode="max", save_best_only=True, save_weights_only=True,
        )  # fmt: skip
        self.stopping = keras.callbacks.EarlyStopping(
            "val_map", mode="max", patience=patience
        )
        resume = [self.keep_best, self.stopping]
        about = about or {"seed": 4}
        self.backup = training.Backup(folder, about, resume, **where)
        self.log = keras.callbacks.CSVLogger(
            folder / "history.csv", append=True
        )
        self.folder = folder

    def fit(self, *callbacks, score=None, epochs=EPOCHS, first=None):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model.compile("adam", "binary_crossentropy", run_eagerly=True)
        first = self.backup.epoch if first is None else first
        data = training.epochs(make_epoch, first, epochs, STEPS)
        try:
            history = self.model.fit(
                *(data,), epochs=epochs, steps_per_epoch=STEPS, verbose=0,
                initial_epoch=first, shuffle=False,
                callbacks=[score or Score(), self.keep_best, self.stopping,
                           self.log, *callbacks, self.backup],
            )  # fmt: skip
        finally:
            self.log.on_train_end()  # which Keras leaves open where it fails
        self.trained = history.epoch
        return self

    def finish(self, best=True):
        assert self.backup.finish(self.model, self.best if best else None)
        return [np.array(w) for w in self.model.get_weights()]


def kill(folder, epoch, **where):
    with pytest.raises(Killed):
        Run(folder, **where).fit(score=Score(kill=epoch))


def same(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Best weights and last weights of training that nothing happens to."""
    runs = [
        Run(tmp_path_factory.mktemp("whole")).fit().finish(best)
        for best in (True, False)
    ]
    assert any((a != b).any() for a, b in zip(*runs, strict=True))
    return dict(zip(("best", "last"), runs, strict=True))


@pytest.mark.parametrize("kept", ["best", "last"])
def test_training_cut_off_ends_as_training_that_was_not(
    kept, expected, tmp_path
):
    for epoch in (0, 2, 2, 4):
        kill(tmp_path, epoch)
    run = Run(tmp_path).fit()
    assert run.trained == [4]
    same(run.finish(kept == "best"), expected[kept])
    table = training.history(tmp_path)
    assert table["epoch"].tolist() == list(range(EPOCHS))
    assert table["val_map"].tolist() == [1, 2, 5, 4, 3]
    names = {"model.weights.h5", "history.csv", "about.json"}
    names |= set() if kept == "best" else {"best.weights.h5"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_all_that_training_needs_is_saved(tmp_path):
    kill(tmp_path, 3)
    newest = max(tmp_path.glob("checkpoint-*"))
    with np.load(newest) as arrays:
        count = len(arrays.files) - 1
    model = build()
    assert len(model.variables) == len(model.weights) + 1  # dropout's seed
    # Adam: the number of steps, the learning rate, and two moments a weight.
    moments = 2 * len(model.trainable_variables)
    assert count == len(model.variables) + 2 + moments


def test_counters_of_callbacks_come_back(tmp_path):
    """Patience is counted over what was before the kill, and is no counter."""
    kill(tmp_path, 4)
    run = Run(tmp_path, patience=2)
    run.fit()
    assert run.trained == [4] and run.stopping.stopped_epoch == 4
    assert run.stopping.best == 5 and run.keep_best.best == 5
    assert run.stopping.patience == 2


def test_a_stop_by_patience_is_the_end(tmp_path):
    first = Run(tmp_path, patience=1).fit()
    assert first.trained == [0, 1, 2, 3] and first.backup.finished
    # Killed before the weights were written, and after.
    for _ in range(2):
        run = Run(tmp_path, patience=1).fit()
        assert run.trained == []
        run.finish()
    assert Run(tmp_path, patience=1).backup.epoch == EPOCHS


def test_what_is_finished_passes_at_once(expected, tmp_path):
    Run(tmp_path).fit().finish()
    run = Run(tmp_path).fit()
    assert run.trained == [] and run.backup.finished
    same(run.finish(), expected["best"])
    same(run.finish(), expected["best"])  # a cell run twice
    assert not list(tmp_path.glob("*checkpoint*"))


def test_the_weights_fit_a_model_that_is_not_compiled(expected, tmp_path):
    """And are not three times as large, with the moments of Adam."""
    Run(tmp_path).fit().finish()
    model = build()
    model.load_weights(tmp_path / "model.weights.h5")
    same([np.array(w) for w in model.get_weights()], expected["best"])
    model.save_weights(tmp_path / "plain.weights.h5")
    one, two = (
        (tmp_path / f"{name}.weights.h5").stat().st_size
        for name in ("model", "plain")
    )
    assert one <= 1.1 * two


@pytest.mark.parametrize("finished", [False, True])
def test_what_differs_from_the_run_before_is_named(finished, tmp_path):
    about = {"seed": 4, "spec": {"rgb": 1024}}
    run = Run(tmp_path, about).fit(epochs=3)
    assert run.backup.finished and (not finished or run.finish())
    Run(tmp_path, about)
    with pytest.raises(ValueError, match="seed was 4 and is 5.*Received|"
                       "Received.*seed was 4 and is 5"):  # fmt: skip
        Run(tmp_path, about | {"seed": 5})
    with pytest.raises(ValueError, match="member was None and is 'BERTMean'"):
        Run(tmp_path, about | {"member": "BERTMean"})
    with pytest.raises(ValueError, match="epochs was 3 and is 5"):
        Run(tmp_path, about).fit(epochs=5)
    assert training.read_about(tmp_path)["spec"] == {"rgb": 1024}


def test_more_epochs_may_be_asked_for_before_the_end(expected, tmp_path):
    with pytest.raises(Killed):
        Run(tmp_path).fit(score=Score(kill=1), epochs=3)
    same(Run(tmp_path).fit().finish(), expected["best"])


def test_fit_must_begin_where_training_was_saved(tmp_path):
    kill(tmp_path, 3)
    with pytest.raises(ValueError, match="initial_epoch was 3 and is 0"):
        Run(tmp_path).fit(first=0)


def test_another_architecture_is_refused(tmp_path, monkeypatch):
    kill(tmp_path, 2)
    model = keras.Model(*(lambda m: (m.input, m.layers[-2].output))(build()))
    monkeypatch.setattr(f"{__name__}.build", lambda: model)
    with pytest.raises(ValueError, match="variables, and"):
        Run(tmp_path).fit()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_checkpoint_costs_an_epoch(
    damage, expected, tmp_path, capsys
):
    kill(tmp_path, 3)
    older, newest = sorted(tmp_path.glob("checkpoint-*"))
    content = bytearray(newest.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 3] ^= 1  # in the middle of an array
    newest.write_bytes(
        {"empty": b"", "foreign": b"not ours"}.get(damage, content)
    )
    run = Run(tmp_path)
    assert f"{newest} is damaged" in capsys.readouterr().out
    assert run.backup.epoch == 2
    same(run.fit().finish(), expected["best"])
    assert training.history(tmp_path)["epoch"].tolist() == list(range(EPOCHS))
    # A damaged one never displaces a whole one.
    kill(tmp_path / "other", 3)
    older, newest = sorted((tmp_path / "other").glob("checkpoint-*"))
    newest.write_bytes(b"")
    with pytest.raises(Killed):
        Run(tmp_path / "other").fit(score=Score(kill=2))
    assert older.exists()


def test_without_a_whole_checkpoint_nothing_is_trained(tmp_path):
    kill(tmp_path, 3)
    for path in tmp_path.glob("checkpoint-*"):
        path.write_bytes(b"not ours")
    with pytest.raises(ValueError, match="2 checkpoints, all of them damaged"):
        Run(tmp_path)


def test_any_flipped_bit_of_a_checkpoint_is_harmless_or_noticed(tmp_path):
    """Whatever it makes of the zip file: another version, a password."""
    path, record = tmp_path / "checkpoint-1.npz", {"epoch": 3}
    values = [np.arange(7.0), np.ones((2, 2), np.float32)]
    checkpoint.write(path, record, values)
    content = path.read_bytes()
    variables = [keras.Variable(0 * value) for value in values]
    noticed = 0
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        if checkpoint.read_record(path) is None:
            noticed += 1
            continue
        assert checkpoint.read_record(path) == record, bit
        checkpoint.restore(path, variables)
        same([np.asarray(one) for one in variables], values)
    assert noticed > 4 * len(content)


def test_a_disk_that_fills_up_costs_no_checkpoint(
    expected, tmp_path, monkeypatch
):
    write, calls = np.lib.format.write_array, []

    def full(file, array):
        calls.append(0)
        if len(calls) > 70:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, array)

    monkeypatch.setattr("numpy.lib.format.write_array", full)
    with pytest.raises(OSError) as caught:
        Run(tmp_path).fit()
    assert "Free some room and run the same again" in caught.value.__notes__[0]
    monkeypatch.undo()
    assert not list(tmp_path.glob("partial-*"))
    run = Run(tmp_path)
    assert run.backup.epoch == 3
    same(run.fit().finish(), expected["best"])


def test_training_resumes_from_an_attached_folder(expected, tmp_path):
    attached = tmp_path / "attached"
    kill(attached, 3)
    before = {p: p.stat().st_mtime_ns for p in attached.iterdir()}
    kill(tmp_path / "here", 3, attached=attached)  # before it has saved
    run = Run(tmp_path / "here", attached=attached)
    assert run.fit().trained == [3, 4]
    same(run.finish(), expected["best"])
    assert {p: p.stat().st_mtime_ns for p in attached.iterdir()} == before
    table = training.history(tmp_path / "here")
    assert table["epoch"].tolist() == list(range(EPOCHS))
    # And is finished for the session after that.
    run = Run(tmp_path / "third", attached=tmp_path / "here").fit()
    assert run.trained == []
    same(run.finish(), expected["best"])


def test_checkpoints_go_to_scratch_and_leave_nothing(expected, tmp_path):
    """And when time is up the newest is where it outlives the session."""
    folder, sessions = tmp_path / "kept", 0
    finished = False
    while not finished:
        where = {"scratch": tmp_path / f"scratch-{sessions}"}
        sessions += 1
        seen = []
        look = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs, seen=seen: seen.append(
                len(list(folder.glob("*.npz")))
            )
        )
        run = Run(folder, **where).fit(look, training.TimeLimit(0))
        finished = run.backup.finished
        assert len(list(folder.glob("*.npz"))) == (not finished)
    assert sessions == EPOCHS
    same(run.finish(), expected["best"])
    assert not list(tmp_path.rglob("*.npz"))


def test_a_folder_that_was_deleted_begins_anew(expected, tmp_path):
    where = {"scratch": tmp_path / "scratch"}
    kill(tmp_path / "here", 4, **where)
    assert list((tmp_path / "scratch").glob("*.npz"))
    shutil.rmtree(tmp_path / "here")
    run = Run(tmp_path / "here", about={"seed": 5}, **where)
    assert run.backup.epoch == 0
    same(run.fit().finish(), expected["best"])


def test_what_is_not_a_number_is_not_saved(tmp_path):
    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                kernel = self.model.trainable_variables[0]
                kernel.assign(np.nan * kernel)

    for stop in ([], [keras.callbacks.TerminateOnNaN()]):
        folder = tmp_path / str(len(stop))
        run = Run(folder).fit(Poison(), *stop)
        assert not run.backup.finished and not run.backup.finish(run.model)
        assert Run(folder).backup.epoch == 2


def test_a_history_cut_by_a_kill_is_whole_again(tmp_path):
    kill(tmp_path, 3)
    path = tmp_path / "history.csv"
    whole = path.read_text()
    rows = whole.splitlines(keepends=True)
    repeated = rows[-1].replace("3", "9")
    for tail in (rows[-1], repeated, rows[-1][:3], rows[-1][:1], ""):
        path.write_text(whole + tail)
        table = training.history(tmp_path)
        assert table["epoch"].tolist()[:3] == [0, 1, 2]
        Run(tmp_path)
        assert path.read_text() == whole or tail in (rows[-1], repeated)
    path.write_text(rows[0][:4])  # cut in the header
    Run(tmp_path).log.on_train_begin()


@pytest.mark.slow
def test_killed_at_random_moments_training_ends_with_the_same_bits(tmp_path):
    def start(name):
        command = [sys.executable, "-m", "tests.drill", str(tmp_path / name)]
        return subprocess.Popen(command)

    began = time.monotonic()
    assert start("whole").wait() == 0
    seconds = time.monotonic() - began
    chance = random.Random(os.getpid())
    for _ in range(3):
        process = start("killed")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.4, 0.95) * seconds)
        process.kill()
        process.wait()
    assert start("killed").wait() == 0
    with (
        h5py.File(tmp_path / "whole" / "model.weights.h5") as one,
        h5py.File(tmp_path / "killed" / "model.weights.h5") as two,
    ):
        compared = []

        def compare(name, item):
            if isinstance(item, h5py.Dataset):
                np.testing.assert_array_equal(item[()], two[name][()], name)
                compared.append(name)

        one.visititems(compare)
        assert len(compared) > 20
