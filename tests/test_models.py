import functools

import keras
import numpy as np
import pytest

from kit import losses, models
from kit.layers import FrameFeatures, MixtureOfExperts
from kit.spec import FrameSpec
from tests.layers.contract import gradients, numpy
from tests.processes import python
from tests.refusals import refused

SPEC = FrameSpec(rgb=16, audio=8, max_frames=12)
BERT = dict(num_layers=1, num_heads=2, feed_forward_dim=24, num_mixtures=2)
BERT |= dict(dropout_rate=0.1)
NETVLAD = dict(num_clusters=4, hidden_dim=16, num_mixtures=2, momentum=0.9)
NEXTVLAD = dict(num_clusters=4, hidden_dim=16, num_groups=4, momentum=0.9)
NEXTVLAD |= dict(reduction=4, dropout_rate=0.0)


def gru(class_ids, spec):
    """A model of one's own, as the docstring of `kit.models` shows it."""
    inputs = models.frame_inputs(spec)
    x = FrameFeatures(spec)(**inputs)
    x = keras.layers.GRU(16)(x, mask=inputs["mask"])
    x = MixtureOfExperts(len(class_ids), num_mixtures=2)(x)
    return models.classifier(inputs, x, class_ids, name="gru")


# Every architecture, small; those that take any number of frames first.
VARIABLE = {
    "gated_netvlad": (models.gated_netvlad, NETVLAD),
    "mix_next_vlad": (models.mix_next_vlad, NEXTVLAD | {"num_branches": 2}),
    "bert_mean": (models.bert, BERT | {"num_layers": 2}),
    "bert_max": (models.bert, BERT | {"pooling": "max"}),
    "bert_first": (models.bert, BERT | {"pooling": "first"}),
    "bert_cross": (models.bert_cross, BERT | {"pooling": "attention"}),
    "logistic": (models.frame_mean, {}),
    "gru": (gru, {}),
}
CONCAT = BERT | {"pooling": "concat", "num_frames": 5}
ALL = VARIABLE | {"bert_concat": (models.bert, CONCAT)}
ALL["netvlad_context"] = models.gated_netvlad, NETVLAD | {"context": 1}
UNORDERED = [name for name in VARIABLE if name not in ("bert_first", "gru")]


def build(name, class_ids=(3, 9, 4, 70), seed=0):
    keras.utils.set_random_seed(seed)
    builder, arguments = ALL[name]
    return builder(class_ids, SPEC, **arguments)


def batch(batch_size=4, num_frames=5, seed=0):
    rng = np.random.default_rng(seed)
    shape = (batch_size, num_frames, SPEC.dim)
    lengths = rng.integers(1, num_frames + 1, batch_size)
    lengths[0] = num_frames
    frames = rng.integers(0, 256, shape).astype("uint8")
    return {"frames": frames, "mask": np.arange(num_frames) < lengths[:, None]}


@functools.cache
def served(name):
    """A model whose batch normalisation has seen data, and what it says."""
    model, inputs = build(name), batch()
    for _ in range(3):
        model(inputs, training=True)
    return model, numpy(model(inputs))


@pytest.mark.parametrize("name", ALL)
def test_bytes_in_float32_probabilities_out(name):
    model, actual = served(name)
    assert actual.shape == (4, 4) and actual.dtype == "float32"
    assert actual.min() >= 0 and actual.max() <= 1
    assert models.class_ids(model).tolist() == [3, 9, 4, 70]
    assert models.frame_spec(model) == SPEC


@pytest.mark.parametrize("name", ALL)
def test_padding_changes_no_prediction(name):
    model, expected = served(name)
    more = 3 if name in VARIABLE else 0
    mask = np.pad(batch()["mask"], ((0, 0), (0, more)))
    frames = batch(num_frames=5 + more, seed=9)["frames"]  # noise
    frames[mask] = batch()["frames"][batch()["mask"]]
    actual = numpy(model({"frames": frames, "mask": mask}))
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_a_row_alone_is_the_row_in_a_batch(name):
    model, expected = served(name)
    for row in range(4):
        alone = {key: x[row : row + 1] for key, x in batch().items()}
        actual = numpy(model(alone))[0]
        np.testing.assert_allclose(actual, expected[row], atol=1e-5)


