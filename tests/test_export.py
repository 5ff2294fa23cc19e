"""Export to a SavedModel, which the TensorFlow backend alone can do."""

import numpy as np
import pytest
import tensorflow as tf

from kit import models, presets


@pytest.mark.parametrize("name", ["BERTMean", "BERT-L2h12", "MixNeXtVLAD-60"])
def test_a_saved_model_serves_raw_bytes(name, tmp_path):
    model = presets.build(name, 3, scale="tiny")
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    rng = np.random.default_rng(0)
    dim = models.frame_spec(model).dim
    fixed = model.input["frames"].shape[1]
    for num_frames in (5,) if fixed else (5, 9):
        inputs = {
            "frames": rng.integers(0, 256, (2, num_frames, dim), "uint8"),
            "mask": np.arange(num_frames) < np.array([[num_frames], [3]]),
        }
        served_scores = served.serve(inputs)
        assert served_scores.dtype == tf.float32
        expected = model(inputs).numpy()
        np.testing.assert_allclose(served_scores.numpy(), expected, atol=1e-6)
