"""Whatever happens to training, run again it ends with the same bits."""

import errno
import shutil
import subprocess
import sys
from pathlib import Path

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
    hidden = keras.layers.Dropout(0.5)(hidden)
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
        resume = self.counting(self.best, patience)
        self.keep_best, self.stopping = resume
        about = about or {"seed": 4}
        self.backup = training.Backup(folder, about, resume, **where)
        self.log = keras.callbacks.CSVLogger(
            folder / "history.csv", append=True
        )

    @staticmethod
    def counting(best="best.weights.h5", patience=9):
        """Callbacks that count."""
        return [
            keras.callbacks.ModelCheckpoint(
                *(best, "val_map"),
                mode="max", save_best_only=True, save_weights_only=True,
            ),
            keras.callbacks.EarlyStopping(
                "val_map", mode="max", patience=patience
            ),
        ]  # fmt: skip

    def fit(self, *callbacks, score=None, epochs=EPOCHS, first=None):
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
    return folder


@pytest.fixture
def cut_off(tmp_path, killed):
    """A folder with two checkpoints, of the epochs 2 and 3."""
    shutil.copytree(killed, tmp_path / "cut")
    return tmp_path / "cut"


def same(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kit.training.backup.SHARE", 0)
        return kill(tmp_path_factory.mktemp("killed"), 3)


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
    for epoch in (0, 2, 4):
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


def test_all_that_training_needs_is_saved(cut_off):
    with np.load(cut_off / "checkpoint-000003.npz") as arrays:
        count = len(arrays.files) - 1
    model = build()
    assert len(model.variables) == len(model.weights) + 1  # dropout's seed
    # Adam: the number of steps, the learning rate, and two moments a weight.
    moments = 2 * len(model.trainable_variables)
    assert count == len(model.variables) + 2 + moments


def test_counters_of_callbacks_come_back(cut_off):
    """Patience counts what was before the kill; what it is, is no counter."""
    run = Run(cut_off, patience=2).fit()
    assert run.trained == [3, 4] and run.stopping.stopped_epoch == 4
    assert run.stopping.best == run.keep_best.best == 5
    assert run.stopping.patience == 2
    with pytest.raises(ValueError, match="resume was .*EarlyStopping 1"):
        kill(cut_off / "other", 3)
        training.Backup(cut_off / "other", {"seed": 4}, [run.keep_best])


def test_a_stop_by_patience_is_the_end(tmp_path):
    first = Run(tmp_path, patience=1).fit()
    assert first.trained == [0, 1, 2, 3] and first.backup.finished
    for _ in range(2):  # before the weights are written, and after
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
    with pytest.raises(ValueError, match="Received: seed was 4 and is 5"):
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


def test_fit_must_begin_where_training_was_saved(cut_off):
    with pytest.raises(ValueError, match="initial_epoch was 3 and is 0"):
        Run(cut_off).fit(first=0)


def test_another_architecture_is_refused(cut_off, monkeypatch):
    model = build()
    model = keras.Model(model.input, model.layers[-2].output)
    monkeypatch.setattr(f"{__name__}.build", lambda: model)
    with pytest.raises(ValueError, match=r"variables was \d+ and is \d+"):
        Run(cut_off).fit()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_checkpoint_costs_an_epoch(damage, expected, cut_off, capsys):
    newest = cut_off / "checkpoint-000003.npz"
    content = bytearray(newest.read_bytes())
    content[len(content) // 3] ^= 1  # in the middle of an array
    size = {"cut": len(content) // 2, "empty": 0}.get(damage, len(content))
    newest.write_bytes(content[:size])
    run = Run(cut_off)
    assert f"{newest} is damaged" in capsys.readouterr().out
    assert run.backup.epoch == 2
    same(run.fit().finish(), expected["best"])
    assert training.history(cut_off)["epoch"].tolist() == list(range(EPOCHS))


def test_a_damaged_checkpoint_is_never_the_only_one_left(cut_off):
    older, newest = sorted(cut_off.glob("checkpoint-*"))
    newest.write_bytes(b"not ours")
    kill(cut_off, 2)
    assert older.exists()
    older.write_bytes(b"not ours")
    with pytest.raises(ValueError, match="only damaged ones in"):
        Run(cut_off)


def test_any_flipped_bit_of_a_checkpoint_is_harmless_or_noticed(tmp_path):
    """Whatever it makes of the zip file: another version, a password."""
    path, record = tmp_path / "checkpoint-1.npz", {"epoch": 3}
    values = [np.arange(7.0), np.ones((2, 2), np.float32)]
    checkpoint.write(path, record, values)
    content = path.read_bytes()
    variables = [keras.Variable(0 * value) for value in values]
    noticed = 0
    for bit in range(0, 8 * len(content), 7):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        if (read := checkpoint.read_record(path)) is None:
            noticed += 1
            continue
        assert read == {"epoch": 3, "variables": 2}, bit
        checkpoint.restore(path, variables)
        same([np.asarray(one) for one in variables], values)
    assert noticed > 4 * len(content) / 7


def test_a_disk_that_fills_up_costs_no_checkpoint(
    expected, tmp_path, monkeypatch
):
    write, calls = np.lib.format.write_array, []

    def full(file, array):
        calls.append(0)
        if len(calls) > 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, array)

    monkeypatch.setattr("numpy.lib.format.write_array", full)
    with pytest.raises(OSError, match="No space left on device"):
        Run(tmp_path).fit()
    monkeypatch.undo()
    assert not list(tmp_path.glob("partial-*"))
    run = Run(tmp_path)
    assert 0 < run.backup.epoch < EPOCHS
    same(run.fit().finish(), expected["best"])


def test_training_resumes_from_an_attached_folder(expected, cut_off, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in cut_off.iterdir()}
    kill(tmp_path / "here", 3, attached=cut_off)
    run = Run(tmp_path / "here", attached=cut_off)
    assert run.fit().trained == [3, 4]
    same(run.finish(), expected["best"])
    assert {p: p.stat().st_mtime_ns for p in cut_off.iterdir()} == before
    table = training.history(tmp_path / "here")
    assert table["epoch"].tolist() == list(range(EPOCHS))
    # And is finished for the session after that.
    run = Run(tmp_path / "third", attached=tmp_path / "here").fit()
    assert run.trained == []
    same(run.finish(), expected["best"])


def test_checkpoints_go_to_scratch_and_leave_nothing(expected, tmp_path):
    """When time is up the newest is where it outlives the session."""
    folder = tmp_path / "kept"
    for session in range(EPOCHS):
        scratch = tmp_path / f"scratch-{session}"
        run = Run(folder, scratch=scratch).fit(training.TimeLimit(0))
        assert run.trained == [session]
        assert run.backup.finished == (session == EPOCHS - 1)
        assert list(scratch.glob(f"checkpoint-00000{session + 1}.npz"))
        if not run.backup.finished:
            assert (folder / f"checkpoint-00000{session + 1}.npz").exists()
    same(run.finish(), expected["best"])
    assert not list(folder.glob("*.npz")) and not list(scratch.iterdir())


def test_a_folder_that_was_deleted_begins_anew(expected, tmp_path):
    where = {"scratch": tmp_path / "scratch"}
    kill(tmp_path / "here", 4, **where)
    assert list((tmp_path / "scratch").glob("*.npz"))
    shutil.rmtree(tmp_path / "here")
    run = Run(tmp_path / "here", about={"seed": 5}, **where)
    assert run.backup.epoch == 0
    assert not list((tmp_path / "scratch").glob("*.npz"))


@pytest.mark.parametrize("stop", [True, False])
def test_what_is_not_a_number_is_not_saved(stop, tmp_path):
    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                kernel = self.model.trainable_variables[0]
                kernel.assign(np.nan * kernel)

    callbacks = [keras.callbacks.TerminateOnNaN()] if stop else []
    run = Run(tmp_path).fit(Poison(), *callbacks)
    assert not run.backup.finished and not run.backup.finish(run.model)
    assert Run(tmp_path).backup.epoch == 2


def test_a_history_cut_by_a_kill_is_whole_again(cut_off):
    path, last = cut_off / "history.csv", "3,0.5,4.0\n"
    text = path.read_text()
    before = text.splitlines(keepends=True)
    for tail in ("", last, last[:1], last[:-1], before[-1], last[:5] + last):
        path.write_text(text + tail)
        table = training.history(cut_off)
        assert table["epoch"].tolist() == list(range(3)) + [3] * (tail == last)
        training.Backup(cut_off, {"seed": 4}, Run.counting())
        assert path.read_text() == text
    path.write_text(text[:4])  # in the header
    training.Backup(cut_off, {"seed": 4}, Run.counting())
    assert path.read_text() == ""


DRILL = """
import os, random, signal, sys, time
from pathlib import Path

from kit.training import backup
from tests.test_survival import Run

def start(name, attached=None):
    # Imports are done, and nothing was computed that a fork would not survive.
    child = os.fork()
    if not child:
        try:
            Run(folder / name, attached=attached).fit().finish()
            os._exit(0)
        finally:
            os._exit(1)
    return child

def end(child):
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == 0

def epochs():
    path = folder / "cut" / "history.csv"
    return len(path.read_text().splitlines()) if path.exists() else 0

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
random.seed(sys.argv[3])
backup.SHARE = random.choice([0, 20])
for kill in range(kills):
    last = epochs() + random.randrange(3)
    child = start("cut")
    look = os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
    while epochs() <= last and not os.waitid(*look):
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.5))
    os.kill(child, signal.SIGKILL)
    if end(child):
        break
    print(kill, sorted(path.name for path in (folder / "cut").iterdir()))
assert end(start("end", folder / "cut"))
"""


@pytest.mark.slow
def test_training_killed_by_a_signal_ends_with_the_same_bits(
    expected, tmp_path
):
    done = subprocess.run(
        [sys.executable, "-c", DRILL, str(tmp_path), "4", "1"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout
    model = build()
    model.load_weights(tmp_path / "end" / "model.weights.h5")
    same([np.array(w) for w in model.get_weights()], expected["best"])
    table = training.history(tmp_path / "end")
    assert table["val_map"].tolist() == [1, 2, 5, 4, 3]
