"""New models from built ones: to train, of fewer classes, to save."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from kit.layers import BagPooling, ClassProbabilities, MixtureOfModels
from kit.models.endpoints import FrameModel, find_layers, window_frames
from kit.replacing import replacing


def training_model(model: keras.Model) -> keras.Model:
    """The model to train in place of `model`; the two share their layers.

    It is `model` itself, except for `mix_next_vlad`: there the logits of the
    mixture and of each branch, `(batch_size, 1 + num_branches, num_classes)`,
    for the distillation loss.  `kit.losses.loss_for` gives the loss that goes
    with either.
    """
    for layer in model.layers:
        if isinstance(layer, MixtureOfModels):
            _, logits = layer.output
            name = f"{model.name}_training"
            return FrameModel(model.input, logits, name=name)
    return model


def multiple_instance(
    model: keras.Model, num_windows: int = 8, pooling: str = "linear_softmax"
) -> keras.Model:
    """The model to train on videos as bags of windows, in place of `model`.

    Whatever the member, a window is as long as a segment, with the context
    that the model takes.  The model scores each with the same weights, and
    `kit.layers.BagPooling` makes of these the video's probabilities, on which
    its labels are trained.  What is trained is `model`, which goes on seeing
    one window: save it, and rank with it.

    Args:
        model: A model of this module; the two share their layers.
        num_windows: Windows of a video, as `data.Bags` is asked for.
        pooling: A mode of `BagPooling`.

    Returns:
        A model of inputs `(batch_size, num_windows, num_frames, ...)` with the
        outputs of `training_model(model)`, one row a video.

    Raises:
        ValueError: Where the pooling is unknown, `num_windows` is below 1, or
            the model has a fixed number of frames other than a segment's.
    """
    length = window_frames(model)
    fixed = model.input["mask"].shape[1]
    if num_windows < 1 or fixed not in (None, length):
        raise ValueError(
            "A bag needs at least 1 window, and a model that takes any number "
            f"of frames or {length}, those of a segment and its context. "
            f"Received: num_windows={num_windows}, a model of {fixed} frames"
        )
    inputs, windows = {}, {}
    for name, one in model.input.items():
        shape = num_windows, length, *one.shape[2:]
        inputs[name] = keras.Input(shape, dtype=one.dtype, name=name)
        windows[name] = ops.reshape(inputs[name], (-1, *shape[1:]))
    trainee = training_model(model)
    outputs = trainee(windows)
    is_logits = trainee is not model
    outputs = ops.sigmoid(outputs) if is_logits else outputs
    outputs = ops.reshape(outputs, (-1, num_windows, *outputs.shape[1:]))
    real = ops.any(inputs["mask"], axis=2)
    outputs = BagPooling(pooling, name="bag")(outputs, mask=real)
    if is_logits:
        outputs = ops.clip(outputs, 1e-7, 1 - 1e-6)
        outputs = ops.log(outputs) - ops.log1p(-outputs)
    return FrameModel(inputs, outputs, name=f"{model.name}_bag")


def restrict_classes(
    model: keras.Model, class_ids: Sequence[int]
) -> keras.Model:
    """Cuts a model down to some of its classes, with the same probabilities.

    The columns of the head are gathered once, into a new model that can be
    trained further.  A head with gated probabilities (`gated_netvlad`) keeps
    all its experts, since the gate of a class reads the probabilities of all
    classes; there the gate's columns are gathered.

    Args:
        model: A model of this module; it is left as it is.
        class_ids: Vocabulary ids of the classes to keep, in the order of the
            new columns.

    Raises:
        ValueError: Where a class is not among the model's, or named twice.
    """
    old_ids = find_layers(model, ClassProbabilities)[0].class_ids
    column_of = {class_id: column for column, class_id in enumerate(old_ids)}
    unknown = sorted(set(class_ids) - set(column_of))
    if unknown:
        raise ValueError(
            "A model can be restricted to classes it has; see "
            f"`kit.models.class_ids`. Received: unknown class_ids={unknown}"
        )
    columns = [column_of[class_id] for class_id in class_ids]
    if len(set(columns)) != len(columns) or not columns:
        rule = "`class_ids` must name at least one class, each once."
        raise ValueError(f"{rule} Received: class_ids={list(class_ids)}")

    def restricted(layer):
        if hasattr(layer, "restricted"):
            return layer.restricted(columns)
        return type(layer).from_config(layer.get_config())

    return _copy(model, restricted, columns)


def with_dtype(model: keras.Model, dtype: str) -> keras.Model:
    """A copy of a model, weights and all, under another dtype policy.

    Args:
        dtype: A policy's name, such as `"mixed_float16"`.
    """

    def recast(layer):
        return type(layer).from_config({**layer.get_config(), "dtype": dtype})

    return _copy(model, recast)


def save(model: keras.Model, path: str | Path) -> Path:
    """Writes a model to a `.keras` file, ready to serve on any device.

    Whatever it was trained in, the file has the float32 policy; it has no
    optimizer.  It is written beside its place and then renamed, so that the
    file at `path` is always a whole one.

    Args:
        model: A model of this module; it is left as it is.
        path: Ends in `.keras`; what is there is replaced.
    """
    with replacing(path) as partial:
        with_dtype(model, "float32").save(partial)
    return Path(path)


def _copy(
    model: keras.Model,
    clone_layer: Callable,
    columns: Sequence[int] | None = None,
) -> keras.Model:
    """A model of cloned layers with the weights of `model`, not compiled.

    Where `columns` are given, those weights that have a class axis, which is
    their last, are gathered.
    """
    bare = FrameModel(model.input, model.output, name=model.name)
    copy = keras.models.clone_model(bare, clone_function=clone_layer)
    of_classes = {
        id(variable)
        for layer in model.layers
        for variable in getattr(layer, "class_variables", ())
    }
    for old, new in zip(model.weights, copy.weights, strict=True):
        value = np.asarray(old)
        gather = columns is not None and id(old) in of_classes
        new.assign(value[..., columns] if gather else value)
    return copy
