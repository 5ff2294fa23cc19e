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
@pytest.mark.parametrize("use_batch_norm", [True, False])
def test_context_gating_agrees_with_equation_10(use_batch_norm, columns):
    layer = ContextGating(use_batch_norm, columns=columns)
    x = random(3, 6)
    layer(x)
    randomize(layer)
    w = values(layer)
    gate = x.astype("float64") @ w["kernel"]
    if use_batch_norm:
        gate = batch_norm(gate, w, "batch_norm")
    else:
        gate = gate + w["bias"]
    expected = (x if columns is None else x[:, columns]) * sigmoid(gate)
    np.testing.assert_allclose(numpy(layer(x)), expected, atol=1e-5)


@pytest.mark.parametrize("use_batch_norm", [True, False])
def test_squeeze_excitation_agrees_with_the_formula(use_batch_norm):
    layer = SqueezeExcitationGating(2, use_batch_norm)
    x = random(3, 6)
    layer(x)
    randomize(layer)
    w = values(layer)
    hidden = x.astype("float64") @ w["squeeze/kernel"]
    if use_batch_norm:
        hidden = batch_norm(hidden, w, "batch_norm")
    else:
        hidden = hidden + w["squeeze/bias"]
    gate = np.maximum(hidden, 0) @ w["excite/kernel"] + w["excite/bias"]
    np.testing.assert_allclose(numpy(layer(x)), x * sigmoid(gate), atol=1e-5)


def test_a_gate_of_zero_weights_halves():
    layer = ContextGating(use_batch_norm=False)
    x = random(3, 6)
    layer(x)
    layer.kernel.assign(np.zeros((6, 6)))
    np.testing.assert_allclose(numpy(layer(x)), x / 2, rtol=1e-6)


def test_fewer_columns_are_those_of_the_whole_gate():
    whole, some = ContextGating(), ContextGating(columns=[5, 1])
    x = random(3, 6)
    whole(x), some(x)
    randomize(whole)
    some.set_weights([value[..., [5, 1]] for value in whole.get_weights()])
    np.testing.assert_allclose(
        numpy(some(x)), numpy(whole(x))[:, [5, 1]], rtol=1e-5
    )


LAYERS = [
    (ContextGating, {}),
    (ContextGating, {"use_batch_norm": False, "columns": [1, 0]}),
    (SqueezeExcitationGating, {"reduction": 3, "momentum": 0.5}),
    (SqueezeExcitationGating, {"reduction": 2, "use_batch_norm": False}),
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