@pytest.mark.parametrize("name", UNORDERED)
def test_the_order_of_frames_does_not_matter(name):
    model, expected = served(name)
    inputs = {key: x[:, ::-1].copy() for key, x in batch().items()}
    np.testing.assert_allclose(numpy(model(inputs)), expected, atol=1e-5)


def test_frames_of_the_segment_are_told_from_those_around_it():
    model, expected = served("netvlad_context")
    within, across = (
        numpy(model({**batch(), "frames": batch()["frames"][:, order]}))[0]
        for order in ([0, 2, 1, 3, 4], [1, 0, 2, 3, 4])
    )
    np.testing.assert_allclose(within, expected[0], atol=1e-6)
    assert np.abs(across - expected[0]).max() > 1e-3


@pytest.mark.parametrize("name", ALL)
def test_rows_with_no_real_frame_are_finite(name):
    inputs = batch()
    inputs["mask"][1:] = False
    model = build(name)
    for training in (True, False):
        actual = numpy(model(inputs, training=training))
        assert np.isfinite(actual).all()
    assert np.ptp(actual[1:], axis=0).max() < 1e-6  # whatever the bytes


@pytest.mark.parametrize("name", ALL)
def test_every_weight_learns(name):
    model = build(name)
    inputs = batch(16)
    targets = np.random.default_rng(1).integers(-1, 2, (16, 4)).astype("int8")
    trainee = models.training_model(model)
    by_path = gradients(trainee, inputs, targets, losses.loss_for(model))
    assert len(by_path) == len(model.trainable_weights)
    for path, gradient in by_path.items():
        assert np.isfinite(gradient).all(), path
        # The key's bias shifts all scores of a query alike: softmax ignores it.
        assert gradient.any() or path.endswith("attention/key/bias"), path


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


def fit(model, inputs, targets, epochs, batch_size=16, jit_compile="auto"):
    """Trains, and returns the loss of each epoch."""
    trainee, loss = models.training_model(model), losses.loss_for(model)
    adam = keras.optimizers.Adam(0.01)
    trainee.compile(adam, loss, jit_compile=jit_compile)
    history = trainee.fit(inputs, targets, batch_size, epochs, verbose=0)
    return history.history["loss"]


@pytest.mark.parametrize("name", [name for name in ALL if name != "bert_max"])
def test_a_planted_problem_is_learnt(name):
    model = build(name)
    inputs, targets = planted()
    fit(model, inputs, targets, epochs=12, batch_size=32)
    fresh, expected = planted(seed=1)
    scores = model.predict(fresh, verbose=0)
    for score, present in zip(scores.T, expected.T == 1, strict=True):
        # The share of pairs in the right order: the task is to rank, and a
        # collapsed model has no pair in order.
        above = score[present][:, None] > score[~present]
        assert above.mean() > 0.98


@pytest.mark.parametrize("name", ALL)
def test_fewer_classes_keep_their_probabilities(name):
    model, expected = served(name)
    for class_ids, columns in (([70, 3, 9], [3, 0, 1]), ([9, 70], [1, 3])):
        model = models.restrict_classes(model, class_ids)
        assert models.class_ids(model).tolist() == class_ids
        actual = numpy(model(batch()))
        np.testing.assert_allclose(actual, expected[:, columns], atol=1e-6)


