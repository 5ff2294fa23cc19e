"""Training that resumes to the same bits."""

import atexit
import inspect
import json
import math
import shutil
import time
from pathlib import Path

import keras

from kit.replacing import replacing
from kit.training import checkpoint
from kit.training.checkpoint import check_same
from kit.training.history import read_about, rows

SHARE = 20  # saving may take a twentieth of the time


class Backup(keras.callbacks.Callback):
    """Saves all that training needs to resume as if nothing had happened.

    `keras.callbacks.BackupAndRestore` forgets the random state of dropout, the
    counters of other callbacks and the place in the data.  This one keeps the
    variables of model and optimizer, the epoch, and the counters of the
    callbacks in `resume`.  Killed at any moment and run again, training ends,
    on a CPU, with the same weights, bit by bit.

    Must be the last in the list of callbacks.  The newest two checkpoints
    stay, so that a damaged one costs an epoch and not the run.  Where saving
    takes long, not every epoch is saved.

    The folder receives `about.json` and, from `finish`, `model.weights.h5`.
    Run again, `fit` then returns at once.  Delete the folder to begin anew.

    Args:
        folder: A folder for this stage of training alone, where `history.csv`
            and the best weights are kept as well.
        about: The settings that training must resume with, a handful of values
            that JSON can hold.
        resume: Callbacks that count something, such as `EarlyStopping` and
            `ModelCheckpoint`.  When `EarlyStopping` stops, training is
            finished.
        scratch: Another folder for this stage alone, where checkpoints are
            kept while it is trained.  There are two, each three times as
            large as the weights.  At the end of `fit`, or of the process, the
            newest is copied to `folder`.
        attached: A folder of this stage from an earlier session.  It is never
            changed, and read only where `folder` has nothing to resume from.

    Attributes:
        epoch: What `fit` gets as `initial_epoch`.
        finished: Whether all epochs are trained, or `EarlyStopping` stopped.

    Raises:
        ValueError: Where the folder was begun with other settings, or has
            checkpoints and none is whole.

    Example:

    ```python
    best = folder / "best.weights.h5"
    keep_best = keras.callbacks.ModelCheckpoint(
        best, "val_map", mode="max", save_best_only=True, save_weights_only=True
    )
    backup = training.Backup(folder, {"seed": seed}, resume=[keep_best])
    trainee.fit(..., initial_epoch=backup.epoch, callbacks=[..., backup])
    if not backup.finish(model, best):
        print("Run the same again to resume.")
    ```
    """

    def __init__(self, folder, about, resume=(), scratch=None, attached=None):
        super().__init__()
        self.folder, self.scratch = Path(folder), Path(scratch or folder)
        # `CSVLogger` opens its file before this callback is asked anything.
        self.folder.mkdir(parents=True, exist_ok=True)
        self.weights = self.folder / "model.weights.h5"
        self.resume = {
            f"{type(callback).__name__} {index}": callback
            for index, callback in enumerate(resume)
        }
        # As JSON gives it back: lists for tuples.
        self.about = json.loads(json.dumps({**about, "resume": [*self.resume]}))
        self.epoch, self.finished, self.next_save = 0, False, 0.0
        self.newest, self.counters = None, {}
        if not (self.folder / "about.json").exists():
            self._begin(attached)
        self._find()
        history = self.folder / "history.csv"
        if history.exists():
            with replacing(history) as partial:
                partial.write_text(rows(history, self.epoch))

    def _begin(self, attached):
        """Begins with an empty folder, or with a copy of the one attached."""
        # Scratch may hold checkpoints of a folder that was deleted.
        self._remove_checkpoints()
        # `about.json` comes last: it says that the copy is complete.
        for pattern in ("checkpoint-*", "*.h5", "*.csv", "about.json"):
            for path in Path(attached).glob(pattern) if attached else ():
                _copy(path, self.folder)

    def _find(self):
        """Finds what to resume from: what is finished, else the newest."""
        if self.weights.exists():
            about = read_about(self.folder)
            self.epoch, self.finished = about["epochs"], True
            check_same({**self.about, "epochs": self.epoch}, about, self.folder)
            return
        paths = self._checkpoints("checkpoint-*.npz")
        for path in sorted(paths, key=lambda path: path.name, reverse=True):
            if record := checkpoint.read_record(path):
                check_same(self.about, record["about"], path)
                self.newest, self.counters = path, record["counters"]
                self.epoch, self.finished = record["epoch"], record["finished"]
                return
        if paths:
            raise ValueError(
                "Training resumes from a whole checkpoint: delete the folder "
                f"to begin anew. Received: only damaged ones in {self.folder}"
            )

    def on_train_begin(self, logs=None):
        epochs, self.first = self.params["epochs"], self.epoch
        if self.finished:
            check_same({"epochs": epochs}, {"epochs": self.epoch}, self.folder)
        if self.weights.exists():
            return
        # Without its variables TensorFlow would trace the first step twice.
        variables = self._variables()
        if self.newest:
            checkpoint.restore(self.newest, variables)
        for name, counters in self.counters.items():
            vars(self.resume[name]).update(counters)
        with replacing(self.folder / "about.json") as partial:
            partial.write_text(json.dumps({**self.about, "epochs": epochs}))
        atexit.register(_keep_newest, self.scratch, self.folder)

    def on_epoch_begin(self, epoch, logs=None):
        if epoch != self.first:
            raise ValueError(
                "`fit` must begin where training stopped: give it "
                "`initial_epoch=backup.epoch`. Received: "
                f"epoch {epoch} in place of {self.first} (in {self.folder})"
            )
        self.first, self.steps = epoch + 1, 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        # `TerminateOnNaN` ends an epoch early; the checkpoint before is better.
        if self.steps < self.params["steps"] or not math.isfinite(logs["loss"]):
            return
        epochs, resume = self.params["epochs"], self.resume.values()
        early = any(getattr(each, "stopped_epoch", 0) for each in resume)
        done = epochs if early else epoch + 1
        last = done == epochs or self.model.stop_training
        if last or time.monotonic() >= self.next_save:
            self._save(done, finished=done == epochs)

    def on_train_end(self, logs=None):
        if not self.finished:
            _keep_newest(self.scratch, self.folder)

    def finish(self, model: keras.Model, best=None) -> bool:
        """Gives a model the weights of finished training, and saves them.

        To be called after `fit`, also where it had no epoch left to train.
        The checkpoints are deleted, and so is `best`.

        Args:
            model: The model that was trained, or whose training model was.
            best: Weights that `ModelCheckpoint` kept of what `fit` trained.
                Defaults to the last weights.

        Returns:
            Whether `fit` was called and training is finished; if not, nothing
            is done.
        """
        if not self.finished or not (self.model or self.weights.exists()):
            return False
        # The file of a compiled model would hold its optimizer as well.
        plain = keras.Model(model.input, model.output)
        if not self.weights.exists():
            if best:
                self.model.load_weights(best)
            with replacing(self.weights) as partial:
                plain.save_weights(partial)
        plain.load_weights(self.weights)
        self._remove_checkpoints()
        if best:
            Path(best).unlink(missing_ok=True)
        return True

    def _variables(self):
        model = self.model
        model.optimizer.build(model.trainable_variables)
        # Those of the model include the states of dropout, which no weight
        # file of Keras holds.
        return [*model.variables, *model.optimizer.variables]

    def _save(self, epoch, finished):
        started = time.monotonic()
        resume = self.resume.items()
        counters = {name: _counters(callback) for name, callback in resume}
        self.epoch, self.finished, self.counters = epoch, finished, counters
        state = {"epoch": epoch, "finished": finished, "counters": counters}
        path = self.scratch / f"checkpoint-{epoch:06d}.npz"
        self._remove_checkpoints(keep=self.newest)
        record = {"about": self.about, **state}
        checkpoint.write(path, record, self._variables())
        self.newest, now = path, time.monotonic()
        self.next_save = now + SHARE * (now - started)

    def _checkpoints(self, pattern):
        places = {self.folder, self.scratch}
        return [path for place in places for path in place.glob(pattern)]

    def _remove_checkpoints(self, keep=None):
        for path in self._checkpoints("*checkpoint-*.npz"):
            if path != keep:
                path.unlink()


def _counters(callback):
    """The numbers of a callback; its settings, as `patience`, may change."""
    settings = inspect.signature(type(callback)).parameters
    return {
        name: value
        for name, value in vars(callback).items()
        if isinstance(value, int | float) and name not in settings
    }


def _keep_newest(scratch, folder):
    """Copies the newest checkpoint to `folder`, which outlives the session."""
    for path in sorted(scratch.glob("checkpoint-*.npz"))[-1:]:
        if not (folder / path.name).exists():
            _copy(path, folder)


def _copy(path, folder):
    with replacing(folder / path.name) as partial:
        shutil.copyfile(path, partial)
