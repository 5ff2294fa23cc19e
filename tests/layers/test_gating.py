import numpy as np
import pytest

from kit.layers import ContextGating, SqueezeExcitationGating
from tests.layers.contract import (
    batch_norm,
    check_config,
    check_mixed_precision,
    numpy,
    random,
    randomize,
    sigmoid,
    values,
)


@pytest.mark.parametrize("columns", [None, [4, 0, 2]])
def test_context_gating_agrees_with_equation_10(columns):
    layer = ContextGating(columns=columns)
    x = random(3, 6)
    layer(x)
    randomize(layer)
    w = values(layer)
    gate = batch_norm(x.astype("float64") @ w["kernel"], w, "batch_norm")
    expected = (x if columns is None else x[:, columns]) * sigmoid(gate)
    np.testing.assert_allclose(numpy(layer(x)), expected, atol=1e-5)


def test_squeeze_excitation_agrees_with_the_formula():
    layer = SqueezeExcitationGating(2)
    x = random(3, 6)
    layer(x)
    randomize(layer)
    w = values(layer)
    hidden = x.astype("float64") @ w["squeeze/kernel"]
    hidden = np.maximum(batch_norm(hidden, w, "batch_norm"), 0)
    gate = hidden @ w["excite/kernel"] + w["excite/bias"]
    np.testing.assert_allclose(numpy(layer(x)), x * sigmoid(gate), atol=1e-5)


def test_a_gate_of_zero_weights_halves():
    layer = ContextGating()
    x = random(3, 6)
    layer(x)
    layer.kernel.assign(np.zeros((6, 6)))
    np.testing.assert_allclose(numpy(layer(x)), x / 2, rtol=1e-6)


def test_fewer_columns_are_those_of_the_whole_gate():
    whole, some = ContextGating(), ContextGating(columns=[5, 1])
    x = random(3, 6)
    whole(x), some(x)
    randomize(whole)
    some.set_weights([value[..., [5, 1]] for value in numpy(whole.weights)])
    np.testing.assert_allclose(
        numpy(some(x)), numpy(whole(x))[:, [5, 1]], rtol=1e-5
    )


LAYERS = [
    (ContextGating, {}),
    (ContextGating, {"momentum": 0.5, "columns": [1, 0]}),
    (SqueezeExcitationGating, {"reduction": 3, "momentum": 0.5}),
]


@pytest.mark.parametrize(("kind", "arguments"), LAYERS)
def test_contract(kind, arguments):
    check_config(kind(**arguments), random(3, 6))
    check_mixed_precision(
        lambda **kwargs: kind(**arguments, **kwargs), random(3, 6)
    )


def test_a_squeeze_to_nothing_is_refused():
    with pytest.raises(ValueError, match="reduction.*width=6"):
        SqueezeExcitationGating(7)(random(3, 6))
    with pytest.raises(ValueError, match="at least 1.*reduction=0"):
        SqueezeExcitationGating(0)
