import keras
import numpy as np
import pytest

from kit.layers import ClassProbabilities
from tests.layers.contract import check_config, numpy, random, sigmoid

IDS = [3, 1831, 7]


def test_probabilities_pass_unchanged():
    x = sigmoid(random(2, 3))
    np.testing.assert_array_equal(numpy(ClassProbabilities(IDS)(x)), x)


def test_logits_become_probabilities():
    x = random(2, 3)
    actual = numpy(ClassProbabilities(IDS, from_logits=True)(x))
    np.testing.assert_allclose(actual, sigmoid(x), rtol=1e-5)


def test_small_scores_survive_mixed_precision():
    x = np.array([[1e-9, 2e-9, 3e-9]], "float32")  # zero in float16
    layer = ClassProbabilities(IDS, dtype="mixed_float16")
    np.testing.assert_array_equal(numpy(layer(x)), x)
    x = np.array([[-20.0, -16.0, 0.0]], "float16")
    layer = ClassProbabilities(IDS, from_logits=True, dtype="mixed_float16")
    actual = numpy(layer(x))
    assert actual.dtype == "float32" and (actual > 0).all()


def test_contract():
    check_config(ClassProbabilities(np.array(IDS)), random(2, 3))
    assert ClassProbabilities(np.array(IDS)).get_config()["class_ids"] == IDS
    assert ClassProbabilities(IDS)(keras.Input((3,))).shape == (None, 3)


def test_as_many_ids_as_columns():
    with pytest.raises(ValueError, match="3 class_ids, 4 columns"):
        ClassProbabilities(IDS)(random(2, 4))


@pytest.mark.parametrize("ids", [[3.0, 7.0], ["3", "7"], [3, None]])
def test_ids_that_are_no_whole_numbers_are_refused(ids):
    with pytest.raises(ValueError, match=r"whole numbers.*astype\(int\)"):
        ClassProbabilities(ids)


@pytest.mark.parametrize("ids", [[], [1, 2, 1]])
def test_each_class_once(ids):
    with pytest.raises(ValueError, match="each once"):
        ClassProbabilities(ids)
