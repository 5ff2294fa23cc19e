"""What only a GPU can show: `pytest tests/gpu_members.py -m gpu`.

The name keeps it out of the normal run, which has no GPU and skips nothing.
"""

import keras
import numpy as np
import pytest

from kit import losses, models, presets
from kit.spec import YOUTUBE_8M
from tests.layers.contract import numpy

pytestmark = pytest.mark.gpu


def batch(name, batch_size, num_classes):
    rng = np.random.default_rng(0)
    num_frames = presets.MEMBERS[name].num_frames
    lengths = rng.integers(num_frames // 2, num_frames + 1, batch_size)
    shape = (batch_size, num_frames, YOUTUBE_8M.dim)
    inputs = {
        "frames": rng.integers(0, 256, shape, "uint8"),
        "mask": np.arange(num_frames) < lengths[:, None],
    }
    targets = rng.random((batch_size, num_classes)) < 3 / num_classes
    return inputs, targets.astype("int8")


@pytest.mark.parametrize("name", presets.MEMBERS)
def test_the_papers_batch_trains_in_float16_under_xla(name):
    model = models.with_dtype(presets.build(name), "mixed_float16")
    inputs, targets = batch(name, 128, 3862)
    trainee = models.training_model(model)
    trainee.compile(
        keras.optimizers.Adam(1e-4, clipnorm=1.0),
        losses.loss_for(model),
        jit_compile=True,
    )
    history = [trainee.train_on_batch(inputs, targets) for _ in range(8)]
    assert np.isfinite(history).all() and history[-1] < history[0]
    assert np.isfinite(model.predict_on_batch(inputs)).all()


@pytest.mark.parametrize("name", presets.MEMBERS)
def test_the_gpu_predicts_what_the_cpu_does(name):
    inputs, _ = batch(name, 16, 60)
    on_gpu = presets.build(name, 60, scale="tiny")
    with keras.device("cpu:0"):
        on_cpu = presets.build(name, 60, scale="tiny")
        expected = numpy(on_cpu(inputs))
    np.testing.assert_allclose(numpy(on_gpu(inputs)), expected, atol=1e-3)
