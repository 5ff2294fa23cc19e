import numpy as np
import pytest
from keras import ops

from kit import inference, models, presets
from kit.layers import (
    FrameFeatures,
    MixtureOfExperts,
    NetVLAD,
    NeXtVLAD,
    TransformerEncoder,
)
from kit.models.endpoints import find_layer
from kit.spec import FrameSpec

SPEC = FrameSpec(rgb=16, audio=8)
CLASS_IDS = [2, 5, 11]
RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (17, SPEC.dim), dtype=np.uint8)
SEGMENTS = {
    "frames": FRAMES[:15].reshape(3, 5, -1),
    "mask": np.arange(5) < np.array([[5], [3], [1]]),
}
VLADS = ["GatedNetVLAD", "MixNeXtVLAD-60"]
BERTS = ["BERTMean", "BERTCrossAttn"]


def trained(name):
    """A member whose every weight has moved, as after training."""
    model = presets.build(name, class_ids=CLASS_IDS, spec=SPEC, scale="tiny")
    rng = np.random.default_rng(1)
    for weight in model.weights:
        value = ops.convert_to_numpy(weight)
        if value.dtype == np.float32:
            moved = value + 0.3 * rng.normal(size=value.shape)
            # A variance stays one.
            weight.assign(np.abs(moved) if "variance" in weight.path else moved)
    return model


@pytest.fixture(scope="module")
def member():
    made = {}
    return lambda name: made.setdefault(name, trained(name))


def parts(model):
    """The features of the video that go into the first layers, float64."""
    split = find_layer(model, FrameFeatures)
    return [np.float64(x[0]) for x in split(FRAMES[None])]


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("name", VLADS)
def test_the_shares_of_a_frame_sum_to_1(name, member):
    shares = inference.assignments(member(name), FRAMES)
    assert list(shares) == ["visual", "audio"]
    assert shares["visual"].shape == (17, 8)
    assert shares["audio"].shape == (17, 4)
    for share in shares.values():
        assert share.min() >= 0 and share.std() > 0.01
        np.testing.assert_allclose(share.sum(axis=1), 1, atol=1e-5)


def test_the_shares_of_netvlad_make_its_descriptor(member):
    model = member("GatedNetVLAD")
    shares = inference.assignments(model, FRAMES)
    for (modality, share), x in zip(shares.items(), parts(model), strict=True):
        layer = model.get_layer(f"{modality}_netvlad")
        residuals = x[:, None] - np.float64(layer.centers)  # (T, K, D)
        vlad = (share[..., None] * residuals).sum(axis=0)  # eq. 7 and 9
        vlad /= np.linalg.norm(vlad, axis=-1, keepdims=True)
        given = ops.convert_to_numpy(layer(x[None].astype("float32")))
        np.testing.assert_allclose(vlad.ravel(), given[0], atol=1e-5)


def test_the_shares_of_nextvlad_are_those_of_equations_12_and_13(member):
    model = member("MixNeXtVLAD-60")
    shares = inference.assignments(model, FRAMES)
    for (modality, share), x in zip(shares.items(), parts(model), strict=True):
        layer = model.get_layer(f"{modality}_nextvlad_0")
        weights = {
            w.path.split("/", 1)[1]: np.float64(w) for w in layer.weights
        }

        def dense(x, name, weights=weights):
            x = x @ weights[f"{name}/kernel"]
            return x + weights.get(f"{name}/bias", 0)

        x = dense(x, "expand")
        norm = {
            key.removeprefix("assign_norm/"): value
            for key, value in weights.items()
            if key.startswith("assign_norm/")
        }
        logits = dense(x, "assign") - norm["moving_mean"]
        logits *= norm["gamma"] / np.sqrt(norm["moving_variance"] + 1e-3)
        logits += norm["beta"]
        attention = 1 / (1 + np.exp(-dense(x, "attend")))
        expected = np.zeros_like(share)
        for group, of_group in enumerate(
            np.split(logits, layer.num_groups, axis=1)
        ):
            expected += attention[:, [group]] * softmax(of_group)
        expected /= attention.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(share, expected, atol=1e-5)


