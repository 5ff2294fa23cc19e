"""What every model has in common: its inputs, its last layer, its facts."""

from collections.abc import Sequence

import keras
import numpy as np

from kit.layers import ClassProbabilities, FrameFeatures
from kit.spec import FrameSpec

YOUTUBE_8M = FrameSpec()


def frame_inputs(spec: FrameSpec, num_frames: int | None = None) -> dict:
    """The two inputs of a model, for any number of frames or a fixed one."""
    return {
        "frames": keras.Input(
            (num_frames, spec.dim), dtype="uint8", name="frames"
        ),
        "mask": keras.Input((num_frames,), dtype="bool", name="mask"),
    }


def classifier(
    inputs: dict,
    outputs: keras.KerasTensor,
    class_ids: Sequence[int],
    name: str,
    from_logits: bool = False,
) -> keras.Model:
    """The model from `frame_inputs` to the probabilities of `class_ids`."""
    outputs = ClassProbabilities(
        class_ids, from_logits=from_logits, name="probabilities"
    )(outputs)
    return keras.Model(inputs, outputs, name=name)


def class_ids(model: keras.Model) -> np.ndarray:
    """The vocabulary ids behind a model's columns, int array `(C,)`."""
    return np.array(find_layer(model, ClassProbabilities).class_ids)


def frame_spec(model: keras.Model) -> FrameSpec:
    """The `FrameSpec` of the data a model takes."""
    return find_layer(model, FrameFeatures).spec


def find_layer(model: keras.Model, kind: type) -> keras.layers.Layer:
    """The first layer of a kind; `ValueError` where a model has none."""
    for layer in model.layers:
        if isinstance(layer, kind):
            return layer
    raise ValueError(
        f"The model must have a `{kind.__name__}` layer: pass one built by "
        f"`kit.models` or `kit.presets`. Received: model={model.name}"
    )


def precision(model: keras.Model) -> str:
    """Name of the dtype policy that a model of this module computes in."""
    return find_layer(model, FrameFeatures).dtype_policy.name
