"""New models from built ones: other outputs, fewer classes, other weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers

from kit.layers import ClassProbabilities, MixtureOfExperts, MixtureOfModels
from kit.models.endpoints import find_layer


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
            return keras.Model(
                model.input, logits, name=f"{model.name}_training"
            )
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
    old_ids = find_layer(model, ClassProbabilities).class_ids
    column_of = {class_id: column for column, class_id in enumerate(old_ids)}
    kept_ids = [int(class_id) for class_id in class_ids]
    if len(set(kept_ids)) != len(kept_ids) or not kept_ids:
        raise ValueError(
            "`class_ids` must name at least one class, each once. "
            f"Received: class_ids={kept_ids}"
        )
    unknown = sorted(set(kept_ids) - set(column_of))
    if unknown:
        raise ValueError(
            "A model can be restricted to classes it has; see "
            f"`kit.models.class_ids`. Received: unknown class_ids={unknown}"
        )
    columns = [column_of[class_id] for class_id in kept_ids]

    def narrowed(layer):
        config = layer.get_config()
        if isinstance(layer, ClassProbabilities):
            config["class_ids"] = kept_ids
        elif isinstance(layer, MixtureOfExperts) and layer.output_gating:
            kept = config["output_columns"] or range(config["num_classes"])
            config["output_columns"] = [kept[column] for column in columns]
        elif isinstance(layer, MixtureOfExperts):
            config["num_classes"] = len(columns)
        elif layer.name.startswith("head"):
            config["units"] = len(columns)
        return layer.__class__.from_config(config)

    return _copy(model, narrowed, columns)


def with_dtype(model: keras.Model, dtype: str) -> keras.Model:
    """A copy of a model, weights and all, under another dtype policy.

    Args:
        dtype: A policy's name: `"float32"` to save, whatever it was trained
            in, `"mixed_float16"` to go on training on a GPU.
    """

    def recast(layer):
        config = layer.get_config()
        if not isinstance(layer, layers.InputLayer):
            config["dtype"] = dtype
        return layer.__class__.from_config(config)

    return _copy(model, recast)


def import_weights(
    model: keras.Model, source: str | Path | Mapping[str, np.ndarray]
) -> list[str]:
    """Brings in weights from elsewhere by the names of layers.

    A weight is taken where name and shape agree; everything else is left as
    it was and listed.

    Args:
        model: Its variables are changed in place.  Their names are
            `variable.path`, such as `"encoder/layer_0/project/kernel"`.
        source: Arrays by such names, a `.npz` file of them, or a
            `.weights.h5` file that Keras 3 wrote, from any model.

    Returns:
        One line for each weight that did not match: in the model and not in
        the source, in the source and not in the model, or of another shape.

    Raises:
        ValueError: Where the file is of another kind.
    """
    arrays = dict(source if isinstance(source, Mapping) else _read(source))
    unmatched = []
    places = {}
    for variable in model.weights:
        layer = variable.path.rpartition("/")[0]
        place = places[layer] = places.get(layer, -1) + 1
        # Keras' own files number the weights of a layer.
        key = variable.path if variable.path in arrays else f"{layer}/{place}"
        if key not in arrays:
            unmatched.append(f"{variable.path}: not in the source")
            continue
        array = arrays.pop(key)
        if array.shape != tuple(variable.shape):
            unmatched.append(
                f"{variable.path}: shape {tuple(variable.shape)} here, "
                f"{array.shape} in the source"
            )
        else:
            variable.assign(array)
    return unmatched + [f"{key}: not in the model" for key in arrays]


def _read(path):
    """Arrays by name from a `.npz` or a `.weights.h5` file."""
    if str(path).endswith(".npz"):
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    if not str(path).endswith(".weights.h5"):
        raise ValueError(
            "Weights are read from `.npz` and `.weights.h5`; pass the arrays "
            f"of other files as a dictionary. Received: source={str(path)!r}"
        )
    arrays = {}

    def visit(group, names):
        variables = group.get("vars", {})
        for place, array in variables.items():
            arrays["/".join([*names, place])] = array[()]
        for key, child in group.items():
            if key != "vars":
                # Groups are named by class; the layer's name is beside them.
                name = child["vars"].attrs["name"] if "vars" in child else None
                visit(child, names if name is None else [*names, name])

    with h5py.File(path) as file:
        visit(file, [])
    return arrays


def _copy(model, clone_function, columns=None):
    """A model of cloned layers with the weights of `model`.

    Where `columns` are given, those weights of a head that have a class axis,
    which is their last, are gathered.
    """
    clone = keras.models.clone_model(model, clone_function=clone_function)
    for old, new in zip(model.layers, clone.layers, strict=True):
        gathered = set()
        if columns is not None and isinstance(old, MixtureOfExperts):
            gathered = {id(variable) for variable in old.class_variables}
        elif columns is not None and old.name.startswith("head"):
            gathered = {id(variable) for variable in old.weights}
        for source, target in zip(old.weights, new.weights, strict=True):
            value = keras.ops.convert_to_numpy(source.value)
            if id(source) in gathered:
                value = value[..., columns]
            target.assign(value)
    return clone
