import keras
import numpy as np
import pytest

from kit import losses, models, presets
from kit.spec import FrameSpec
from tests.layers.contract import gradients, numpy

SPEC = FrameSpec(rgb=16, audio=8, max_frames=12)
BERT = {
    "num_layers": 1,
    "num_heads": 2,
    "feed_forward_dim": 24,
    "dropout_rate": 0.1,
    "num_mixtures": 2,
}
NETVLAD = {
    "num_clusters": 4,
    "hidden_dim": 16,
    "num_mixtures": 2,
    "momentum": 0.9,
}
NEXTVLAD = {
    "num_clusters": 4,
    "num_groups": 4,
    "hidden_dim": 16,
    "reduction": 4,
    "dropout_rate": 0.0,
    "momentum": 0.9,
}
# Every architecture, small; those that take any number of frames first.
VARIABLE = {
    "gated_netvlad": (models.gated_netvlad, NETVLAD),
    "next_vlad": (models.next_vlad, NEXTVLAD),
    "mix_next_vlad": (models.mix_next_vlad, NEXTVLAD | {"num_branches": 2}),
    "bert_mean": (models.bert, BERT | {"num_layers": 2}),
    "bert_max": (models.bert, BERT | {"pooling": "max"}),
    "bert_first": (models.bert, BERT | {"pooling": "first"}),
    "bert_positions": (models.bert, BERT | {"max_positions": 12}),
    "bert_cross": (models.bert_cross, BERT | {"pooling": "attention"}),
    "bert_cross_frames": (
        models.bert_cross,
        BERT | {"join": "frames", "projection_dim": 12},
    ),
    "logistic": (models.frame_mean, {}),
    "moe": (models.frame_mean, {"num_mixtures": 2}),
    "dbof": (models.dbof, NETVLAD | {"num_clusters": 32}),
    "gru": (models.recurrent, {"hidden_dim": 16, "num_mixtures": 2}),
    "lstm": (
        models.recurrent,
        {"cell": "lstm", "hidden_dim": 16, "num_mixtures": 2},
    ),
}
FIXED = {
    "bert_concat": (models.bert, BERT | {"pooling": "concat", "num_frames": 5}),
    "bert_cross_concat": (
        models.bert_cross,
        BERT
        | {
            "pooling": "concat",
            "num_frames": 5,
            "join": "frames",
            "projection_dim": 12,
        },
    ),
}
ALL = VARIABLE | FIXED
UNORDERED = [
    "gated_netvlad",
    "next_vlad",
    "mix_next_vlad",
    "bert_mean",
    "bert_max",
    "bert_cross",
    "bert_cross_frames",
    "moe",
    "dbof",
]


def build(name, class_ids=(3, 9, 4, 70), seed=0):
    keras.utils.set_random_seed(seed)
    builder, arguments = ALL[name]
    return builder(class_ids, SPEC, **arguments)


def batch(batch_size=4, num_frames=5, seed=0):
    rng = np.random.default_rng(seed)
    shape = (batch_size, num_frames, SPEC.dim)
    lengths = rng.integers(1, num_frames + 1, batch_size)
    lengths[0] = num_frames
    return {
        "frames": rng.integers(0, 256, shape).astype("uint8"),
        "mask": np.arange(num_frames) < lengths[:, None],
    }


def trained(model, inputs):
    """A model whose batch normalisation has seen some data."""
    for _ in range(3):
        model(inputs, training=True)
    return model


@pytest.mark.parametrize("name", ALL)
def test_bytes_in_float32_probabilities_out(name):
    model = build(name)
    actual = numpy(model(batch()))
    assert actual.shape == (4, 4) and actual.dtype == "float32"
    assert actual.min() >= 0 and actual.max() <= 1
    assert models.class_ids(model).tolist() == [3, 9, 4, 70]
    assert models.frame_spec(model) == SPEC


