"""New models from built ones: to train, of fewer classes, to save."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from kit.layers import ClassProbabilities, MixtureOfModels
from kit.models.endpoints import FrameModel, find_layers
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
        raise ValueError(
            "`class_ids` must name at least one class, each once. "
            f"Received: class_ids={list(class_ids)}"
        )

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
