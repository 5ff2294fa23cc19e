import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.layers import BagPooling
from kit.layers.bag_pooling import MODES
from tests.layers import contract
from tests.layers.contract import numpy

ORACLES = {
    "linear_softmax": lambda p: (p * p).sum(axis=0) / p.sum(axis=0),
    "top": lambda p: np.sort(p, axis=0)[-2:].mean(axis=0),
    "max": lambda p: p.max(axis=0),
    "noisy_or": lambda p: 1 - (1 - p).prod(axis=0),
    "mean": lambda p: p.mean(axis=0),
}


def probabilities(*shape):
    return np.random.default_rng(0).random(shape).astype("float32")


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=10, deadline=None)
@given(mask=st.lists(st.booleans(), min_size=12, max_size=12))
def test_agrees_with_the_definition_under_any_mask(mode, mask):
    p, mask = probabilities(3, 4, 2, 5), np.array(mask).reshape(3, 4)
    pooled = numpy(BagPooling(mode)(p, mask=mask))
    rows = zip(pooled, p.astype("float64"), mask, strict=True)
    for row, windows, real in rows:
        expected = ORACLES[mode](windows[real]) if real.any() else 0 * row
        np.testing.assert_allclose(row, expected, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_contract(mode):
    p, mask = probabilities(3, 4, 5), contract.masks(4, 2, 1, num_frames=4)
    make = lambda **kwargs: BagPooling(mode, **kwargs)  # noqa: E731
    contract.check_layer(make, p, mask=mask, dtype="float32")
    one = numpy(BagPooling(mode)(p[:, :1]))  # of one window: itself
    np.testing.assert_allclose(one, p[:, 0], rtol=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match="mode='median'"):
        BagPooling("median")
    with pytest.raises(ValueError, match="mask.shape=.*4, 5"):
        BagPooling()(keras.ops.ones((3, 4, 5)), mask=np.ones((4, 5), bool))
