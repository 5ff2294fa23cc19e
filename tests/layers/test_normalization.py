import keras
import numpy as np
import pytest

from kit.layers.normalization import l2_normalize
from tests.layers.contract import gradients, numpy, random


@pytest.mark.parametrize("options", [{}, {"axis": 0}])
def test_vectors_get_unit_length(options):
    actual = numpy(l2_normalize(random(4, 3), **options))
    lengths = np.linalg.norm(actual, **{"axis": -1} | options)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)


class Scaled(keras.layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight(shape=input_shape[1:], name="scale")

    def call(self, inputs):
        return l2_normalize(self.scale * inputs)


def test_a_zero_vector_stays_zero_with_a_finite_gradient():
    model = keras.Sequential([Scaled()])
    inputs = np.zeros((2, 3), "float32")
    assert not numpy(model(inputs)).any()
    (gradient,) = gradients(model, inputs, inputs + 1, "mse").values()
    assert np.isfinite(gradient).all()
