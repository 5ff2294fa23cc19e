import keras
import numpy as np
import pytest

from kit import losses, models, presets
from tests.layers.contract import gradients, numpy, sigmoid, softmax
from tests.refusals import refused

TARGETS = np.array([[1, 0, -1, 1], [0, -1, -1, 0]], "int8")
LOSSES = losses.MaskedBinaryCrossentropy, losses.DistillationLoss
PROBABILITIES = np.float32([[0.9, 0.2, 0.6, 0.5], [0.1, 0.3, 0.8, 0.0]])


class Guess(keras.layers.Layer):
    """Predicts what its weights are, whatever the input."""

    def __init__(self, values):
        super().__init__()
        self.values = np.asarray(values, "float32")

    def build(self, input_shape):
        self.guess = self.add_weight(shape=self.values.shape, name="guess")
        self.guess.assign(self.values)

    def call(self, inputs):
        return self.guess + 0.0 * keras.ops.sum(inputs)


def gradient(loss, targets, values):
    model = keras.Sequential([Guess(values)])
    inputs = np.zeros((len(targets), 1), "float32")
    model(inputs)
    (gradient,) = gradients(model, inputs, targets, loss).values()
    return gradient


def test_cross_entropy_sums_over_rated_classes_and_averages_rows():
    first = -np.log(0.9) - np.log(0.8) - np.log(0.5)
    second = -np.log(0.9) - np.log(1.0)
    loss = losses.MaskedBinaryCrossentropy()(TARGETS, PROBABILITIES)
    assert float(loss) == pytest.approx((first + second) / 2, rel=1e-5)


def test_nobody_learns_from_what_nobody_rated():
    loss, unrated = losses.MaskedBinaryCrossentropy(), TARGETS == -1
    slope = gradient(loss, TARGETS, PROBABILITIES)
    assert not slope[unrated].any() and slope[~unrated].all()
    changed = np.where(unrated, 1 - PROBABILITIES, PROBABILITIES)
    assert float(loss(TARGETS, changed)) == float(loss(TARGETS, PROBABILITIES))
    assert float(loss(np.full_like(TARGETS, -1), PROBABILITIES)) == 0


@pytest.mark.parametrize("mined", [0.0, 0.25])
@pytest.mark.parametrize("branches", [0, 2])
def test_a_mined_negative_is_a_share_of_a_no(mined, branches):
    unrated, values, kind = TARGETS == -1, PROBABILITIES, LOSSES[branches > 0]
    share = np.where(unrated, mined, 1.0)
    if branches:  # that agree with the mixture, and learn nothing from it
        values = np.stack([values] * (1 + branches), axis=1)
        share = share[:, None]
    loss = kind.from_config(kind(mined=mined).get_config())
    slope = gradient(loss, np.where(unrated, -2, TARGETS), values)
    of_noes = gradient(kind(), np.where(unrated, 0, TARGETS), values)
    np.testing.assert_allclose(slope, share * of_noes, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_certainty_is_finite_and_a_certain_mistake_can_be_unlearned(dtype):
    targets = np.array([[1, 0, 1, 0]], "int8")
    certain = np.array([[0, 1, 1, 0]], dtype)
    loss = losses.MaskedBinaryCrossentropy()
    value = float(loss(targets, certain))
    assert np.isfinite(value) and value > 20
    slope = gradient(loss, targets, certain)
    assert np.isfinite(slope).all()
    assert slope[0, 0] < -1e3 and slope[0, 1] > 1e3


def distillation(targets, logits, temperature):
    """Equations 17 to 19 for one row at a time, in float64."""
    total = 0.0
    for target, row in zip(targets, logits.astype("float64"), strict=True):
        rated = target != -1
        for z in row:
            p = sigmoid(z[rated])
            hit = target[rated] == 1
            total -= np.log(np.where(hit, p, 1 - p)).sum()
        teacher = softmax(row[0] / temperature)
        for z in row[1:]:
            student = softmax(z / temperature)
            divergence = (teacher * np.log(teacher / student)).sum()
            total += temperature**2 * divergence
    return total / len(targets)


LOGITS = 3 * np.random.default_rng(0).normal(size=(2, 4, 4)).astype("float32")


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_distillation_agrees_with_the_equations(temperature):
    loss = losses.DistillationLoss(temperature)(TARGETS, LOGITS)
    expected = distillation(TARGETS, LOGITS, temperature)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_the_teacher_does_not_learn_from_its_pupils():
    unrated = np.full((2, 4), -1, "int8")
    slope = gradient(losses.DistillationLoss(), unrated, LOGITS)
    assert not slope[:, 0].any()
    assert slope[:, 1:].any(axis=-1).all()


def test_extreme_logits_are_finite():
    logits = np.array([[[1e4, -1e4], [-1e4, 1e4]]], "float32")
    targets = np.array([[0, 1]], "int8")
    assert np.isfinite(float(losses.DistillationLoss()(targets, logits)))


def test_each_model_gets_its_loss():
    bert = presets.build("BERTMean", 3, scale="tiny")
    assert isinstance(losses.loss_for(bert), losses.MaskedBinaryCrossentropy)
    mixture = presets.build("MixNeXtVLAD-60", 3, scale="tiny")
    for model in (mixture, models.training_model(mixture)):
        assert isinstance(losses.loss_for(model), losses.DistillationLoss)


def test_targets_of_other_classes_are_refused():
    loss = losses.MaskedBinaryCrossentropy()
    for targets in (TARGETS[:, :3], TARGETS[:, :1]):  # one would be repeated
        refused(r"y_true.shape=\(2, ", loss, targets, PROBABILITIES)
        refused("class_ids", losses.DistillationLoss(), targets, LOGITS)


@pytest.mark.parametrize(
    ("loss", "predicted"),
    [
        (losses.MaskedBinaryCrossentropy(), PROBABILITIES),
        (losses.DistillationLoss(2.0), LOGITS),
    ],
)
def test_config(loss, predicted):
    saved = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(saved)
    assert again.get_config() == loss.get_config()
    assert numpy(again(TARGETS, predicted)) == numpy(loss(TARGETS, predicted))


def test_a_temperature_or_a_weight_out_of_range_is_refused():
    refused("temperature=0", losses.DistillationLoss, 0)
    for kind in LOSSES:
        refused("1, that of a rating.*mined=1.1", kind, mined=1.1)
