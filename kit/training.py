"""One stage of training: a model and batches in, weights and a history out."""

import json
import math
import os
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from kit import losses, metrics, models
from kit.ranking import Ranking

FORMAT = 1


def learning_rate_schedule(
    learning_rate: float,
    batch_size: int,
    decay_rate: float = 0.9,
    decay_examples: int = 2_000_000,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Times `decay_rate` every `decay_examples` examples, in stairs (sec. 7).

    Paper: every 2 M examples.  The released scripts say 4 M.
    """
    return keras.optimizers.schedules.ExponentialDecay(
        learning_rate,
        decay_steps=max(1, round(decay_examples / batch_size)),
        decay_rate=decay_rate,
        staircase=True,
    )


class SegmentMAP(keras.callbacks.Callback):
    """Adds `map`, the hold-out's MAP, to the logs of each epoch.

    Args:
        evaluate: Called without arguments; returns the score.
    """

    def __init__(self, evaluate):
        super().__init__()
        self.evaluate = evaluate

    def on_epoch_end(self, epoch, logs=None):
        finite = math.isfinite(logs["loss"])
        logs["map"] = self.evaluate() if finite else math.nan


class SegmentEvaluation:
    """The measure that checkpoints are picked by: MAP@K on rated segments.

    The rated segments are read once and kept as bytes (18,500 of them take
    107 MB).  Unrated segments cannot change the score unless a list is cut, so
    they are left out here; the rankings that are saved and submitted hold all.

    Args:
        batches: Rated segments with ids, in order and once, from `kit.data`.
        ratings: Their ratings, with columns `video_id`, `start`, `label` and
            `score`.
        class_ids: Classes to score, `(num_classes,)`.
        k: Cut of each class's list.

    Call arguments:
        model: One whose classes include `class_ids`.

    """

    def __init__(self, batches, ratings, class_ids, k: int = 100_000):
        parts = list(batches.as_numpy_iterator())
        self.inputs = {
            name: np.concatenate([inputs[name] for inputs, _, _ in parts])
            for name in ("frames", "mask")
        }
        self.video_ids = np.concatenate([ids for _, _, (ids, _) in parts])
        self.starts = np.concatenate([starts for _, _, (_, starts) in parts])
        self.ratings, self.class_ids, self.k = ratings, class_ids, k

    def __call__(self, model: keras.Model) -> float:
        known = list(models.class_ids(model))
        columns = [known.index(class_id) for class_id in self.class_ids]
        scores = model.predict(self.inputs, batch_size=512, verbose=0)
        return metrics.mean_average_precision(
            self._ranking(scores[:, columns]),
            self.ratings,
            self.class_ids,
            self.k,
        )

    def floor(self) -> float:
        """MAP of a random order of the same segments."""
        scores = np.zeros((len(self.starts), len(self.class_ids)), np.float32)
        return metrics.random_floor(
            self._ranking(scores), self.ratings, self.class_ids, self.k
        )

    def _ranking(self, scores):
        return Ranking.from_scores(
            scores, self.class_ids, self.video_ids, self.starts, self.k
        )


def fit(
    model: keras.Model,
    batches,
    *,
    folder,
    steps: int,
    batch_size: int,
    learning_rate: float,
    evaluate,
    evaluate_every: int,
    patience: int | None = None,
    keep: str = "best",
    facts: dict | None = None,
) -> pd.DataFrame:
    """Trains `model` in place and leaves it with the weights that were kept.

    Adam with the staircase of section 7 and a clip of 1.0 on each tensor's
    gradient norm.  `folder` receives `stage.weights.h5` (replaced whenever
    superseded), `history.csv` and, when all is done, `config.json`.

    Args:
        model: From `kit.presets.build`.
        batches: Endless batches of inputs and targets, from `kit.data` or
            `kit.pack`.
        folder: Where the stage is saved.
        steps: Optimisation steps, rounded down to whole evaluations.
        batch_size: Examples a step, for the schedule.
        learning_rate: At the start.
        evaluate: From a model to the score; see `SegmentEvaluation`.
        evaluate_every: Steps between evaluations.
        patience: Evaluations without a better score before training stops;
            `None` for never.
        keep: `"best"` weights by MAP, or the `"last"`.
        facts: Anything to record in `config.json`.

    Returns:
        A row per evaluation: `step`, `loss`, `map`.

    Raises:
        ValueError: Where the loss is not a number, or `keep` is unknown.
    """
    if keep not in ("best", "last"):
        raise ValueError(
            f"`keep` must be 'best' or 'last'. Received: keep={keep!r}"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "stage.weights.h5"
    evaluate_every = min(evaluate_every, steps)
    trainee = models.training_model(model)
    trainee.compile(
        keras.optimizers.Adam(
            learning_rate_schedule(learning_rate, batch_size), clipnorm=1.0
        ),
        losses.loss_for(model),
    )
    history = trainee.fit(
        batches,
        epochs=steps // evaluate_every,
        steps_per_epoch=evaluate_every,
        callbacks=_callbacks(model, evaluate, weights, keep, patience),
        shuffle=False,  # the batches are; else Keras warns
        verbose=2,
    ).history
    if not np.isfinite(history["loss"]).all():
        raise ValueError(
            "The loss is no longer a number: lower the learning rate and "
            "start the stage again; the last good weights are in "
            f"{weights}. Received: learning_rate={learning_rate}"
        )
    model.load_weights(weights)
    table = pd.DataFrame({"loss": history["loss"], "map": history["map"]})
    table.insert(0, "step", evaluate_every * np.arange(1, len(table) + 1))
    config = {
        "format": FORMAT,
        "steps": int(table["step"].iloc[-1]),
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "keep": keep,
        "best_map": float(table["map"].max()),
        **(facts or {}),
    }
    _write_text(folder / "history.csv", table.to_csv(index=False))
    _write_text(folder / "config.json", json.dumps(config, indent=1))
    return table


def _callbacks(model, evaluate, weights, keep, patience):
    callbacks = [
        SegmentMAP(lambda: evaluate(model)),
        _KeepWeights(model, weights, keep),
        keras.callbacks.TerminateOnNaN(),
    ]
    if patience is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping("map", patience=patience, mode="max")
        )
    return callbacks


def save_model(model: keras.Model, path) -> None:
    """Writes the `.keras` file under the float32 policy, atomically.

    A model trained in float16 then serves anywhere; its variables are float32
    in any case.
    """
    _replace(path, models.with_dtype(model, "float32").save)


class _KeepWeights(keras.callbacks.Callback):
    """Writes the weights after each epoch, or after each best one.

    `keras.callbacks.ModelCheckpoint` saves the model that is trained, which
    for a distilled member is not the one that predicts, and not atomically.
    """

    def __init__(self, kept, path, keep):
        super().__init__()
        self.kept, self.path, self.keep = kept, path, keep
        self.best = -math.inf

    def on_epoch_end(self, epoch, logs=None):
        better = logs["map"] > self.best
        if math.isfinite(logs["loss"]) and (better or self.keep == "last"):
            self.best = logs["map"]
            _replace(self.path, self.kept.save_weights)


def _write_text(path, text):
    _replace(path, lambda scratch: scratch.write_text(text))


def _replace(path, write):
    """Writes to a temporary name beside `path`, then renames."""
    path = Path(path)
    # Keras tells the format by the ending, so the mark goes in front.
    scratch = path.with_name(f"partial-{path.name}")
    write(scratch)
    os.replace(scratch, path)
