"""What every layer of the kit must satisfy, on whichever backend runs."""

import keras
import numpy as np


def numpy(x):
    """NumPy arrays of tensors, or of a variable."""
    return keras.tree.map_structure(np.asarray, x)


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def masks(*lengths, num_frames):
    """A mask whose rows have these many real frames, at the front."""
    return np.arange(num_frames) < np.array(lengths)[:, None]


def randomize(layer, *inputs, scale=1.0):
    """Builds a layer on inputs, and gives every weight a random value.

    Positive for a variance.  Returns the weights as `values` does.
    """
    layer(*inputs)
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        if "seed" in weight.path:
            continue
        value = scale * rng.normal(size=weight.shape)
        if "variance" in weight.path:
            value = np.exp(value)
        weight.assign(value.astype("float32"))
    return values(layer)


def values(layer):
    """Weights by the last part of their name, in float64."""
    return {
        "/".join(weight.path.split("/")[1:]): numpy(weight).astype("float64")
        for weight in layer.weights
    }


def check_layer(make, *inputs, atol=0.02, dtype=None, **kwargs):
    """Of what `make(dtype=...)` makes: its config and mixed precision."""
    check_config(make(), *inputs, **kwargs)
    check_mixed_precision(make, *inputs, atol=atol, dtype=dtype, **kwargs)


def check_config(layer, *inputs, **kwargs):
    """The config survives a build, and makes a layer that does the same."""
    before = layer.get_config()
    expected = numpy(layer(*inputs, **kwargs))
    assert layer.get_config() == before
    saved = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(saved)
    assert again.get_config() == before
    again(*inputs, **kwargs)
    again.set_weights(numpy(layer.weights))
    actual = numpy(again(*inputs, **kwargs))
    keras.tree.map_structure(np.testing.assert_array_equal, actual, expected)


def check_mixed_precision(make, *inputs, atol=0.02, dtype=None, **kwargs):
    """Under mixed precision a layer gives nearly what it does in float32."""
    reference = make()
    expected = numpy(reference(*inputs, **kwargs))
    for policy in ("mixed_float16", "mixed_bfloat16"):
        layer = make(dtype=policy)
        layer(*inputs, **kwargs)
        layer.set_weights(numpy(reference.weights))
        actual = layer(*inputs, **kwargs)
        for output in keras.tree.flatten(actual):
            output_dtype = keras.backend.standardize_dtype(output.dtype)
            assert output_dtype == (dtype or layer.compute_dtype)
        bound = atol * (1 if policy == "mixed_float16" else 8)
        keras.tree.map_structure(
            lambda a, b, bound=bound: np.testing.assert_allclose(
                numpy(a).astype("float32"), b, atol=bound
            ),
            actual,
            expected,
        )


def check_dynamic_shape(layer, inputs, mask=None):
    """Symbolic shapes agree with real ones, with any number of frames."""
    symbolic = keras.Input((None, *inputs.shape[2:]))
    expected = layer(symbolic).shape
    for num_frames in (2, inputs.shape[1]):
        actual = layer(inputs[:, :num_frames]).shape
        for one, other in zip(expected, actual, strict=True):
            assert one is None or one == other


def check_frames(make, x, mask, atol=1e-5):
    """Neither padding nor the order of frames matters; no row may be NaN."""
    padded = np.concatenate([x, random(len(x), 2, x.shape[-1], seed=9)], axis=1)
    for training in (True, False):
        layer = make()
        expected = numpy(layer(x, mask=mask, training=training))
        longer = np.pad(mask, ((0, 0), (0, 2)))
        actual = numpy(layer(padded, mask=longer, training=training))
        np.testing.assert_allclose(actual, expected, atol=atol)
        empty = mask * (np.arange(len(x)) == 0)[:, None]
        actual = numpy(layer(x, mask=empty, training=training))
        assert np.isfinite(actual).all()
    layer = make()
    turned = numpy(layer(x[:, ::-1].copy()))
    np.testing.assert_allclose(turned, numpy(layer(x)), atol=1e-5)
    check_dynamic_shape(layer, x)


def check_moments(norm, inputs):
    """A batch normalisation of momentum 0 was last given these inputs."""
    mean, variance = numpy([norm.moving_mean, norm.moving_variance])
    np.testing.assert_allclose(mean, inputs.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(variance, inputs.var(axis=0), rtol=1e-4)


def gradients(model, inputs, targets, loss):
    """The gradient of every trainable weight, by one step of plain descent."""
    before = [numpy(w).copy() for w in model.trainable_weights]
    model.compile(keras.optimizers.SGD(1.0), loss)
    model.train_on_batch(inputs, targets)
    pairs = zip(model.trainable_weights, before, strict=True)
    return {weight.path: old - numpy(weight) for weight, old in pairs}


def batch_norm(x, weights, name, epsilon=1e-3):
    """Batch normalisation as at inference, from a layer's `values`."""
    variance = weights[f"{name}/moving_variance"] + epsilon
    scale = weights[f"{name}/gamma"] / np.sqrt(variance)
    centered = x - weights[f"{name}/moving_mean"]
    return centered * scale + weights[f"{name}/beta"]


def softmax(x, axis=-1):
    x = np.exp(x - x.max(axis=axis, keepdims=True))
    return x / x.sum(axis=axis, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))
