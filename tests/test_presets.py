import keras
import numpy as np
import pytest

from kit import models, presets
from kit.spec import FrameSpec
from tests.layers.contract import numpy
from tests.refusals import refused


def batch(model, batch_size=2):
    spec = models.frame_spec(model)
    num_frames = model.input["frames"].shape[1] or 7
    shape = (batch_size, num_frames, spec.dim)
    rng = np.random.default_rng(0)
    mask = np.arange(num_frames) < np.arange(2, batch_size + 2)[:, None]
    return {"frames": rng.integers(0, 256, shape).astype("uint8"), "mask": mask}


def test_the_nine_rows_of_the_table():
    names = list(presets.MEMBERS)
    assert len(names) == 9 and names[0] == "GatedNetVLAD"
    members = presets.MEMBERS.values()
    assert sum(m.published[0] for m in members) == pytest.approx(100.20)
    private = [member.published[2] for member in members]
    assert private == sorted(private)
    assert max(member.published[1] for member in members) == 0.7809
    assert all(0 in member.shifts for member in members)


# Parameters, counted from the equations and not from the code.
C = 3862


def dense(inputs, outputs, bias=True):
    return inputs * outputs + (outputs if bias else 0)


def batch_norm(size):
    return 4 * size  # scale, offset and two moving moments


def moe(inputs, mixtures=5):
    gates = dense(inputs, C * (mixtures + 1), bias=False)
    return gates + dense(inputs, C * mixtures)


def transformer(width, feed_forward=3072):
    attention = 4 * dense(width, width)
    network = dense(width, feed_forward) + dense(feed_forward, width)
    return attention + network + 2 * (2 * width)


def netvlad(width, clusters):
    return 2 * width * clusters + batch_norm(clusters)


def nextvlad(width, clusters, groups, expansion=2):
    wide = expansion * width
    size = wide // groups
    return (
        dense(width, wide)
        + dense(wide, groups)
        + dense(wide, groups * clusters, bias=False)
        + batch_norm(groups * clusters)
        + clusters * size
        + batch_norm(clusters * size)
    )


def gated_netvlad(hidden=1024, clusters=16):
    descriptor = 1024 * clusters + 128 * clusters // 2
    return (
        netvlad(1024, clusters)
        + netvlad(128, clusters // 2)
        + dense(descriptor, hidden, bias=False)
        + batch_norm(hidden)
        + dense(hidden, hidden, bias=False)
        + batch_norm(hidden)
        + moe(hidden)
        + dense(C, C, bias=False)
        + batch_norm(C)
    )


def next_vlad(hidden=2048):
    descriptor = 112 * 2 * 1024 // 8 + 56 * 2 * 128 // 4
    return (
        nextvlad(1024, 112, 8)
        + nextvlad(128, 56, 4)
        + dense(descriptor, hidden, bias=False)
        + batch_norm(hidden)
        + dense(hidden, hidden // 16, bias=False)
        + batch_norm(hidden // 16)
        + dense(hidden // 16, hidden)
        + dense(hidden, C)
    )


JOINT = transformer(1152)
CROSS = transformer(1024) + transformer(128) + JOINT
COUNTS = {
    "GatedNetVLAD": gated_netvlad(),
    "BERT-L2h12": 2 * JOINT + moe(5 * 1152),
    "BERTCrossMean": CROSS + moe(1152),
    "BERT-L3h12": 3 * JOINT + moe(5 * 1152),
    "BERTCrossAttn": CROSS + moe(1152) + 1152,
    "BERTFirst": 2 * JOINT + moe(1152),
    "MixNeXtVLAD-300": 3 * next_vlad() + dense(1152, 3),
    "MixNeXtVLAD-60": 3 * next_vlad() + dense(1152, 3),
    "BERTMean": 2 * JOINT + moe(1152),
}
PUBLISHED = {
    "BERT-L2h12": 269_515_118,
    "BERTCrossMean": 72_712_558,
    "BERT-L3h12": 281_914_862,
    "BERTCrossAttn": 72_713_710,
    "BERTFirst": 73_758_062,
    "BERTMean": 73_758_062,
}


@pytest.fixture
def without_memory():
    """Builds models whose weights have shapes and no values."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session()


@pytest.mark.parametrize("name", presets.MEMBERS)
def test_parameters_at_the_papers_size(name, without_memory):
    weights = presets.build(name).weights
    count = sum(int(np.prod(weight.shape)) for weight in weights)
    assert count == COUNTS[name] == PUBLISHED.get(name, COUNTS[name])


@pytest.mark.parametrize("name", presets.MEMBERS)
def test_a_tiny_member_knows_its_data_and_survives_saving(name, tmp_path):
    options = {"spec": FrameSpec(), "scale": "tiny"}
    model = presets.build(name, class_ids=[3, 9, 1831], **options)
    inputs = batch(model)
    expected = numpy(model(inputs))
    assert expected.shape == (2, 3) and expected.dtype == "float32"
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(numpy(again(inputs)), expected)
    assert models.class_ids(again).tolist() == [3, 9, 1831]
    assert models.frame_spec(again) == FrameSpec()
    assert again.input["frames"].dtype == "uint8"
    assert again.input["mask"].dtype == "bool"


def test_another_spec_changes_no_code():
    spec = FrameSpec(rgb=32, audio=16, max_frames=20, segment_frames=4)
    for name in presets.MEMBERS:
        model = presets.build(name, 3, spec=spec, scale="tiny")
        assert models.frame_spec(model) == spec
        assert numpy(model(batch(model))).shape == (2, 3)
    fixed = presets.build("BERT-L2h12", 3, spec=spec, scale="tiny")
    assert fixed.input["frames"].shape == (None, 4, 48)


@pytest.mark.parametrize("name", ["BERTCrossAttn", "MixNeXtVLAD-60"])
def test_the_same_seed_gives_the_same_model(name):
    built = (presets.build(name, 3, scale="tiny", seed=s) for s in (5, 5, 6))
    one, same, other = (model.get_weights() for model in built)
    assert all(map(np.array_equal, one, same))
    assert not all(map(np.array_equal, one, other))


def test_what_a_training_example_has():
    contiguous = {"num_frames": 5, "contiguous": True}
    assert presets.sampling("BERTMean") == contiguous
    bag = {"num_frames": 5, "num_windows": 8}
    assert presets.sampling("BagMixNeXtVLAD-300", "tiny") == bag
    bag["num_frames"] += 2 * 2
    assert presets.sampling("ContextGatedNetVLAD") == bag
    spec = FrameSpec(rgb=8, audio=0, max_frames=12, segment_frames=4)
    for arguments, expected in (
        (("MixNeXtVLAD-60",), (60, False)),
        (("MixNeXtVLAD-60", "tiny"), (20, False)),
        (("BERTMean", "tiny", spec), (4, True)),
        (("MixNeXtVLAD-300", "tiny", spec), (12, False)),
    ):
        assert tuple(presets.sampling(*arguments).values()) == expected


def test_unknown_names_and_scales_are_refused():
    refused("GatedNetVLAD.*'BERTLast'", presets.build, "BERTLast")
    refused("scale='small'", presets.build, "BERTMean", scale="small")