@pytest.mark.parametrize("name", ["gated_netvlad", "mix_next_vlad"])
def test_a_restricted_model_can_be_saved_and_trained(name, tmp_path):
    some = models.restrict_classes(build(name), [70, 3])
    inputs, targets = planted(64)
    history = fit(some, inputs, targets[:, :2], epochs=8)
    assert history[-1] < history[0]
    some.save(tmp_path / "some.keras")
    again = keras.saving.load_model(tmp_path / "some.keras")
    np.testing.assert_array_equal(numpy(again(inputs)), numpy(some(inputs)))
    assert models.class_ids(again).tolist() == [70, 3]


def test_a_mixture_trains_as_logits_and_serves_its_probabilities(tmp_path):
    model, actual = served("mix_next_vlad")
    inputs = batch()
    logits = numpy(models.training_model(model)(inputs))
    assert logits.shape == (4, 1 + 2, 4)
    expected = 1 / (1 + np.exp(-logits[:, 0]))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    trainee = models.training_model(again)
    np.testing.assert_array_equal(numpy(trainee(inputs)), logits)
    other, _ = served("bert_mean")
    assert models.training_model(other) is other


@pytest.mark.parametrize("name", ALL)
def test_mixed_precision_gives_nearly_the_same(name):
    model, expected = served(name)
    mixed = models.with_dtype(model, "mixed_float16")
    actual = numpy(mixed(batch()))
    assert actual.dtype == "float32"
    np.testing.assert_allclose(actual, expected, atol=0.02)
    back = models.with_dtype(mixed, "float32")
    np.testing.assert_array_equal(numpy(back(batch())), expected)


def test_training_under_xla_and_mixed_precision():
    model = models.with_dtype(build("gated_netvlad"), "mixed_float16")
    history = fit(model, *planted(64), epochs=6, jit_compile=True)
    assert np.isfinite(history).all() and history[-1] < history[0]


def test_what_is_saved_serves_in_float32_whatever_it_was_trained_in(tmp_path):
    model = models.with_dtype(build("bert_cross"), "mixed_float16")
    inputs, targets = planted(32)
    model.compile("adam", losses.loss_for(model))
    model.train_on_batch(inputs, targets)
    assert models.save(model, tmp_path / "a.keras") == tmp_path / "a.keras"
    again = keras.saving.load_model(tmp_path / "a.keras")
    inputs_too = {"float32", "uint8", "bool"}
    assert {layer.dtype_policy.name for layer in again.layers} <= inputs_too
    assert not again.compiled and model.dtype_policy.name == "float32"
    for old, new in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(numpy(old), numpy(new))
    expected = numpy(model(inputs))
    np.testing.assert_allclose(numpy(again(inputs)), expected, atol=0.02)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.keras"]


def test_a_save_that_fails_leaves_only_the_file_before(tmp_path, monkeypatch):
    def full_disk(self, path):
        path.write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(models.FrameModel, "save", full_disk)
    path = tmp_path / "model.keras"
    path.write_bytes(b"the model before")
    with pytest.raises(OSError, match="No space"):
        models.save(build("logistic"), path)
    assert path.read_bytes() == b"the model before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_process_loads_a_model_after_importing_the_kit(tmp_path):
    models.save(build("logistic"), tmp_path / "model.keras")
    code = (
        "import kit, keras, sys;"
        "model = keras.saving.load_model(sys.argv[1]);"
        "print(kit.models.class_ids(model))"
    )
    done = python("-c", code, tmp_path / "model.keras")
    assert done.stdout.strip() == "[ 3  9  4 70]", done.stderr


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_frames_that_are_no_bytes_are_refused(dtype, tmp_path):
    inputs, (_, targets) = batch(), planted(4)
    inputs["frames"] = inputs["frames"].astype(dtype)
    model, mixture = build("logistic"), build("mix_next_vlad")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    trainee = models.training_model(mixture)
    trainee.compile("adam", losses.loss_for(mixture))
    message = r"pass uint8[\s\S]*Received: frames\.dtype=(float|int)"
    for use in (
        *(model, model.predict, again, again.predict),
        lambda inputs: again([inputs["frames"], inputs["mask"]]),
        lambda inputs: trainee.fit(inputs, targets),
    ):
        refused(message, use, inputs)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_a_mask_of_integers_is_as_good(dtype):
    model, expected = served("bert_mean")
    inputs = batch()
    inputs["mask"] = inputs["mask"].astype(dtype)
    np.testing.assert_array_equal(numpy(model(inputs)), expected)


