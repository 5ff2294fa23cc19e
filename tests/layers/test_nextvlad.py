import keras
import numpy as np
import pytest

from kit.layers import NeXtVLAD
from tests.layers import contract
from tests.layers.contract import batch_norm, numpy, random, sigmoid, softmax
from tests.refusals import refused

MASK = contract.masks(6, 2, 1, num_frames=6)
X = random(3, 6, 8)


def make(**kwargs):
    return NeXtVLAD(3, 2, **kwargs)


def by_loops(x, mask, w, num_groups):
    """Equations 11 to 14 as they stand: a frame, a group, a cluster a time."""
    rows = []
    for row, real in zip(x.astype("float64"), mask, strict=True):
        clusters = np.zeros_like(w["centers"])
        for frame in row[real]:
            groups, weights = groups_of(frame, w, num_groups)
            for g, group in enumerate(groups):
                for k, weight in enumerate(weights[g]):
                    clusters[k] += weight * (group - w["centers"][k])
        lengths = np.linalg.norm(clusters, axis=1, keepdims=True)
        rows.append((clusters / lengths).ravel())
    return batch_norm(np.array(rows), w, "output_norm")


def groups_of(frame, w, num_groups):
    """The groups of a frame, and what each cluster takes of each: eq. 11-13."""
    wide = frame @ w["expand/kernel"] + w["expand/bias"]
    attention = wide @ w["attention/kernel"] + w["attention/bias"]
    logits = batch_norm(wide @ w["assignment/kernel"], w, "assignment_norm")
    shares = softmax(logits.reshape(num_groups, -1))
    return wide.reshape(num_groups, -1), sigmoid(attention)[:, None] * shares


@pytest.mark.parametrize("expansion", [2, 0.5])
def test_agrees_with_the_equations(expansion):
    layer = make(expansion=expansion)
    # Small enough that no cluster is empty but for rounding.
    w = contract.randomize(layer, X, scale=0.3)
    expected = by_loops(X, MASK, w, 2)
    np.testing.assert_allclose(numpy(layer(X, mask=MASK)), expected, 1e-5, 1e-5)
    # `assign` is equations 12 and 13.
    actual = numpy(layer.assign(X, MASK))
    assert actual.shape == (3, 6, 2, 3)
    for row, frame in np.ndindex(3, 6):
        _, expected = groups_of(X[row, frame].astype("float64"), w, 2)
        expected = expected * MASK[row, frame]
        np.testing.assert_allclose(actual[row, frame], expected, atol=1e-5)


def test_one_group_of_one_width_is_netvlad_with_attention():
    layer = NeXtVLAD(2, num_groups=1, expansion=1)
    layer.build((None, None, 2))
    layer.expand.kernel.assign(np.eye(2))
    layer.attention.kernel.assign(np.zeros((2, 1)))  # attention is one half
    layer.assignment.kernel.assign(np.zeros((2, 2)))  # shares are one half
    layer.centers.assign([[0.0, 0.0], [1.0, 1.0]])
    layer.output_norm.moving_variance.assign(np.full(4, 1 - 1e-3))  # epsilon
    x = np.array([[[3.0, 0.0], [3.0, 8.0]]], "float32")
    expected = [[0.6, 0.8, 2 / 13**0.5, 3 / 13**0.5]]
    np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-5)


def test_batch_moments_are_those_of_the_real_frames():
    layer, x = make(momentum=0.0), np.where(MASK[..., None], X, 1e3)
    layer(x, mask=MASK, training=True)
    logits = numpy(layer.assignment(layer.expand(x)))[MASK]
    contract.check_moments(layer.assignment_norm, logits)


def test_contract():
    contract.check_layer(make, X, MASK)
    contract.check_config(make(expansion=0.5, momentum=0.9), X, MASK)
    contract.check_frames(make, X, MASK, atol=1e-4)


def largest_intermediate(layer, x):
    """Elements of the largest tensor that a call of the layer makes."""
    if keras.backend.backend() == "jax":
        import jax

        jaxpr = jax.make_jaxpr(lambda x: layer(x))(x).jaxpr
        return max(_sizes(jaxpr))
    import tensorflow as tf

    graph = tf.function(layer).get_concrete_function(x).graph
    tensors = [t for op in graph.get_operations() for t in op.outputs]
    return max(t.shape.num_elements() or 0 for t in tensors)


def _sizes(jaxpr):
    for equation in jaxpr.eqns:
        yield from (variable.aval.size for variable in equation.outvars)
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", None)
            if inner is not None:
                yield from _sizes(inner)


def test_residuals_are_never_formed():
    batch_size, num_frames, dim, groups, clusters = 4, 10, 16, 8, 32
    layer = NeXtVLAD(clusters, groups)
    x = random(batch_size, num_frames, dim)
    layer(x)
    terms = batch_size * num_frames * groups
    residuals = terms * clusters * (2 * dim // groups)
    assert largest_intermediate(layer, x) <= residuals // 4


def test_sizes_that_do_not_fit_are_refused():
    refused("num_groups=3.*width=8", NeXtVLAD(3, num_groups=3), X)
    refused("expansion=0.3", make(expansion=0.3), X)
    for sizes in ((0,), (3, 0), (3, 8, 0)):
        refused("at least 1", NeXtVLAD, *sizes)