@pytest.mark.parametrize("name", VARIABLE)
def test_padding_changes_no_prediction(name):
    inputs = batch()
    model = trained(build(name), inputs)
    expected = numpy(model(inputs))
    noise = batch(num_frames=3, seed=9)["frames"]
    padded = {
        "frames": np.concatenate([inputs["frames"], noise], axis=1),
        "mask": np.pad(inputs["mask"], ((0, 0), (0, 3))),
    }
    np.testing.assert_allclose(numpy(model(padded)), expected, atol=1e-5)


@pytest.mark.parametrize("name", FIXED)
def test_the_bytes_of_padding_change_no_prediction(name):
    inputs = batch()
    model = build(name)
    expected = numpy(model(inputs))
    noise = batch(seed=9)["frames"]
    real = inputs["mask"][..., None]
    inputs["frames"] = np.where(real, inputs["frames"], noise)
    np.testing.assert_allclose(numpy(model(inputs)), expected, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_a_row_alone_is_the_row_in_a_batch(name):
    inputs = batch()
    model = trained(build(name), inputs)
    expected = numpy(model(inputs))
    for row in range(4):
        alone = {key: value[row : row + 1] for key, value in inputs.items()}
        np.testing.assert_allclose(
            numpy(model(alone))[0], expected[row], atol=1e-5
        )


@pytest.mark.parametrize("name", UNORDERED)
def test_the_order_of_frames_does_not_matter(name):
    inputs = batch()
    model = trained(build(name), inputs)
    expected = numpy(model(inputs))
    inputs = {key: value[:, ::-1].copy() for key, value in inputs.items()}
    np.testing.assert_allclose(numpy(model(inputs)), expected, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_rows_with_no_real_frame_are_finite(name):
    inputs = batch()
    inputs["mask"][1:] = False
    model = build(name)
    for training in (True, False):
        actual = numpy(model(inputs, training=training))
        assert np.isfinite(actual).all()
    assert np.ptp(actual[1:], axis=0).max() < 1e-6  # whatever the bytes


def without_gradient(path):
    """The key's bias shifts all scores of a query alike: softmax ignores it.

    With one real frame or one token attention has no choice either, but the
    batch has more.
    """
    return path.endswith("attention/key/bias")


@pytest.mark.parametrize("name", ALL)
def test_every_weight_learns(name):
    model = build(name)
    inputs = batch(16)
    targets = np.random.default_rng(1).integers(-1, 2, (16, 4)).astype("int8")
    trainee = models.training_model(model)
    found = gradients(trainee, inputs, targets, losses.loss_for(model))
    assert len(found) == len(model.trainable_weights)
    for path, gradient in found.items():
        assert np.isfinite(gradient).all(), path
        if not without_gradient(path):
            assert gradient.any(), path


def planted(num_examples=256, seed=0):
    """Each class has a direction; frames of a video lean to its classes."""
    rng = np.random.default_rng(seed)
    directions = 40 * np.random.default_rng(99).normal(size=(4, SPEC.dim))
    targets = rng.random((num_examples, 4)) < 0.4
    frames = 128 + 12 * rng.normal(size=(num_examples, 5, SPEC.dim))
    frames += (targets @ directions)[:, None]
    mask = np.arange(5) < rng.integers(3, 6, num_examples)[:, None]
    inputs = {"frames": frames.clip(0, 255).astype("uint8"), "mask": mask}
    return inputs, targets.astype("int8")


OPTIONS = ["bert_max", "bert_positions", "bert_cross_frames"]


@pytest.mark.parametrize("name", [name for name in ALL if name not in OPTIONS])
def test_a_planted_problem_is_learnt(name):
    model = build(name)
    inputs, targets = planted()
    trainee = models.training_model(model)
    trainee.compile(keras.optimizers.Adam(0.01), losses.loss_for(model))
    trainee.fit(inputs, targets, batch_size=32, epochs=12, verbose=0)
    fresh, expected = planted(seed=1)
    scores = model.predict(fresh, verbose=0)
    for score, present in zip(scores.T, expected.T == 1, strict=True):
        # The share of pairs in the right order: the task is to rank, and a
        # collapsed model has no pair in order.
        above = score[present][:, None] > score[~present]
        assert above.mean() > 0.98


@pytest.mark.parametrize("name", ALL)
def test_fewer_classes_keep_their_probabilities(name):
    inputs = batch()
    model = trained(build(name), inputs)
    expected = numpy(model(inputs))
    some = models.restrict_classes(model, [70, 3, 9])
    assert models.class_ids(some).tolist() == [70, 3, 9]
    np.testing.assert_allclose(
        numpy(some(inputs)), expected[:, [3, 0, 1]], atol=1e-6
    )
    fewer = models.restrict_classes(some, [9, 70])
    np.testing.assert_allclose(
        numpy(fewer(inputs)), expected[:, [1, 3]], atol=1e-6
    )
    assert numpy(model(inputs)).shape == (4, 4)


@pytest.mark.parametrize("name", ["gated_netvlad", "mix_next_vlad"])
def test_a_restricted_model_can_be_saved_and_trained(name, tmp_path):
    some = models.restrict_classes(build(name), [70, 3])
    inputs, targets = planted(64)
    trainee = models.training_model(some)
    trainee.compile(keras.optimizers.Adam(0.01), losses.loss_for(some))
    history = trainee.fit(
        inputs, targets[:, :2], batch_size=16, epochs=8, verbose=0
    ).history["loss"]
    assert history[-1] < history[0]
    some.save(tmp_path / "some.keras")
    again = keras.saving.load_model(tmp_path / "some.keras")
    np.testing.assert_array_equal(numpy(again(inputs)), numpy(some(inputs)))
    assert models.class_ids(again).tolist() == [70, 3]


def test_classes_a_model_does_not_have_are_refused():
    with pytest.raises(ValueError, match=r"unknown class_ids=\[5, 8\]"):
        models.restrict_classes(build("moe"), [3, 8, 5])
    with pytest.raises(ValueError, match="each once"):
        models.restrict_classes(build("moe"), [3, 3])


def test_a_mixture_trains_as_logits_and_serves_its_probabilities(tmp_path):
    model = build("mix_next_vlad")
    inputs = batch()
    logits = numpy(models.training_model(model)(inputs))
    assert logits.shape == (4, 1 + 2, 4)
    expected = 1 / (1 + np.exp(-logits[:, 0]))
    np.testing.assert_allclose(numpy(model(inputs)), expected, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        numpy(models.training_model(again)(inputs)), logits
    )


def test_another_model_is_its_own_training_model():
    model = build("bert_mean")
    assert models.training_model(model) is model


@pytest.mark.parametrize("name", ALL)
def test_mixed_precision_gives_nearly_the_same(name):
    inputs = batch()
    model = trained(build(name), inputs)
    mixed = models.with_dtype(model, "mixed_float16")
    actual = numpy(mixed(inputs))
    assert actual.dtype == "float32"
    np.testing.assert_allclose(actual, numpy(model(inputs)), atol=0.02)
    back = models.with_dtype(mixed, "float32")
    np.testing.assert_array_equal(numpy(back(inputs)), numpy(model(inputs)))


@pytest.mark.parametrize(
    "name", ["gated_netvlad", "mix_next_vlad", "bert_mean"]
)
def test_training_under_xla_and_mixed_precision(name):
    model = models.with_dtype(build(name), "mixed_bfloat16")
    inputs, targets = planted(64)
    trainee = models.training_model(model)
    trainee.compile(
        keras.optimizers.Adam(0.01), losses.loss_for(model), jit_compile=True
    )
    history = trainee.fit(
        inputs, targets, batch_size=16, epochs=6, verbose=0
    ).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]


def test_weights_come_in_by_layer_name(tmp_path):
    source, target = build("bert_mean", seed=1), build("bert_mean", seed=2)
    inputs = batch()
    source.save_weights(tmp_path / "a.weights.h5")
    arrays = {weight.path: numpy(weight) for weight in source.weights}
    np.savez(tmp_path / "a.npz", **arrays)
    for origin in (tmp_path / "a.weights.h5", tmp_path / "a.npz", arrays):
        target = build("bert_mean", seed=2)
        assert models.import_weights(target, origin) == []
        np.testing.assert_array_equal(
            numpy(target(inputs)), numpy(source(inputs))
        )


def test_weights_that_do_not_match_are_listed():
    source = build("bert_mean", class_ids=(1, 2), seed=1)
    arrays = {weight.path: numpy(weight) for weight in source.weights}
    del arrays["encoder/layer_0/project/bias"]
    arrays["decoder/kernel"] = np.zeros(3)
    target = build("bert_mean", seed=2)
    before = {weight.path: numpy(weight) for weight in target.weights}
    assert models.import_weights(target, arrays) == [
        "encoder/layer_0/project/bias: not in the source",
        "head/gate_kernel: shape (24, 3, 4) here, (24, 3, 2) in the source",
        "head/expert_kernel: shape (24, 2, 4) here, (24, 2, 2) in the source",
        "head/expert_bias: shape (2, 4) here, (2, 2) in the source",
        "decoder/kernel: not in the model",
    ]
    after = {weight.path: numpy(weight) for weight in target.weights}
    name = "encoder/layer_1/project/kernel"
    np.testing.assert_array_equal(after[name], arrays[name])
    name = "head/gate_kernel"
    np.testing.assert_array_equal(after[name], before[name])


def test_a_file_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="npz.*'model.ckpt'"):
        models.import_weights(build("moe"), "model.ckpt")


