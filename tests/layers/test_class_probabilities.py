import keras
import numpy as np

from kit.layers import ClassProbabilities
from tests.layers.contract import check_config, numpy, random, sigmoid
from tests.refusals import refused

IDS = [3, 1831, 7]


def test_logits_become_probabilities_and_those_pass_unchanged():
    x = random(2, 3)
    actual = numpy(ClassProbabilities(IDS, from_logits=True)(x))
    np.testing.assert_allclose(actual, sigmoid(x), rtol=1e-5)
    again = numpy(ClassProbabilities(IDS)(actual))
    np.testing.assert_array_equal(again, actual)


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


def test_ids_that_name_no_columns_are_refused():
    refused("3 class_ids, 4 columns", ClassProbabilities(IDS), random(2, 4))
    for ids in ([3.0, 7.0], ["3", "7"], [3, None]):
        refused(r"whole number.*astype\(int\)", ClassProbabilities, ids)
    for ids in ([], [1, 2, 1]):
        refused("each once", ClassProbabilities, ids)
