import json

import keras
import numpy as np
import pandas as pd
import pytest

from kit import data, metrics, models, presets, training
from kit.splits import Holdout

HALF = Holdout(0.5)


@pytest.fixture(scope="module")
def classes(sample):
    return data.read_segment_classes(sample)


@pytest.fixture(scope="module")
def evaluate(sample, classes):
    shards = data.list_shards(sample, "validate")
    part = dict(holdout=HALF, part="holdout")
    return training.SegmentEvaluation(
        data.rated_segments(shards, class_ids=classes, with_ids=True, **part),
        data.ratings(shards, **part),
        classes,
    )


def batches(sample, classes):
    def of_interval(interval):
        return data.rated_segments(
            data.list_shards(sample, "validate"),
            class_ids=classes,
            batch_size=16,
            holdout=HALF,
            part="training",
            shuffle=True,
            first_epoch=1000 * interval,
            repeat=True,
        )

    return of_interval


def fit(sample, classes, evaluate, folder, model=None, **options):
    model = model or presets.build("Logistic", class_ids=classes)
    options = dict(steps=6, evaluate_every=2, learning_rate=1e-2) | options
    options.setdefault("stage", training.Stage(folder))
    options.setdefault("batches", batches(sample, classes))
    table = training.fit(
        model,
        batch_size=16,
        evaluate=evaluate,
        **options,
    )
    return model, table


def test_the_learning_rate_falls_every_two_million_examples():
    rate = training.learning_rate_schedule(1e-4, batch_size=128)
    assert float(rate(0)) == float(rate(15_624)) == pytest.approx(1e-4)
    assert float(rate(15_625)) == pytest.approx(0.9e-4)
    other = training.learning_rate_schedule(1e-4, batch_size=64)
    assert float(other(2 * 15_625)) == pytest.approx(0.9e-4)


def test_the_evaluation_scores_what_the_model_says(evaluate, classes):
    # A model of more classes, in another order: columns must be found by id.
    ids = [*reversed(classes), 98]
    model = presets.build("Logistic", class_ids=ids)
    scores = model.predict(evaluate.inputs, verbose=0)
    columns = [ids.index(class_id) for class_id in classes]
    targets = np.full((len(scores), len(classes)), -1)
    place = {
        key: row
        for row, key in enumerate(
            zip(evaluate.video_ids.astype(str), evaluate.starts, strict=True)
        )
    }
    for rating in evaluate.ratings.itertuples():
        row = place[rating.video_id, rating.start]
        targets[row, list(classes).index(rating.label)] = rating.score
    expected = metrics.mean_average_precision_of_scores(
        scores[:, columns], targets
    )
    assert evaluate(model) == pytest.approx(expected)
    assert 0.4 < evaluate.floor() < 0.8


def test_a_stage_leaves_weights_history_and_settings(
    sample, classes, evaluate, tmp_path
):
    model, table = fit(
        sample, classes, evaluate, tmp_path, facts={"member": "Logistic"}
    )
    assert table["step"].tolist() == [2, 4, 6]
    pd.testing.assert_frame_equal(
        table, pd.read_csv(tmp_path / "history.csv"), rtol=1e-6
    )
    assert table.attrs["finished"]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["member"] == "Logistic"
    assert config["best_map"] == pytest.approx(table["map"].max())
    again = presets.build("Logistic", class_ids=classes, seed=9)
    again.load_weights(tmp_path / "stage.weights.h5")
    for one, two in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not list(tmp_path.glob("partial-*"))


def test_the_best_weights_are_the_ones_that_stay(sample, classes, tmp_path):
    scores = iter([0.1, 0.3, 0.9, 0.5])
    seen = []

    def evaluate(model):
        seen.append(model.get_weights()[0])
        return next(scores)

    model, _ = fit(sample, classes, evaluate, tmp_path, keep="best")
    np.testing.assert_array_equal(model.get_weights()[0], seen[2])
    assert (seen[2] != seen[3]).any()


def test_the_last_weights_stay_where_asked(sample, classes, tmp_path):
    scores = iter([0.1, 0.9, 0.3, 0.5])
    seen = []

    def evaluate(model):
        seen.append(model.get_weights()[0])
        return next(scores)

    model, _ = fit(sample, classes, evaluate, tmp_path, keep="last")
    np.testing.assert_array_equal(model.get_weights()[0], seen[3])


def test_training_stops_when_nothing_gets_better(sample, classes, tmp_path):
    scores = iter([0.1, 0.5, 0.4, 0.4, 0.9])
    _, table = fit(
        sample,
        classes,
        lambda model: next(scores),
        tmp_path,
        steps=8,
        patience=2,
    )
    assert len(table) == 3


def test_a_distilled_member_trains_all_its_branches(
    sample, classes, evaluate, tmp_path
):
    model = presets.build("MixNeXtVLAD-60", class_ids=classes, scale="tiny")
    before = [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]
    fit(sample, classes, evaluate, tmp_path, model=model, keep="last")
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert (keras.ops.convert_to_numpy(weight) != old).any(), weight.path


def test_a_loss_that_is_no_number_stops_and_keeps_good_weights(
    sample, classes, evaluate, tmp_path
):
    model = presets.build("Logistic", class_ids=classes)
    good = [keras.ops.convert_to_numpy(w) for w in model.weights]
    calls = []

    def break_it(model):
        calls.append(evaluate(model))
        if len(calls) == 3:  # before, and after two intervals
            model.weights[0].assign(np.nan * model.weights[0])
        return -len(calls)  # so the poisoned weights are not kept

    with pytest.raises(ValueError, match="no longer a number.*step=5"):
        fit(sample, classes, break_it, tmp_path, model=model)
    model.load_weights(tmp_path / "stage.weights.h5")
    assert all(
        np.isfinite(keras.ops.convert_to_numpy(w)).all() for w in model.weights
    )
    assert (good[0] != keras.ops.convert_to_numpy(model.weights[0])).any()


def test_what_to_keep_must_be_known(sample, classes, evaluate, tmp_path):
    with pytest.raises(ValueError, match="keep='first'"):
        fit(sample, classes, evaluate, tmp_path, keep="first")


def test_a_model_is_saved_in_float32(classes, tmp_path):
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        model = presets.build("BERTMean", class_ids=classes, scale="tiny")
    finally:
        keras.config.set_dtype_policy(before)
    training.save_model(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert {layer.compute_dtype for layer in loaded.layers} <= {
        "float32",
        "uint8",
        "bool",
    }
    assert models.class_ids(loaded).tolist() == list(classes)
    for one, two in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
