import numpy as np
import pytest

from kit.layers import ContextGating, SqueezeExcitationGating
from tests.layers import contract
from tests.layers.contract import batch_norm, numpy, random, sigmoid
from tests.refusals import refused

X = random(3, 6)


@pytest.mark.parametrize("columns", [None, [4, 0, 2]])
def test_context_gating_agrees_with_equation_10(columns):
    layer = ContextGating(columns=columns)
    w = contract.randomize(layer, X)
    gate = batch_norm(X.astype("float64") @ w["kernel"], w, "batch_norm")
    expected = (X if columns is None else X[:, columns]) * sigmoid(gate)
    np.testing.assert_allclose(numpy(layer(X)), expected, atol=1e-5)


def test_squeeze_excitation_agrees_with_the_formula():
    layer = SqueezeExcitationGating(2)
    w = contract.randomize(layer, X)
    hidden = X.astype("float64") @ w["squeeze/kernel"]
    hidden = np.maximum(batch_norm(hidden, w, "batch_norm"), 0)
    gate = hidden @ w["excite/kernel"] + w["excite/bias"]
    np.testing.assert_allclose(numpy(layer(X)), X * sigmoid(gate), atol=1e-5)


def test_a_gate_of_zero_weights_halves():
    layer = ContextGating()
    layer(X)
    layer.kernel.assign(np.zeros((6, 6)))
    np.testing.assert_allclose(numpy(layer(X)), X / 2, rtol=1e-6)


def test_fewer_columns_are_those_of_the_whole_gate():
    whole, some = ContextGating(), ContextGating(columns=[5, 1])
    contract.randomize(whole, X)
    some(X)
    some.set_weights([value[..., [5, 1]] for value in numpy(whole.weights)])
    expected = numpy(whole(X))[:, [5, 1]]
    np.testing.assert_allclose(numpy(some(X)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (ContextGating, {}),
        (ContextGating, {"momentum": 0.5, "columns": [1, 0]}),
        (SqueezeExcitationGating, {"reduction": 3, "momentum": 0.5}),
    ],
)
def test_contract(kind, arguments):
    contract.check_layer(lambda **kwargs: kind(**arguments, **kwargs), X)


def test_a_squeeze_to_nothing_is_refused():
    refused("reduction.*width=6", SqueezeExcitationGating(7), X)
    refused("at least 1.*reduction=0", SqueezeExcitationGating, 0)
