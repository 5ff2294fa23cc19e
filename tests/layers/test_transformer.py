import math

import keras
import numpy as np
import pytest

from kit.layers import TransformerEncoder, TransformerLayer
from tests.layers.contract import (
    check_config,
    check_dynamic_shape,
    check_mixed_precision,
    masks,
    numpy,
    random,
    randomize,
    softmax,
    values,
)

SIZES = {"num_heads": 2, "feed_forward_dim": 12}
MASK = masks(5, 3, 1, num_frames=5)


def layer_norm(x, w, name):
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + 1e-6)
    return x * w[f"{name}/gamma"] + w[f"{name}/beta"]


def attention(x, w):
    """Equations 2 and 3 for the real frames of one row, and the softmax."""
    heads, scores = [], []
    for head in range(SIZES["num_heads"]):
        query, key, value = (
            x @ w[f"attention/{part}/kernel"][:, head]
            + w[f"attention/{part}/bias"][head]
            for part in ("query", "key", "value")
        )
        scores.append(softmax(query @ key.T / np.sqrt(query.shape[-1])))
        kernel = w["attention/attention_output/kernel"][head]
        heads.append(scores[-1] @ value @ kernel)
    return sum(heads) + w["attention/attention_output/bias"], np.stack(scores)


def feed_forward(x, w):
    x = x @ w["feed_forward/kernel"] + w["feed_forward/bias"]
    x = x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return x @ w["project/kernel"] + w["project/bias"]


def by_row(x, w):
    x = layer_norm(x + attention(x, w)[0], w, "attention_norm")
    return layer_norm(x + feed_forward(x, w), w, "output_norm")


@pytest.mark.parametrize("dropout_rate", [0.0, 0.1])
def test_agrees_with_the_equations(dropout_rate):
    # Keras takes another path through attention where there is no dropout.
    layer = TransformerLayer(**SIZES, dropout_rate=dropout_rate)
    x = random(3, 5, 8)
    layer(x)
    randomize(layer)
    w = values(layer)
    for actual, row, real in zip(
        numpy(layer(x, mask=MASK)), x, MASK, strict=True
    ):
        expected = by_row(row[real].astype("float64"), w)
        np.testing.assert_allclose(actual[real], expected, atol=1e-5, rtol=1e-5)


def test_attention_scores_are_those_of_equation_2_in_each_layer():
    encoder = TransformerEncoder(2, **SIZES)
    x = random(3, 5, 8)
    encoder(x)
    randomize(encoder)
    actual = numpy(encoder.attention_scores(x, MASK))
    assert actual.shape == (3, 2, 2, 5, 5)
    for index, layer in enumerate(encoder.layers):
        w = {k.split("/", 1)[1]: value for k, value in values(layer).items()}
        for scores, row, real in zip(actual[:, index], x, MASK, strict=True):
            assert not scores[..., ~real].any()
            _, expected = attention(row[real].astype("float64"), w)
            np.testing.assert_allclose(
                scores[:, real][..., real], expected, atol=1e-4
            )
        x = numpy(layer(x, mask=MASK))


def test_the_encoder_is_its_layers_in_turn():
    encoder = TransformerEncoder(2, **SIZES)
    x = random(3, 5, 8)
    expected = encoder(x, mask=MASK)
    y = x
    for layer in encoder.layers:
        y = layer(y, mask=MASK)
    np.testing.assert_allclose(numpy(y), numpy(expected), atol=1e-6)


def test_frames_are_a_set():
    x, order = random(3, 5, 8), [3, 1, 4, 0, 2]
    encoder = TransformerEncoder(1, **SIZES)
    change = numpy(encoder(x[:, order])) - numpy(encoder(x))[:, order]
    assert abs(change).max() < 1e-5


def test_a_row_with_no_real_frame_is_finite():
    mask = masks(5, 0, 0, num_frames=5)
    for rate in (0.0, 0.1):
        layer = TransformerEncoder(2, **SIZES, dropout_rate=rate)
        for training in (True, False):
            actual = layer(random(3, 5, 8), mask=mask, training=training)
            assert np.isfinite(numpy(actual)).all()


def test_dropout_is_on_in_training_alone():
    layer, x = TransformerLayer(**SIZES, dropout_rate=0.5), random(3, 5, 8)
    layer(x)
    randomize(layer)
    np.testing.assert_array_equal(numpy(layer(x)), numpy(layer(x)))
    change = numpy(layer(x, training=True)) - numpy(layer(x))
    assert abs(change).max() > 0.1


def test_weights_do_not_start_alike():
    layer = TransformerLayer(**SIZES)
    layer.build((None, None, 8))
    query, key = layer.attention.query_dense, layer.attention.key_dense
    assert not np.allclose(numpy(query.kernel), numpy(key.kernel))
    assert np.std(numpy(layer.feed_forward.kernel)) < 0.03


@pytest.mark.parametrize("dropout_rate", [0.0, 0.1])
def test_contract(dropout_rate):
    x = random(3, 5, 8)

    def make(**kwargs):
        return TransformerEncoder(
            2, **SIZES, dropout_rate=dropout_rate, **kwargs
        )

    check_config(make(), x, mask=MASK)
    check_dynamic_shape(make(), x)
    check_mixed_precision(make, x, mask=MASK, atol=0.03)
    layer = TransformerLayer(**SIZES, dropout_rate=dropout_rate)
    check_config(layer, x, mask=MASK)


def test_a_mask_passes_on():
    x = keras.layers.Masking()(random(3, 5, 8) * MASK[..., None])
    y = TransformerEncoder(1, **SIZES)(x)
    np.testing.assert_array_equal(numpy(y._keras_mask), MASK)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="num_heads=3, width=8"):
        TransformerLayer(3, 12)(random(3, 5, 8))


@pytest.mark.parametrize("arguments", [(0, 2, 12), (1, 0, 12), (1, 2, 0)])
def test_sizes_below_one_are_refused(arguments):
    with pytest.raises(ValueError, match="at least 1"):
        TransformerEncoder(*arguments)(random(3, 5, 8))
