import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from kit import metrics, models, presets, training
from kit.spec import FrameSpec
from tests.refusals import refused

SPEC = FrameSpec(4, 2)


def examples(seed, *shape):
    """Random inputs and targets for models of three classes."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(256, size=(*shape, 5, SPEC.dim), dtype="u1")
    inputs = {"frames": frames, "mask": np.ones((*shape, 5), bool)}
    return inputs, rng.integers(-1, 2, (*shape, 3), dtype="i1")


def make_epoch(epoch, steps):
    """Random batches that depend on the number of the epoch alone."""
    return tf.data.Dataset.from_tensor_slices(examples(epoch, steps, 8))


def first_bytes(batches):
    return [int(inputs["frames"][0, 0, 0]) for inputs, _ in batches]


class Traced(keras.layers.Layer):
    """Counts how often what it is part of is traced."""

    count = 0

    def call(self, inputs):
        Traced.count += 1
        return keras.ops.cast(inputs, "float32")


def build():
    frames = keras.Input((5, SPEC.dim), dtype="uint8", name="frames")
    mask = keras.Input((5,), dtype="bool", name="mask")
    x = keras.layers.Rescaling(1 / 255)(Traced()(frames))
    x = keras.layers.GlobalAveragePooling1D()(x, mask=mask)
    outputs = keras.layers.Dense(3)(x)
    model = keras.Model({"frames": frames, "mask": mask}, outputs)
    model.compile("sgd", "mse")
    return model


def fit(model, batches, epochs, **options):
    options = {"verbose": 0, "shuffle": False} | options
    return model.fit(batches, epochs=epochs, steps_per_epoch=3, **options)


def test_the_learning_rate_falls_every_two_million_examples():
    rate = training.staircase(1e-4, batch_size=128)
    assert float(rate(0)) == float(rate(15_624)) == pytest.approx(1e-4)
    assert float(rate(15_625)) == pytest.approx(0.9e-4)
    other = training.staircase(1e-4, batch_size=64)
    assert float(other(2 * 15_625)) == pytest.approx(0.9e-4)


def test_a_processor_computes_in_full_precision():
    assert training.precision() == "float32"


def test_epochs_that_resume_are_those_that_were_left():
    """Each ends where `fit` does, though there are more examples."""

    def endless(epoch, steps):
        return make_epoch(epoch, steps).repeat()

    whole = first_bytes(training.epochs(endless, 0, 4, steps=3))
    rest = first_bytes(training.epochs(endless, 2, 4, steps=3))
    expected = [first_bytes(make_epoch(epoch, 3)) for epoch in range(4)]
    assert whole == sum(expected, []) and rest == sum(expected[2:], [])


def test_epochs_are_trained_in_one_trace_and_shown_by_their_steps(capsys):
    model, Traced.count = build(), 0
    fit(model, training.epochs(make_epoch, 0, 3, 3), epochs=3, verbose=1)
    assert Traced.count <= 2
    out = capsys.readouterr().out
    assert "Epoch 3/3" in out and "3/3" in out.split("Epoch 3/3")[1]


def test_a_finished_fit_passes_without_a_batch():
    def recorded(epoch, steps):
        calls.append(epoch)
        return make_epoch(epoch, steps)

    calls = []
    batches = training.epochs(recorded, 4, 4, steps=3)
    assert fit(build(), batches, epochs=4, initial_epoch=4).epoch == []
    assert calls == [4]  # for the shapes alone


def test_what_goes_wrong_in_the_data_is_told():
    def missing(epoch, steps):
        if epoch == 1:
            raise ValueError("no such shard: 17")
        return make_epoch(epoch, steps)

    def short(epoch, steps):
        return make_epoch(epoch, steps - epoch)

    for make, message in {
        missing: "no such shard: 17",
        short: "expected.*3.*only 2 elements",
    }.items():
        batches = training.epochs(make, 0, 2, steps=3)
        with pytest.raises(tf.errors.OpError, match=message):
            fit(build(), batches, epochs=2)


def rated(count=19):
    inputs, targets = examples(7, count)
    return SimpleNamespace(inputs=inputs, targets=targets)


def test_the_evaluation_scores_what_the_model_says():
    # A model of more classes, in another order: columns are found by id.
    model = presets.build("Logistic", class_ids=[5, 98, 1, 2], spec=SPEC)
    evaluation = training.SegmentMAP(model, rated(), [1, 2, 5], batch_size=8)
    scores = model.predict(rated().inputs, verbose=0)
    expected = metrics.map_of_scores(scores[:, [2, 3, 0]], rated().targets)
    assert evaluation.evaluate() == expected
    assert evaluation.floor == metrics.floor_of_targets(rated().targets)
    model = models.restrict_classes(model, [1, 2, 5])
    assert training.SegmentMAP(model, rated()).evaluate() == expected


def test_the_evaluation_must_have_something_to_score():
    model = presets.build("Logistic", class_ids=[1, 2, 5], spec=SPEC)
    other = presets.build("ContextGatedNetVLAD", 3, spec=SPEC, scale="tiny")
    evaluation, never = training.SegmentMAP, rated()
    never.targets[never.targets == 1] = 0
    refused(r"unknown \[98\]", evaluation, model, rated(), [1, 2, 98])
    refused("2 class_ids for 3 columns", evaluation, model, rated(), [1, 2])
    refused("windows of 9 .*Received: windows of 5", evaluation, other, rated())
    refused("positive|yes", evaluation, model, never, [1, 2, 5])


def test_the_evaluation_comes_before_those_that_read_it(tmp_path):
    """As those that stop and log."""
    model = presets.build("Logistic", class_ids=[1, 2, 5], spec=SPEC)
    evaluation = training.SegmentMAP(model, rated(), batch_size=8)
    stop = keras.callbacks.EarlyStopping("val_map", mode="max", patience=2)
    log = keras.callbacks.CSVLogger(tmp_path / "history.csv")
    callbacks = [evaluation, stop, log]
    batches = training.epochs(make_epoch, 0, 9, steps=3)
    history = fit(build(), batches, epochs=9, callbacks=callbacks)
    score = evaluation.evaluate()
    assert model.predict_function.experimental_get_tracing_count() == 1
    assert history.history["val_map"] == [score] * 3
    assert training.history(tmp_path)["val_map"].tolist() == [score] * 3


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr("kit.training.time_limit.time", clock)
    return clock


def limited(limit, clock, seconds, epochs):
    def wait(epoch, logs):
        clock.now += seconds

    wait = keras.callbacks.LambdaCallback(on_epoch_end=wait)
    batches = training.epochs(make_epoch, 0, epochs, steps=3)
    return fit(build(), batches, epochs, callbacks=[wait, limit]).epoch


def test_time_ends_training_before_an_epoch_that_would_not_end(clock, capsys):
    limit = training.TimeLimit(9 / 3600)
    assert limited(limit, clock, seconds=2, epochs=99) == [0, 1, 2, 3]
    assert limit.reached
    assert "Time is up after epoch 4" in capsys.readouterr().out


def test_an_epoch_is_always_trained(clock, capsys):
    limit = training.TimeLimit(0)
    assert limited(limit, clock, seconds=1, epochs=1) == [0]
    assert "Time is up" not in capsys.readouterr().out  # it was the last
    assert limited(limit, clock, seconds=1, epochs=4) == [0]


def test_time_counts_from_where_the_limit_is_made(clock):
    limits = {hours: training.TimeLimit(hours) for hours in (1, 3, math.inf)}
    limits[None] = training.TimeLimit(None)
    clock.now = 2 * 3600
    reached = [hours for hours, limit in limits.items() if limit.reached]
    assert reached == [1]
