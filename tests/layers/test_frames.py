import keras
import numpy as np
import pytest

from kit.layers import FrameFeatures
from kit.spec import FrameSpec
from tests.layers.contract import check_config, masks, numpy

SPEC = FrameSpec(rgb=6, audio=2)


def frames(batch_size=3, num_frames=4, dim=8):
    rng = np.random.default_rng(0)
    shape = (batch_size, num_frames, dim)
    return rng.integers(0, 256, shape).astype("uint8")


def test_bytes_become_the_published_floats():
    x = np.array([[[0, 255], [128, 1]]], dtype="uint8")
    layer = FrameFeatures(FrameSpec(rgb=1, audio=1), normalize=False)
    expected = [[[-1.9921875, 2.0078125], [0.015655637, -1.976501225]]]
    np.testing.assert_allclose(numpy(layer(x)), expected, atol=1e-6)


def test_agrees_with_the_formula():
    x, mask = frames(), masks(4, 2, 0, num_frames=4)
    expected = (x.astype("float64") * 4 / 255 - 1.9921875) * mask[..., None]
    expected /= np.maximum(np.linalg.norm(expected, axis=-1), 1e-6)[..., None]
    actual = numpy(FrameFeatures(SPEC)(x, mask=mask))
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert not actual[~mask].any()  # exactly, whatever the bytes


def test_splits_into_visual_and_audio():
    joint = numpy(FrameFeatures(SPEC)(frames()))
    visual, audio = numpy(FrameFeatures(SPEC, split=True)(frames()))
    np.testing.assert_array_equal(np.concatenate([visual, audio], -1), joint)
    assert audio.shape[-1] == 2


@pytest.mark.parametrize("sizes", [(8, 0), (0, 8)])
def test_a_modality_that_is_not_there_is_left_out(sizes):
    layer = FrameFeatures(FrameSpec(*sizes), split=True)
    assert [part.shape for part in layer(frames())] == [(3, 4, 8)]
    symbolic = layer(keras.Input((None, 8), dtype="uint8"))
    assert [part.shape for part in symbolic] == [(None, None, 8)]


@pytest.mark.parametrize("split", [False, True])
def test_config_holds_the_whole_spec(split):
    spec = FrameSpec(rgb=6, audio=2, max_frames=9, segment_frames=3)
    layer = FrameFeatures(spec, split=split)
    check_config(layer, frames())
    assert FrameFeatures.from_config(layer.get_config()).spec == spec


def test_computes_in_float32_and_returns_the_compute_dtype():
    layer = FrameFeatures(SPEC, dtype="mixed_float16")
    actual = layer(frames())
    assert keras.backend.standardize_dtype(actual.dtype) == "float16"
    expected = numpy(FrameFeatures(SPEC)(frames())).astype("float16")
    np.testing.assert_array_equal(numpy(actual), expected)


def test_what_does_not_fit_the_spec_is_refused():
    with pytest.raises(ValueError, match="uint8.*Received: .*float32"):
        FrameFeatures(SPEC)(frames().astype("float32"))
    with pytest.raises(ValueError, match="FrameSpec.*features=9"):
        FrameFeatures(SPEC)(frames(dim=9))
    for shape in ((3,), (3, 5), (2, 4), (3, 4, 1)):
        with pytest.raises(ValueError, match=r"`mask`.*Received: mask.shape"):
            FrameFeatures(SPEC)(frames(), mask=np.ones(shape, bool))
