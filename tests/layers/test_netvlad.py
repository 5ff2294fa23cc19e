import numpy as np
import pytest

from kit.layers import NetVLAD
from tests.layers.contract import (
    batch_norm,
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

MASK = masks(6, 2, 1, num_frames=6)


def unit(x):
    return x / np.linalg.norm(x)


def by_loops(x, mask, w):
    """Equations 7 to 9 as they stand, one frame and one cluster at a time."""
    rows = []
    for row, real in zip(x.astype("float64"), mask, strict=True):
        clusters = np.zeros_like(w["centers"])
        for frame in row[real]:
            logits = batch_norm(frame @ w["kernel"], w, "batch_norm")
            for k, share in enumerate(softmax(logits)):
                clusters[k] += share * (frame - w["centers"][k])
        rows.append(np.concatenate([unit(cluster) for cluster in clusters]))
    return np.array(rows)


def test_agrees_with_the_equations():
    layer = NetVLAD(4)
    x = random(3, 6, 5)
    layer(x)
    randomize(layer)
    expected = by_loops(x, MASK, values(layer))
    actual = numpy(layer(x, mask=MASK))
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_the_assignment_is_equation_8_and_what_the_descriptor_is_made_of():
    layer = NetVLAD(4)
    x = random(3, 6, 5)
    layer(x)
    randomize(layer)
    w = values(layer)
    shares = numpy(layer.assign(x, MASK)).astype("float64")
    expected = softmax(batch_norm(x @ w["kernel"], w, "batch_norm"))
    np.testing.assert_allclose(shares, expected * MASK[..., None], atol=1e-5)
    residuals = x[:, :, None] - w["centers"]  # (B, T, K, D)
    vlad = (shares[..., None] * residuals).sum(axis=1)
    vlad /= np.linalg.norm(vlad, axis=-1, keepdims=True)
    np.testing.assert_allclose(
        numpy(layer(x, mask=MASK)), vlad.reshape(3, -1), atol=1e-5
    )


def test_a_case_worked_by_hand():
    layer = NetVLAD(2)
    layer.build((None, None, 2))
    layer.kernel.assign(np.zeros((2, 2)))  # every share is one half
    layer.centers.assign([[0.0, 0.0], [1.0, 1.0]])
    x = np.array([[[3.0, 0.0], [3.0, 8.0]]], "float32")
    # Half of (3, 0) + (3, 8) is (3, 4), of length 5; less both halves of
    # (1, 1) it is (2, 3).
    expected = [[0.6, 0.8, 2 / 13**0.5, 3 / 13**0.5]]
    np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-5)


def test_batch_moments_are_those_of_the_real_frames():
    layer = NetVLAD(4, momentum=0.0)
    x = random(3, 6, 5)
    x[~MASK] = 1e3
    layer(x, mask=MASK, training=True)
    logits = (x @ numpy(layer.kernel))[MASK]
    norm = layer.batch_norm
    np.testing.assert_allclose(
        numpy(norm.moving_mean), logits.mean(axis=0), atol=1e-5
    )
    np.testing.assert_allclose(
        numpy(norm.moving_variance), logits.var(axis=0), rtol=1e-4
    )


@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing(training):
    layer = NetVLAD(4)
    x = random(3, 6, 5)
    expected = numpy(layer(x, mask=MASK, training=training))
    padded = np.concatenate([x, random(3, 2, 5, seed=9)], axis=1)
    mask = np.pad(MASK, ((0, 0), (0, 2)))
    actual = numpy(layer(padded, mask=mask, training=training))
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_the_order_of_frames_does_not_matter():
    layer, x = NetVLAD(4), random(3, 6, 5)
    actual = numpy(layer(x[:, ::-1].copy()))
    np.testing.assert_allclose(actual, numpy(layer(x)), atol=1e-5)


def test_a_row_with_no_real_frame_is_zero():
    mask = masks(6, 0, 0, num_frames=6)
    for training in (True, False):
        actual = numpy(NetVLAD(4)(random(3, 6, 5), mask, training=training))
        assert not actual[1:].any() and np.isfinite(actual).all()


def test_centres_do_not_start_as_the_assignment_weights():
    layer = NetVLAD(4)
    layer.build((None, None, 5))
    assert not np.allclose(numpy(layer.centers), numpy(layer.kernel).T)


def test_contract():
    x = random(3, 6, 5)
    check_config(NetVLAD(4, momentum=0.9), x, MASK)
    check_dynamic_shape(NetVLAD(4), x)
    check_mixed_precision(lambda **kwargs: NetVLAD(4, **kwargs), x, MASK)


def test_sums_over_frames_are_taken_in_float32():
    x = np.full((1, 300, 4), 1e3, "float32")  # the sum is past float16
    layer = NetVLAD(2, dtype="mixed_float16")
    layer(x)
    layer.kernel.assign(np.zeros((4, 2)))
    actual = numpy(layer(x))
    np.testing.assert_allclose(actual, 0.5, atol=1e-2)


def test_no_clusters_are_refused():
    with pytest.raises(ValueError, match="num_clusters=0"):
        NetVLAD(0)
