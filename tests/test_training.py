"""What `fit` is given beside Keras' own: epochs, MAP, a staircase, an end."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from kit import metrics, models, presets, training
from kit.spec import FrameSpec

SPEC = FrameSpec(6, 2)


def rated(count=30, seed=0):
    rng = np.random.default_rng(seed)
    frames = rng.integers(256, size=(count, 5, SPEC.dim), dtype="u1")
    return SimpleNamespace(
        inputs={"frames": frames, "mask": np.ones((count, 5), bool)},
        targets=rng.integers(-1, 2, (count, 3), dtype="i1"),
    )


def build(class_ids=(3, 5, 8)):
    return presets.build("Logistic", class_ids=class_ids, spec=SPEC)


def make_epoch(epoch, steps):
    values = np.arange(steps) + 100.0 * epoch
    return tf.data.Dataset.from_tensor_slices((values[:, None], values))


def fit(batches, epochs, steps, callbacks=(), first=0):
    inputs = keras.Input(())
    model = keras.Model(inputs, inputs * 1.0)
    model.compile(loss="mae")
    return model.fit(
        batches,
        epochs=epochs,
        steps_per_epoch=steps,
        initial_epoch=first,
        shuffle=False,
        callbacks=list(callbacks),
        verbose=0,
    )


def test_an_epoch_depends_on_its_number_alone():
    whole = [y for _, y in training.epochs(make_epoch, 0, 3, 4)]
    rest = [y for _, y in training.epochs(make_epoch, 1, 3, 4)]
    assert [float(y) for y in whole[:5]] == [0, 1, 2, 3, 100]
    assert [float(y) for y in rest] == [float(y) for y in whole[4:]]


def test_an_epoch_that_is_too_short_is_an_error():
    batches = training.epochs(lambda e, steps: make_epoch(e, 2), 0, 2, 3)
    with pytest.raises(Exception, match="(?i)cardinality|input.*2"):
        list(batches)


def test_segments_are_scored_by_their_map_each_epoch():
    model, some = build(), rated()
    callback = training.SegmentMAP(model, some, batch_size=16)
    logs = {}
    callback.on_epoch_end(0, logs)
    scores = model.predict(some.inputs, verbose=0)
    assert logs["val_map"] == pytest.approx(
        metrics.map_of_scores(scores, some.targets)
    )


def test_the_columns_of_the_rated_classes_are_picked():
    wide, some = build((8, 1, 5, 3)), rated()
    callback = training.SegmentMAP(wide, some, [3, 5, 8], batch_size=16)
    logs = {}
    callback.on_epoch_end(0, logs)
    scores = wide.predict(some.inputs, verbose=0)[:, [3, 2, 0]]
    assert models.class_ids(wide).tolist() == [8, 1, 5, 3]
    assert logs["val_map"] == pytest.approx(
        metrics.map_of_scores(scores, some.targets)
    )


def test_a_hold_out_without_a_yes_is_refused():
    some = rated()
    some.targets = np.minimum(some.targets, 0)
    with pytest.raises(ValueError, match="rated yes"):
        training.SegmentMAP(build(), some)


def test_classes_that_the_model_does_not_know_are_refused():
    with pytest.raises(ValueError, match="must know"):
        training.SegmentMAP(build(), rated(), [3, 5, 9])


def test_the_rate_falls_by_a_tenth_every_two_million_examples():
    schedule = training.staircase(1e-4, batch_size=128)
    for steps, fall in ((0, 0), (15_624, 0), (15_626, 1), (200_000, 12)):
        assert float(schedule(steps)) == pytest.approx(1e-4 * 0.9**fall)


def test_time_ends_training_after_an_epoch():
    limit = training.TimeLimit(0.0)
    batches = training.epochs(make_epoch, 0, 5, 2)
    history = fit(batches, 5, 2, [limit])
    assert history.epoch == [0] and limit.reached


def test_without_a_limit_training_is_not_ended():
    limit = training.TimeLimit(1.0)
    history = fit(training.epochs(make_epoch, 0, 3, 2), 3, 2, [limit])
    assert history.epoch == [0, 1, 2] and not limit.reached


def test_a_cpu_computes_in_float32():
    assert training.precision() == "float32"
