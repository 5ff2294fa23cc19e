import math

import keras
import numpy as np
import pytest

from kit.layers import TransformerEncoder, TransformerLayer
from tests.layers import contract
from tests.layers.contract import numpy, random, softmax
from tests.refusals import refused

SIZES = {"num_heads": 2, "feed_forward_dim": 12}
MASK = contract.masks(5, 3, 1, num_frames=5)
X = random(3, 5, 8)


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
    w = contract.randomize(layer, X)
    actual = numpy(layer(X, mask=MASK))
    for output, row, real in zip(actual, X, MASK, strict=True):
        expected = by_row(row[real].astype("float64"), w)
        np.testing.assert_allclose(output[real], expected, atol=1e-5, rtol=1e-5)


def test_the_encoder_is_its_layers_in_turn_each_with_scores_of_equation_2():
    encoder, x = TransformerEncoder(2, **SIZES), X
    contract.randomize(encoder, X)
    actual = numpy(encoder.attention_scores(X, MASK))
    assert actual.shape == (3, 2, 2, 5, 5)
    for index, layer in enumerate(encoder.layers):
        w = contract.values(layer)
        w = {name.split("/", 1)[1]: value for name, value in w.items()}
        rows = zip(actual[:, index], numpy(x), MASK, strict=True)
        for scores, row, real in rows:
            assert not scores[..., ~real].any()
            _, expected = attention(row[real].astype("float64"), w)
            seen = scores[:, real][..., real]
            np.testing.assert_allclose(seen, expected, atol=1e-4)
        x = layer(x, mask=MASK)
    expected = numpy(encoder(X, mask=MASK))
    np.testing.assert_allclose(numpy(x), expected, atol=1e-6)


def test_frames_are_a_set():
    encoder, order = TransformerEncoder(1, **SIZES), [3, 1, 4, 0, 2]
    change = numpy(encoder(X[:, order])) - numpy(encoder(X))[:, order]
    assert abs(change).max() < 1e-5


def test_a_row_with_no_real_frame_is_finite():
    mask = contract.masks(5, 0, 0, num_frames=5)
    for rate in (0.0, 0.1):
        layer = TransformerEncoder(2, **SIZES, dropout_rate=rate)
        for training in (True, False):
            actual = numpy(layer(X, mask=mask, training=training))
            assert np.isfinite(actual).all()


def test_dropout_is_on_in_training_alone():
    layer = TransformerLayer(**SIZES, dropout_rate=0.5)
    contract.randomize(layer, X)
    np.testing.assert_array_equal(numpy(layer(X)), numpy(layer(X)))
    change = numpy(layer(X, training=True)) - numpy(layer(X))
    assert abs(change).max() > 0.1


def test_weights_do_not_start_alike():
    layer = TransformerLayer(**SIZES)
    layer.build((None, None, 8))
    query, key = layer.attention.query_dense, layer.attention.key_dense
    assert not np.allclose(numpy(query.kernel), numpy(key.kernel))
    assert np.std(numpy(layer.feed_forward.kernel)) < 0.03


@pytest.mark.parametrize("dropout_rate", [0.0, 0.1])
def test_contract(dropout_rate):
    options = SIZES | {"dropout_rate": dropout_rate}

    def make(**kwargs):
        return TransformerEncoder(2, **options, **kwargs)

    contract.check_layer(make, X, mask=MASK, atol=0.03)
    contract.check_dynamic_shape(make(), X)
    contract.check_config(TransformerLayer(**options), X, mask=MASK)


def test_a_mask_passes_on():
    x = keras.layers.Masking()(X * MASK[..., None])
    y = TransformerEncoder(1, **SIZES)(x)
    np.testing.assert_array_equal(numpy(y._keras_mask), MASK)


def test_sizes_that_do_not_fit_are_refused():
    refused("num_heads=3, width=8", TransformerLayer(3, 12), X)
    for sizes in ((0, 2, 12), (1, 0, 12), (1, 2, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            TransformerEncoder(*sizes)(X)
