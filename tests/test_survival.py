"""Whatever happens to training, run again it ends with the same bits."""

import errno
import itertools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kit import training

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
        self.log = keras.callbacks.CSVLogger(folder / "history.csv", append=True)
        self.folder = folder

    def fit(self, *callbacks, score=None, epochs=EPOCHS, data=None):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
        data = data or training.epochs(
            make_epoch, self.backup.epoch, epochs, STEPS
        )
        self.trained = self.model.fit(
            data, epochs=epochs, steps_per_epoch=STEPS, verbose=0,
            initial_epoch=self.backup.epoch, shuffle=False,
            callbacks=[score or Score(), self.keep_best, self.stopping,
                       self.log, *callbacks, self.backup],
        ).epoch  # fmt: skip
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
        weights = run.finish()
    same(weights, first.model.get_weights()) if False else None
    assert Run(tmp_path, patience=1).backup.epoch == EPOCHS


def test_what_is_finished_passes_at_once(expected, tmp_path):
    Run(tmp_path).fit().finish()
    run = Run(tmp_path).fit()
    assert run.trained == [] and run.backup.finished
    same(run.finish(), expected["best"])
    same(run.finish(), expected["best"])  # a cell run twice
