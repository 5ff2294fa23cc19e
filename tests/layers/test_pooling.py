from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.layers import FramePooling
from kit.layers.pooling import MODES
from tests.layers import contract
from tests.layers.contract import numpy, random, softmax


def layer_of(mode, **kwargs):
    layer = FramePooling(mode, **kwargs)
    layer.build((None, 5, 3))
    if mode == "attention":
        layer.kernel.assign(random(3, seed=1))
    return layer


def by_row(mode, x, mask, kernel):
    """The pooling of each row, written down for one row at a time."""
    rows = []
    for row, real in zip(x.astype("float64"), mask, strict=True):
        kept = row[real]
        if mode == "concat":
            rows.append((row * real[:, None]).ravel())
        elif len(kept) == 0:
            rows.append(np.zeros(x.shape[-1]))
        elif mode == "attention":
            rows.append(softmax(kept @ kernel) @ kept)
        elif mode == "first":
            rows.append(kept[0])
        else:
            pool = {"mean": np.mean, "max": np.max}[mode]
            rows.append(pool(kept, axis=0))
    return np.array(rows)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=15, deadline=None)
@given(mask=st.lists(st.booleans(), min_size=20, max_size=20))
def test_agrees_with_the_definition_under_any_mask(mode, mask):
    mask = np.array(mask).reshape(4, 5)
    x = random(4, 5, 3)
    layer = layer_of(mode)
    kernel = numpy(layer.kernel) if mode == "attention" else None
    expected = by_row(mode, x, mask, kernel)
    np.testing.assert_allclose(numpy(layer(x, mask=mask)), expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["mean", "max", "attention"])
def test_the_order_of_frames_does_not_matter(mode):
    x, order = random(2, 5, 3), [3, 1, 4, 0, 2]
    layer = layer_of(mode)
    turned = numpy(layer(x[:, order]))
    np.testing.assert_allclose(turned, numpy(layer(x)), atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_contract(mode):
    x, mask = random(3, 5, 3), contract.masks(5, 2, 1, num_frames=5)
    contract.check_layer(partial(layer_of, mode), x, mask=mask)
    if mode != "concat":
        contract.check_dynamic_shape(FramePooling(mode), x)


def test_sums_over_frames_are_taken_in_float32():
    x = np.full((1, 300, 1), 300.0, "float16")
    layer = FramePooling("mean", dtype="mixed_float16")
    assert float(numpy(layer(x))[0, 0]) == 300.0  # the sum is past float16


def test_attention_of_scores_past_float16_is_finite():
    layer = layer_of("attention", dtype="mixed_float16")
    layer.kernel.assign(np.array([3e4, -3e4, 1e4]))
    actual = numpy(layer(100 * random(20, 5, 3)))
    assert np.isfinite(actual).all()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="mode.*'last'"):
        FramePooling("last")
    with pytest.raises(ValueError, match="fixed number of frames.*None"):
        FramePooling("concat")(keras.Input((None, 3)))