@pytest.mark.parametrize("name", BERTS)
def test_a_frame_attends_to_real_frames_alone(name, member):
    weights = inference.attention(member(name), SEGMENTS)
    layers = 2 if name == "BERTMean" else 1
    assert weights.shape == (3, layers, 4, 5, 5)
    for segment, mask in zip(weights, SEGMENTS["mask"], strict=True):
        np.testing.assert_array_equal(segment[..., ~mask], 0)
        real = segment[..., mask, :]
        np.testing.assert_allclose(real.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", BERTS)
def test_attention_follows_its_frames_where_these_are_permuted(name, member):
    order = [3, 0, 4, 1, 2]
    permuted = {key: value[:1, order] for key, value in SEGMENTS.items()}
    before = inference.attention(member(name), SEGMENTS)[:1]
    after = inference.attention(member(name), permuted)
    expected = before[..., order, :][..., order]
    assert np.abs(expected - before).max() > 0.01
    np.testing.assert_allclose(after, expected, atol=1e-5)


def test_attention_is_that_of_equation_2(member):
    model = member("BERTMean")
    x = np.float64(find_layer(model, FrameFeatures)(FRAMES[None, :5]))[0]
    kernel, bias = map(np.float64, model.get_layer("projection").get_weights())
    x = x @ kernel + bias
    layer = model.get_layer("encoder").layers[0].attention
    query, query_bias, key, key_bias = map(np.float64, layer.get_weights()[:4])
    q = np.einsum("td,dhe->hte", x, query) + query_bias[:, None]
    k = np.einsum("td,dhe->hte", x, key) + key_bias[:, None]
    expected = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]))
    given = inference.attention(model, SEGMENTS)[0, 0]
    np.testing.assert_allclose(given, expected, atol=1e-4)


@pytest.mark.parametrize("name", [*BERTS, "GatedNetVLAD"])
def test_the_experts_make_the_probability_of_their_class(name, member):
    model = member(name)
    predicted = model.predict(SEGMENTS, verbose=0)
    for column, class_id in enumerate(CLASS_IDS):
        gates, said, probability = inference.experts(model, SEGMENTS, class_id)
        np.testing.assert_allclose(gates.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(probability, predicted[:, column], atol=1e-5)
        area = (gates[:, :-1] * said).sum(axis=1)
        if name == "GatedNetVLAD":  # its output gate takes some away
            assert (probability < area).all()
        else:
            np.testing.assert_allclose(area, probability, atol=1e-5)


def test_a_class_keeps_its_experts_where_a_gated_head_is_cut_down(member):
    model = member("GatedNetVLAD")
    few = models.restrict_classes(model, [11, 2])
    for whole, cut in zip(
        inference.experts(model, SEGMENTS, 11),
        inference.experts(few, SEGMENTS, 11),
        strict=True,
    ):
        np.testing.assert_allclose(whole, cut, atol=1e-6)


def test_a_shift_sees_and_scores_what_is_cut_out_by_hand(member):
    model = member("BERTMean")
    table = inference.shifted(model, FRAMES, 5, shifts=(-2, 2))
    assert list(table["shift"].unique()) == [-2, -1, 0, 1, 2]
    for row in table.itertuples():
        asked = range(row.start + row.shift, row.start + row.shift + 5)
        seen = [frame for frame in asked if 0 <= frame < 17]
        # The last segment has two frames; shifted by 2 none is left of it.
        seen = seen or [15, 16]
        assert list(row.frames) == seen
        window = {
            "frames": FRAMES[None, seen],
            "mask": np.ones((1, len(seen)), bool),
        }
        score = model.predict_on_batch(window)[0, CLASS_IDS.index(5)]
        assert row.score == pytest.approx(score, abs=1e-5)


def test_the_score_under_shift_0_is_the_plain_one(member):
    model = member("GatedNetVLAD")
    table = inference.shifted(model, FRAMES, 5)
    plain = inference.localize(model, FRAMES)
    np.testing.assert_allclose(
        table[table["shift"] == 0]["score"],
        plain[plain["class_id"] == 5]["score"],
        atol=1e-6,
    )


def test_the_first_member_with_a_layer_is_found_or_none(member, tmp_path):
    files = {}
    for name in ("GatedNetVLAD", "BERTMean", "BERTCrossAttn"):
        files[name] = tmp_path / f"{name}.keras"
        member(name).save(files[name])

    def found(*kinds):
        return [name for name, _ in inference.first_with(files, *kinds)]

    assert found(TransformerEncoder) == ["BERTMean"]
    assert found(NetVLAD, NeXtVLAD) == ["GatedNetVLAD"]
    assert found(MixtureOfExperts) == ["GatedNetVLAD"]
    assert found(NeXtVLAD) == []
    ((_, model),) = inference.first_with(files, NetVLAD)
    for now, then in zip(
        inference.assignments(model, FRAMES).values(),
        inference.assignments(member("GatedNetVLAD"), FRAMES).values(),
        strict=True,
    ):
        np.testing.assert_allclose(now, then, atol=1e-6)


def test_floats_are_refused_for_a_model_would_truncate_them(member):
    floats = FRAMES.astype("float32")
    with pytest.raises(ValueError, match="dtype=float32"):
        inference.assignments(member("GatedNetVLAD"), floats)
    inputs = {**SEGMENTS, "frames": SEGMENTS["frames"].astype("float32")}
    with pytest.raises(ValueError, match="dtype=float32"):
        inference.attention(member("BERTMean"), inputs)
    with pytest.raises(ValueError, match="dtype=float32"):
        inference.experts(member("BERTMean"), inputs, 5)
