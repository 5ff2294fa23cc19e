"""Whatever happens to training, run again it ends with the same bits."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.callbacks import CSVLogger, EarlyStopping, ModelCheckpoint

from kit import training
from kit.training import backup, checkpoint
from tests.refusals import refused

EPOCHS, STEPS = 5, 2


@pytest.fixture(scope="module", autouse=True)
def with_a_checkpoint_each_epoch():
    """Also where saving takes longer than the epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup, "SHARE", 0)
        yield


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

    def __init__(self, kill=None):
        super().__init__()
        self.kill = kill

    def on_epoch_end(self, epoch, logs=None):
        logs["val_map"] = [1.0, 2.0, 5.0, 4.0, 3.0][epoch]
        if epoch == self.kill:
            raise Killed


class Run:
    """One start of a script that trains; `fit` is what its cell does."""

    def __init__(self, folder, about=None, patience=9, **where):
        self.model, self.best = build(), folder / "best.weights.h5"
        score = {"monitor": "val_map", "mode": "max"}
        kept = {"save_best_only": True, "save_weights_only": True}
        self.keep_best = ModelCheckpoint(self.best, **score, **kept)
        self.stopping = EarlyStopping(patience=patience, **score)
        resume, about = [self.keep_best, self.stopping], about or {"seed": 4}
        self.backup = training.Backup(folder, about, resume, **where)
        self.log = CSVLogger(folder / "history.csv", append=True)

    def fit(self, *callbacks, kill=None, epochs=EPOCHS, first=None):
        self.model.compile("adam", "binary_crossentropy", run_eagerly=True)
        first = self.backup.epoch if first is None else first
        counting = [Score(kill), self.keep_best, self.stopping, self.log]
        try:
            history = self.model.fit(
                training.epochs(make_epoch, first, epochs, STEPS),
                epochs=epochs,
                steps_per_epoch=STEPS,
                initial_epoch=first,
                shuffle=False,
                verbose=0,
                callbacks=[*counting, *callbacks, self.backup],
            )
        finally:
            self.log.on_train_end()  # which Keras leaves open where it fails
        self.trained = history.epoch
        return self

    def finish(self, best=True):
        assert self.backup.finish(self.model, self.best if best else None)
        return weights(self.model)


def weights(model):
    return [np.array(weight) for weight in model.get_weights()]


def kill(folder, epoch, epochs=EPOCHS, **where):
    with pytest.raises(Killed):
        Run(folder, **where).fit(kill=epoch, epochs=epochs)
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    return kill(tmp_path_factory.mktemp("killed"), 3)


@pytest.fixture
def cut_off(tmp_path, killed):
    """A folder with two checkpoints, of the epochs 2 and 3."""
    return shutil.copytree(killed, tmp_path / "cut")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Best weights and last weights of training that nothing happens to."""
    one, other = (Run(tmp_path_factory.mktemp("run")).fit() for _ in range(2))
    best, last = one.finish(), other.finish(best=False)
    assert any((a != b).any() for a, b in zip(best, last, strict=True))
    return {"best": best, "last": last}


def same(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kept", ["best", "last"])
def test_cut_off_training_ends_as_if_it_were_not(kept, expected, tmp_path):
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


def test_counters_of_callbacks_come_back(cut_off):
    """Patience counts what was before the kill; what it is, is no counter."""
    with pytest.raises(ValueError, match="resume was .*EarlyStopping 1"):
        training.Backup(cut_off, {"seed": 4})
    run = Run(cut_off, patience=2).fit()
    assert run.trained == [3, 4] and run.stopping.stopped_epoch == 4
    assert run.stopping.best == run.keep_best.best == 5
    assert run.stopping.patience == 2


def test_a_stop_by_patience_is_the_end(tmp_path):
    first = Run(tmp_path, patience=1).fit()
    assert first.trained == [0, 1, 2, 3] and first.backup.finished
    assert not Run(tmp_path, patience=1).backup.finish(build())  # before `fit`
    for _ in range(2):  # before the weights are written, and after
        run = Run(tmp_path, patience=1).fit()
        assert run.trained == []
        run.finish()
    assert Run(tmp_path, patience=1).backup.epoch == EPOCHS


def test_what_is_finished_passes_at_once(expected, tmp_path):
    """Its weights fit a plain model, and are not those of Adam as well."""
    Run(tmp_path).fit().finish()
    run = Run(tmp_path).fit()
    assert run.trained == [] and run.backup.finished
    for _ in range(2):  # a cell run twice
        same(run.finish(), expected["best"])
    model, path = build(), tmp_path / "model.weights.h5"
    model.load_weights(path)
    same(weights(model), expected["best"])
    plain = tmp_path / "plain.weights.h5"
    model.save_weights(plain)
    assert path.stat().st_size <= 1.1 * plain.stat().st_size


@pytest.mark.parametrize("finished", [False, True])
def test_what_differs_from_the_run_before_is_named(finished, tmp_path):
    about = {"seed": 4, "spec": {"rgb": 1024}}
    run = Run(tmp_path, about).fit(epochs=3)
    assert run.backup.finished and (not finished or run.finish())
    other, more = about | {"seed": 5}, about | {"member": "BERTMean"}
    refused("Received: seed was 4 and is 5", Run, tmp_path, other)
    refused("member was None and is 'BERTMean'", Run, tmp_path, more)
    refused("epochs was 3 and is 5", Run(tmp_path, about).fit, epochs=5)
    assert training.read_about(tmp_path)["spec"] == {"rgb": 1024}


def test_more_epochs_may_be_asked_for_before_the_end(expected, tmp_path):
    kill(tmp_path, 1, epochs=3)
    same(Run(tmp_path).fit().finish(), expected["best"])


def test_another_first_epoch_or_architecture_is_refused(cut_off):
    refused("epoch 0 in place of 3", Run(cut_off).fit, first=0)
    run = Run(cut_off)
    run.model = keras.Model(run.model.input, run.model.layers[-2].output)
    refused(r"variables was \d+ and is \d+", run.fit)


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
    refused("only damaged ones in", Run, cut_off)


def test_a_full_disk_costs_no_checkpoint(expected, cut_off, monkeypatch):
    def full(path, *arrays, **record):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.np, "savez", full)
        with pytest.raises(OSError, match="No space left on device"):
            Run(cut_off).fit()
    names = [path.name for path in cut_off.glob("*checkpoint*")]
    assert names == ["checkpoint-000003.npz"]
    same(Run(cut_off).fit().finish(), expected["best"])


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


def test_a_folder_that_was_deleted_begins_anew(tmp_path):
    here, scratch = tmp_path / "here", tmp_path / "scratch"
    kill(here, 4, scratch=scratch)
    assert list(scratch.glob("*.npz"))
    shutil.rmtree(here)
    assert Run(here, {"seed": 5}, scratch=scratch).backup.epoch == 0
    assert not list(scratch.glob("*.npz"))


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
    trained_again = text.splitlines(keepends=True)[-1]
    for tail in ("", last, last[:1], last[:-1], trained_again):
        path.write_text(text + tail)
        table = training.history(cut_off)
        assert table["epoch"].tolist() == list(range(3)) + [3] * (tail == last)
        Run(cut_off)
        assert path.read_text() == text
    path.write_text(text[:4])  # in the header
    Run(cut_off)
    assert path.read_text() == ""