def test_what_cannot_be_made_of_a_model_is_refused():
    inputs = keras.Input((3,))
    other = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="other")
    model, bags = build("bert_mean"), models.multiple_instance
    longer = models.bert([1], SPEC, **CONCAT | {"num_frames": 6})
    floats = {k: v.astype("float32") for k, v in bag()[1].items()}
    short = {**batch(), "frames": batch()["frames"][..., 1:]}
    restrict = models.restrict_classes
    refused("ClassProbabilities.*other", models.class_ids, other)
    refused(r"unknown class_ids=\[5, 8\]", restrict, model, [3, 8, 5])
    refused("each once", restrict, model, [3, 3])
    refused("num_windows=0", bags, model, 0)
    refused("mode='median'", bags, model, 4, "median")
    refused("frames or 5,.*of 6 frames", bags, longer, 4)
    refused("frames.dtype=float32", bags(model, 4), floats)
    refused("expected.*24.*23", model, short)


@pytest.mark.parametrize(
    ("builder", "arguments", "message"),
    [
        (models.bert, {"num_heads": 5}, "num_heads=5, width=24"),
        (models.bert, {"pooling": "last"}, "'last'"),
        (models.bert, {"pooling": "concat"}, "fixed number of frames"),
        (models.bert_cross, {"spec": FrameSpec(8, 0)}, "takes two.*audio=0"),
        (models.gated_netvlad, {"num_clusters": 0}, "num_clusters=0"),
        (models.gated_netvlad, {"num_mixtures": 0}, "num_mixtures=0"),
        (models.gated_netvlad, {"context": -1}, "context=-1"),
        (models.mix_next_vlad, {"num_groups": 7}, "num_groups=7"),
        (models.mix_next_vlad, {"num_branches": 1}, "two branches"),
    ],
)
def test_bad_arguments_are_refused(builder, arguments, message):
    refused(message, builder, [1, 2], **{"spec": SPEC} | arguments)


@pytest.mark.parametrize(
    "name", ["gated_netvlad", "mix_next_vlad", "bert_mean"]
)
def test_one_modality_is_enough_for_the_others(name):
    builder, arguments = ALL[name]
    model = builder([1, 2], FrameSpec(rgb=24, audio=0), **arguments)
    assert numpy(model(batch())).shape == (4, 2)


def bag(num_frames=5):
    flat = batch(3 * 4, num_frames)
    return flat, {k: v.reshape(3, 4, *v.shape[1:]) for k, v in flat.items()}


@pytest.mark.parametrize("name", ALL)
def test_a_bag_pools_what_the_model_says_of_its_windows(name):
    model = build(name)
    flat, windows = bag(5 + 2 * models.context(model))
    windows["mask"][1, 2:] = False
    flat["mask"] = windows["mask"].reshape(flat["mask"].shape)
    before = numpy(model(flat))
    p = before.reshape(3, 4, -1) * windows["mask"].any(axis=2)[..., None]
    trainee = models.multiple_instance(model, 4)
    pooled = numpy(trainee(windows))
    if name == "mix_next_vlad":  # logits; the mixture's first
        assert pooled.shape == (3, 3, 4)
        pooled = 1 / (1 + np.exp(-pooled[:, 0]))
    np.testing.assert_allclose(pooled, (p * p).sum(1) / p.sum(1), rtol=1e-4)
    trainee.compile("sgd", losses.loss_for(model))
    trainee.train_on_batch(windows, np.eye(3, 4, dtype="int8"))
    assert not np.array_equal(numpy(model(flat)), before)  # shared weights