def test_a_model_from_elsewhere_has_no_classes():
    inputs = keras.Input((3,))
    other = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="other")
    with pytest.raises(ValueError, match="ClassProbabilities.*other"):
        models.class_ids(other)


@pytest.mark.parametrize(
    ("builder", "arguments", "message"),
    [
        (models.bert, {"num_heads": 5}, "num_heads=5, width=24"),
        (models.bert, {"pooling": "last"}, "'last'"),
        (models.bert, {"pooling": "concat"}, "fixed number of frames"),
        (models.bert_cross, {"join": "time"}, "join='time'"),
        (models.bert_cross, {"join": "frames"}, "projection_dim"),
        (models.gated_netvlad, {"num_clusters": 0}, "num_clusters=0"),
        (models.gated_netvlad, {"num_mixtures": 0}, "num_mixtures=0"),
        (models.next_vlad, {"num_groups": 7}, "num_groups=7"),
        (models.mix_next_vlad, {"num_branches": 1}, "two branches"),
        (models.recurrent, {"cell": "rnn"}, "cell='rnn'"),
    ],
)
def test_bad_arguments_are_refused(builder, arguments, message):
    with pytest.raises(ValueError, match=message):
        builder([1, 2], SPEC, **arguments)


def test_cross_modal_bert_needs_two_modalities():
    with pytest.raises(ValueError, match="two modalities.*audio=0"):
        models.bert_cross([1, 2], FrameSpec(rgb=8, audio=0))


@pytest.mark.parametrize(
    "name", ["gated_netvlad", "mix_next_vlad", "bert_mean"]
)
def test_one_modality_is_enough_for_the_others(name):
    builder, arguments = ALL[name]
    model = builder([1, 2], FrameSpec(rgb=24, audio=0), **arguments)
    assert numpy(model(batch())).shape == (4, 2)


def test_frames_of_another_size_are_refused():
    inputs = batch()
    inputs["frames"] = inputs["frames"][..., :-1]
    with pytest.raises(ValueError):
        build("moe")(inputs)


def test_presets_reach_every_published_architecture():
    used = {member.builder for member in presets.MEMBERS.values()}
    assert used == {"gated_netvlad", "bert", "bert_cross", "mix_next_vlad"}
