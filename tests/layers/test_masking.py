import numpy as np

from kit.layers.masking import frame_mask, masked_softmax
from tests.layers.contract import masks, numpy, random, softmax


def test_no_mask_is_of_real_frames_and_one_of_integers_as_good():
    assert numpy(frame_mask(random(2, 3, 4), None)).all()
    mask = frame_mask(random(2, 3, 4), masks(1, 3, num_frames=3).astype(int))
    np.testing.assert_array_equal(mask, masks(1, 3, num_frames=3))


def test_softmax_runs_over_the_real_entries():
    logits, mask = random(3, 5), masks(5, 2, 0, num_frames=5)
    actual = numpy(masked_softmax(logits, mask))
    np.testing.assert_allclose(actual[0], softmax(logits[0]), rtol=1e-5)
    np.testing.assert_allclose(actual[1, :2], softmax(logits[1, :2]), rtol=1e-5)
    assert not actual[1, 2:].any() and not actual[2].any()


def test_softmax_of_scores_past_float16_is_finite():
    logits = np.array([[np.inf, np.inf, -np.inf, 0]], "float16")
    actual = numpy(masked_softmax(logits, masks(4, num_frames=4)))
    np.testing.assert_allclose(actual, [[0.5, 0.5, 0, 0]], atol=1e-6)
