import keras
import numpy as np
import pytest

from kit.layers import MixtureOfExperts
from tests.layers import contract
from tests.layers.contract import batch_norm, numpy, random, sigmoid, softmax
from tests.refusals import refused

X = random(4, 5)


def by_class(x, w):
    """Each class on its own: its gates, its experts, and nobody's share."""
    columns = []
    for c in range(w["expert_bias"].shape[-1]):
        gates = softmax(x @ w["gate_kernel"][..., c])
        experts = x @ w["expert_kernel"][..., c] + w["expert_bias"][:, c]
        columns.append((gates[:, :-1] * sigmoid(experts)).sum(axis=1))
    return np.stack(columns, axis=1)


def test_agrees_with_the_definition():
    layer = MixtureOfExperts(7, num_mixtures=3)
    w = contract.randomize(layer, X)
    np.testing.assert_allclose(numpy(layer(X)), by_class(X, w), atol=1e-5)
    gates, experts = numpy(layer.gates(X)), numpy(layer.experts(X))
    assert gates.shape == (4, 4, 7) and experts.shape == (4, 3, 7)
    expected = softmax(X @ w["gate_kernel"][..., 2])
    np.testing.assert_allclose(gates[..., 2], expected, atol=1e-5)
    logits = X @ w["expert_kernel"][..., 2] + w["expert_bias"][:, 2]
    np.testing.assert_allclose(experts[..., 2], sigmoid(logits), atol=1e-5)


@pytest.mark.parametrize("columns", [None, [6, 0, 3]])
def test_gated_probabilities_agree_with_equation_10(columns):
    layer = MixtureOfExperts(7, 3, output_gating=True, output_columns=columns)
    w = contract.randomize(layer, X)
    expected = by_class(X, w)
    gate = batch_norm(expected @ w["gating/kernel"], w, "gating/batch_norm")
    kept = expected if columns is None else expected[:, columns]
    np.testing.assert_allclose(numpy(layer(X)), kept * sigmoid(gate), atol=1e-5)


@pytest.mark.parametrize("num_mixtures", [1, 5])
def test_zero_weights_give_half_of_what_the_null_expert_leaves(num_mixtures):
    layer = MixtureOfExperts(2, num_mixtures)
    x = np.zeros((1, 3), "float32")
    expected = 0.5 * num_mixtures / (num_mixtures + 1)
    np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-6)


@pytest.mark.parametrize("output_gating", [False, True])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_probabilities_never_leave_the_unit_interval(policy, output_gating):
    layer = MixtureOfExperts(50, output_gating=output_gating, dtype=policy)
    x = 100 * random(20, 5)
    layer(x)
    for scale in (0.1, 10, 1e3):
        layer.expert_kernel.assign(scale * random(5, 5, 50, seed=1))
        layer.gate_kernel.assign(scale * random(5, 6, 50, seed=2))
        for training in (True, False):
            actual = numpy(layer(x, training=training))
            assert actual.dtype == "float32"
            assert np.isfinite(actual).all()
            assert actual.min() >= 0 and actual.max() <= 1


def test_regularisation_is_half_the_published_factor():
    layer = MixtureOfExperts(3, num_mixtures=2)
    layer.build((None, 4))
    kernels = [numpy(layer.gate_kernel), numpy(layer.expert_kernel)]
    expected = 1e-6 / 2 * sum(np.square(kernel).sum() for kernel in kernels)
    assert float(sum(layer.losses)) == pytest.approx(expected, rel=1e-5)
    layer = MixtureOfExperts(3, l2=0)
    layer.build((None, 4))
    assert not layer.losses


def test_kernels_start_as_those_of_one_dense_layer():
    layer = MixtureOfExperts(100, num_mixtures=2)
    layer.build((None, 60))
    limit = np.sqrt(6 / (60 + 200))  # Glorot and Bengio, 60 to 2 x 100
    kernel = numpy(layer.expert_kernel)
    assert abs(kernel).max() == pytest.approx(limit, rel=0.01)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"l2": 0.1},
        {"output_gating": True, "output_columns": [2, 0], "momentum": 0.5},
    ],
)
def test_contract(arguments):
    def make(**kwargs):
        return MixtureOfExperts(3, num_mixtures=2, **arguments, **kwargs)

    contract.check_layer(make, X, dtype="float32")
    symbolic = make(dtype="mixed_float16")(keras.Input((5,)))
    assert symbolic.dtype == "float32"
    assert symbolic.shape == (None, 2 if "output_columns" in arguments else 3)


def test_bad_arguments_are_refused():
    for sizes in ((0,), (3, 0)):
        refused("at least 1.*Received", MixtureOfExperts, *sizes)
    refused("output_gating=False", MixtureOfExperts, 3, output_columns=[1])
