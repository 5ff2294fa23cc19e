import keras
import numpy as np
import pytest

from kit.layers import MixtureOfModels
from tests.layers.contract import check_layer, numpy, random, randomize, softmax

X = random(4, 5)
LOGITS = [random(4, 3, seed=seed) for seed in (1, 2, 3)]


def test_agrees_with_equations_15_and_16():
    layer = MixtureOfModels()
    w = randomize(layer, X, LOGITS)
    shares = softmax(X @ w["weigh/kernel"] + w["weigh/bias"])
    expected = sum(shares[:, m, None] * z for m, z in enumerate(LOGITS))
    mixture, each = numpy(layer(X, LOGITS))
    np.testing.assert_allclose(mixture, expected, atol=1e-5)
    np.testing.assert_array_equal(each[:, 0], mixture)
    np.testing.assert_array_equal(each[:, 1:], np.stack(LOGITS, axis=1))


def test_branches_that_agree_are_the_mixture():
    mixture, _ = numpy(MixtureOfModels()(X, [LOGITS[0]] * 3))
    np.testing.assert_allclose(mixture, LOGITS[0], atol=1e-6)


def test_contract():
    check_layer(MixtureOfModels, X, LOGITS, dtype="float32")
    branches = [keras.Input((3,)), keras.Input((3,))]
    mixture, each = MixtureOfModels()(keras.Input((5,)), branches)
    assert mixture.shape == (None, 3) and each.shape == (None, 3, 3)


def test_one_branch_is_no_mixture():
    with pytest.raises(ValueError, match=r"two branches.*len\(logits\)=1"):
        MixtureOfModels()(X, LOGITS[:1])
