import numpy as np

from kit.layers import ClassLogits
from tests.layers.contract import check_layer, numpy, random, randomize


def test_a_class_is_a_linear_function():
    layer, x = ClassLogits(3), random(4, 5)
    w = randomize(layer, x)
    expected = x @ w["kernel"] + w["bias"]
    np.testing.assert_allclose(numpy(layer(x)), expected, atol=1e-5)


def test_contract():
    check_layer(lambda **kwargs: ClassLogits(3, **kwargs), random(4, 5))
