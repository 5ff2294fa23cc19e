import numpy as np
import pytest
from keras import ops

from kit import explain, models, presets
from kit.spec import FrameSpec
from tests.refusals import refused

SPEC = FrameSpec(rgb=16, audio=8)
CLASS_IDS = [2, 5, 11]
RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (2, 17, SPEC.dim), dtype=np.uint8)
VIDEOS = {"frames": FRAMES, "mask": np.arange(17) < np.array([[17], [9]])}
SEGMENTS = {"frames": FRAMES[0, :15].reshape(3, 5, -1)}
SEGMENTS["mask"] = np.arange(5) < np.array([[5], [3], [1]])
VLADS = ["GatedNetVLAD", "ContextGatedNetVLAD", "MixNeXtVLAD-60"]
BERTS = ["BERTMean", "BERTCrossAttn"]


def trained(name):
    """A member whose every weight has moved, as after training."""
    model = presets.build(name, class_ids=CLASS_IDS, spec=SPEC, scale="tiny")
    rng = np.random.default_rng(1)
    for weight in model.weights:
        value = np.asarray(weight)
        if value.dtype == np.float32:
            moved = value + 0.3 * rng.normal(size=value.shape)
            # A variance stays positive.
            weight.assign(np.abs(moved) if "variance" in weight.path else moved)
    return model


@pytest.fixture(scope="module")
def member():
    members = {}
    return lambda name: members.setdefault(name, trained(name))


@pytest.mark.parametrize("name", VLADS)
def test_the_shares_of_a_frame_sum_to_1(name, member):
    shares = explain.assignments(member(name), VIDEOS)
    assert list(shares) == ["visual", "audio"]
    assert shares["visual"].shape == (2, 17, 8)
    assert shares["audio"].shape == (2, 17, 4)
    for share in shares.values():
        assert share.min() >= 0 and share.std() > 0.01
        sums = share.sum(axis=-1)
        np.testing.assert_allclose(sums, VIDEOS["mask"], atol=1e-5)


def test_the_shares_of_nextvlad_are_the_mean_over_its_groups(member):
    model = member("MixNeXtVLAD-60")
    layer = model.get_layer("visual_nextvlad_0")
    frames = model.get_layer("frame_features")(FRAMES)[0]
    actual = explain.assignments(model, VIDEOS)["visual"][0]
    weights = np.float64(layer.assign(frames, VIDEOS["mask"]))  # (B, T, G, K)
    for frame, of_groups in enumerate(weights[0]):
        attention = of_groups.sum(axis=1)
        shares = of_groups / attention[:, None]
        expected = np.average(shares, axis=0, weights=attention)
        np.testing.assert_allclose(actual[frame], expected, atol=1e-5)


@pytest.mark.parametrize("name", BERTS)
def test_a_frame_attends_to_real_frames_alone(name, member):
    weights = explain.attention(member(name), SEGMENTS)
    layers = 2 if name == "BERTMean" else 1
    assert weights.shape == (3, layers, 4, 5, 5)
    for segment, mask in zip(weights, SEGMENTS["mask"], strict=True):
        np.testing.assert_array_equal(segment[..., ~mask], 0)
        real = segment[..., mask, :]
        np.testing.assert_allclose(real.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", [*BERTS, "GatedNetVLAD"])
def test_the_experts_make_the_probability_of_their_class(name, member):
    model = member(name)
    predicted = ops.convert_to_numpy(model(SEGMENTS))
    for column, class_id in enumerate(CLASS_IDS):
        gates, answers, probability = explain.experts(model, SEGMENTS, class_id)
        np.testing.assert_allclose(gates.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(probability, predicted[:, column], atol=1e-5)
        area = (gates[:, :-1] * answers).sum(axis=1)
        if name == "GatedNetVLAD":  # its output gate takes some away
            assert (probability < area).all()
        else:
            np.testing.assert_allclose(area, probability, atol=1e-5)


def test_a_class_keeps_its_experts_where_a_gated_head_is_cut_down(member):
    model = member("GatedNetVLAD")
    few = models.restrict_classes(model, [11, 2])
    both = (explain.experts(each, SEGMENTS, 11) for each in (model, few))
    for whole, cut in zip(*both, strict=True):
        np.testing.assert_allclose(whole, cut, atol=1e-6)


def test_a_member_without_the_layer_is_refused(member):
    for function, name in (
        (explain.assignments, "BERTMean"),
        (explain.attention, "GatedNetVLAD"),
        (lambda *given: explain.experts(*given, 5), "MixNeXtVLAD-60"),
    ):
        refused("choose one that has it", function, member(name), SEGMENTS)
    refused("class_id=7", explain.experts, member("BERTMean"), SEGMENTS, 7)
