"""Trains a small MixNeXtVLAD in a folder; run again, it resumes there.

`python -m tests.drill FOLDER`, which `test_survival` kills.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

from kit import losses, models, presets, training
from kit.spec import FrameSpec

EPOCHS, STEPS, SPEC, CLASSES = 6, 3, FrameSpec(8, 4), [1, 2, 5]


def inputs(rng, *shape):
    """Random frames with their mask."""
    frames = rng.integers(256, size=(*shape, 60, SPEC.dim), dtype="u1")
    return {"frames": frames, "mask": np.ones((*shape, 60), bool)}


def make_epoch(epoch, steps):
    """Random batches that depend on the number of the epoch alone."""
    rng = np.random.default_rng(epoch)
    targets = rng.integers(-1, 2, (steps, 8, len(CLASSES)), dtype="i1")
    return tf.data.Dataset.from_tensor_slices((inputs(rng, steps, 8), targets))


def main(folder):
    rng = np.random.default_rng(9)
    targets = rng.integers(-1, 2, (40, len(CLASSES)), dtype="i1")
    rated = SimpleNamespace(inputs=inputs(rng, 40), targets=targets)
    model = presets.build(
        "MixNeXtVLAD-60", class_ids=CLASSES, spec=SPEC, scale="tiny", seed=1
    )
    trainee = models.training_model(model)
    rate = training.staircase(1e-2, 8)
    trainee.compile(keras.optimizers.Adam(rate), losses.loss_for(model))
    score = {"monitor": "val_map", "mode": "max"}
    best = folder / "best.weights.h5"
    keep = keras.callbacks.ModelCheckpoint(
        best, save_best_only=True, save_weights_only=True, **score
    )
    stop = keras.callbacks.EarlyStopping(patience=3, **score)
    backup = training.Backup(folder, {"seed": 1}, [keep, stop])
    log = keras.callbacks.CSVLogger(folder / "history.csv", append=True)
    rate_segments = training.SegmentMAP(model, rated, batch_size=16)
    trainee.fit(
        training.epochs(make_epoch, backup.epoch, EPOCHS, STEPS),
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        initial_epoch=backup.epoch,
        shuffle=False,
        verbose=0,
        callbacks=[rate_segments, log, keep, stop, backup],
    )
    backup.finish(model, best)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
