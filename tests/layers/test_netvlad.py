import numpy as np
import pytest

from kit.layers import NetVLAD
from tests.layers import contract
from tests.layers.contract import batch_norm, numpy, random, softmax

MASK = contract.masks(6, 2, 1, num_frames=6)
X = random(3, 6, 5)


def make(**kwargs):
    return NetVLAD(4, **kwargs)


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
    layer = make()
    w = contract.randomize(layer, X)
    expected = by_loops(X, MASK, w)
    np.testing.assert_allclose(numpy(layer(X, mask=MASK)), expected, atol=1e-5)
    # `assign` is equation 8.
    shares = softmax(batch_norm(X @ w["kernel"], w, "batch_norm"))
    np.testing.assert_allclose(
        numpy(layer.assign(X, MASK)), shares * MASK[..., None], atol=1e-5
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
    layer, x = make(momentum=0.0), np.where(MASK[..., None], X, 1e3)
    layer(x, mask=MASK, training=True)
    logits = (x @ numpy(layer.kernel))[MASK]
    contract.check_moments(layer.batch_norm, logits)


def test_contract():
    contract.check_layer(make, X, MASK)
    contract.check_config(make(momentum=0.9), X, MASK)
    contract.check_frames(make, X, MASK)


def test_a_row_with_no_real_frame_is_zero():
    mask = contract.masks(6, 0, 0, num_frames=6)
    for training in (True, False):
        assert not numpy(make()(X, mask, training=training))[1:].any()


def test_centres_do_not_start_as_the_assignment_weights():
    layer = make()
    layer.build((None, None, 5))
    assert not np.allclose(numpy(layer.centers), numpy(layer.kernel).T)


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
