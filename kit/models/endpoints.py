"""What every model has in common: its inputs, its last layer, its facts."""

from collections.abc import Sequence

import keras
import numpy as np

from kit.layers import ClassProbabilities, FrameFeatures, SegmentMask
from kit.spec import FrameSpec


@keras.saving.register_keras_serializable(package="kit")
class FrameModel(keras.Model):
    """A Functional model that takes bytes and refuses anything else.

    Keras casts whatever it is given to the dtype of an `Input`, so that
    frames already dequantised would be cut down to bytes and predicted
    without a word.  Here they are an error, in `predict`, `fit` and a call
    alike, and in the model that a `.keras` file holds.

    On JAX Keras loses the weights of a model where a step of `predict` or
    `fit` fails for whatever reason: load them again.

    Raises:
        ValueError: Where frames are not uint8.
    """

    def call(self, inputs, training=None, mask=None):
        named = inputs
        if not isinstance(inputs, dict):  # Keras takes them in this order
            flat = keras.tree.flatten(inputs)
            named = dict(zip(sorted(self.input), flat, strict=False))
        for name, expected in self.input.items():
            if expected.dtype != "uint8" or name not in named:
                continue
            dtype = keras.backend.standardize_dtype(named[name].dtype)
            if dtype != "uint8":
                raise ValueError(
                    "Frames must be the bytes of the records, which the model "
                    "dequantises itself: pass uint8. Floats between -2 and 2 "
                    "become bytes again by `(x - OFFSET) / SCALE`, rounded, "
                    "with the numbers of `kit.spec`. "
                    f"Received: {name}.dtype={dtype}"
                )
        return super().call(inputs, training=training, mask=mask)


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
) -> FrameModel:
    """The model from its inputs to the probabilities of `class_ids`.

    Args:
        inputs: Of `frame_inputs`.
        outputs: Of a head of `kit.layers`, `MixtureOfExperts` or
            `ClassLogits`, which can be restricted to some classes.
        class_ids: The vocabulary id of each column of `outputs`.
        from_logits: Whether `outputs` are logits.
    """
    outputs = ClassProbabilities(
        class_ids, from_logits=from_logits, name="probabilities"
    )(outputs)
    return FrameModel(inputs, outputs, name=name)


def class_ids(model: keras.Model) -> np.ndarray:
    """The vocabulary ids behind a model's columns, int array `(C,)`."""
    return np.array(find_layers(model, ClassProbabilities)[0].class_ids)


def frame_spec(model: keras.Model) -> FrameSpec:
    """The `FrameSpec` of the data a model takes."""
    return find_layers(model, FrameFeatures)[0].spec


def context(model: keras.Model) -> int:
    """Frames on each side of a segment that a model takes beside it."""
    marks = [layer for layer in model.layers if isinstance(layer, SegmentMask)]
    return marks[0].context if marks else 0


def window_frames(model: keras.Model) -> int:
    """Frames of the windows that a model ranks: a segment and its context."""
    return frame_spec(model).segment_frames + 2 * context(model)


def check_window(model: keras.Model, num_frames: int) -> None:
    """Refuses windows without the context that a model takes, or with more."""
    if num_frames != window_frames(model):
        raise ValueError(
            f"The model takes windows of {window_frames(model)} frames: give "
            "`Pack` or `shifted_windows` its spec and its `models.context`. "
            f"Received: windows of {num_frames}"
        )


def trace_predict(model: keras.Model, data: list) -> None:
    """Traces `predict_function` for data like these, where it was not yet.

    TensorFlow warns when calls trace too often.  It would warn about the many
    models of a notebook, though each is traced once.
    """
    if keras.backend.backend() != "tensorflow" or model.predict_function:
        return
    model.make_predict_function()
    if not model.run_eagerly:
        model.predict_function.get_concrete_function(data)


def find_layers(model: keras.Model, *kinds: type) -> list:
    """The layers of these kinds; `ValueError` where a model has none."""
    layers = [layer for layer in model.layers if isinstance(layer, kinds)]
    if not layers:
        names = " or ".join(f"`{kind.__name__}`" for kind in kinds)
        raise ValueError(
            f"The model must have {names}: choose one that has it. "
            f"Received: model={model.name}"
        )
    return layers
