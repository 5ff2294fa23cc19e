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


def by_loops(x, mask, w, use_batch_norm, normalize_output=False):
    """Equations 7 to 9 as they stand, one frame and one cluster at a time."""
    rows = []
    for row, real in zip(x.astype("float64"), mask, strict=True):
        clusters = np.zeros_like(w["centers"])
        for frame in row[real]:
            logits = frame @ w["kernel"]
            if use_batch_norm:
                logits = batch_norm(logits, w, "batch_norm")
            else:
                logits = logits + w["bias"]
            for k, share in enumerate(softmax(logits)):
                clusters[k] += share * (frame - w["centers"][k])
        descriptor = np.concatenate([unit(cluster) for cluster in clusters])
        rows.append(unit(descriptor) if normalize_output else descriptor)
    return np.array(rows)


@pytest.mark.parametrize("num_clusters", [1, 4])
@pytest.mark.parametrize("normalize_output", [True, False])
@pytest.mark.parametrize("use_batch_norm", [True, False])
def test_agrees_with_the_equations(
    use_batch_norm, normalize_output, num_clusters
):
    layer = NetVLAD(num_clusters, use_batch_norm, normalize_output)
    x = random(3, 6, 5)
    layer(x)
    randomize(layer)
    expected = by_loops(
        x, MASK, values(layer), use_batch_norm, normalize_output
    )
    actual = numpy(layer(x, mask=MASK))
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_a_case_worked_by_hand():
    layer = NetVLAD(2, use_batch_norm=False)
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
    check_config(NetVLAD(4, momentum=0.9, normalize_output=True), x, MASK)
    check_config(NetVLAD(4, use_batch_norm=False), x)
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


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="`mask`"):
        NetVLAD(2)(random(3, 6, 5), mask=np.ones((3, 5), bool))
