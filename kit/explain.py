"""What a trained member does inside, as arrays that a figure can show.

Each function asks the layers themselves, on what the model feeds them; the
model is left as it is.  `inputs` are those of a model: `frames`
`(n, num_frames, dim)` and `mask` `(n, num_frames)`.
"""

from collections.abc import Mapping

import keras
import numpy as np

from kit import models
from kit.layers import MixtureOfExperts, NetVLAD, NeXtVLAD, TransformerEncoder


def assignments(model: keras.Model, inputs: Mapping) -> dict[str, np.ndarray]:
    """How each frame is shared out among the clusters: equation 8, or 13.

    Args:
        model: With `NetVLAD` or `NeXtVLAD` layers.
        inputs: Frames and mask.

    Returns:
        Modality to float32 `(n, num_frames, num_clusters)`, which sums to 1
        over the clusters and is zero where a frame is masked.  Of a NeXtVLAD
        the mean over its groups, weighted by their attention; of several
        branches the first.
    """
    shares = {}
    for layer in models.find_layers(model, NetVLAD, NeXtVLAD):
        modality = layer.name.split("_")[0]
        if modality in shares:
            continue
        weights = layer.assign(*_fed_to(layer, model, inputs))
        weights = keras.ops.convert_to_numpy(weights)
        if isinstance(layer, NeXtVLAD):
            weights = weights.sum(axis=2)  # of the groups
        total = weights.sum(axis=-1, keepdims=True)
        shares[modality] = weights / np.where(total > 0, total, 1)
    return shares


def attention(model: keras.Model, inputs: Mapping) -> np.ndarray:
    """Which frames each head attends to: the softmax of equation 2.

    Of several transformers it is the last, which joins the modalities of a
    cross-modal member.

    Args:
        model: With a `TransformerEncoder`.
        inputs: Frames and mask.

    Returns:
        `(n, num_layers, num_heads, num_frames, num_frames)`.  The last axis,
        the frames attended to, sums to 1 and is zero at masked frames.
    """
    encoder = models.find_layers(model, TransformerEncoder)[-1]
    scores = encoder.attention_scores(*_fed_to(encoder, model, inputs))
    return keras.ops.convert_to_numpy(scores)


def experts(model: keras.Model, inputs: Mapping, class_id: int) -> tuple:
    """What the experts answer for one class, and whom the gates believe.

    Args:
        model: With a `MixtureOfExperts` head.
        inputs: Frames and mask.
        class_id: One of the model's.

    Returns:
        Gates `(n, num_mixtures + 1)`, of which the last is the null expert's;
        experts `(n, num_mixtures)`; and the model's probability `(n,)`: the
        sum of gate times expert, times the output gate where there is one.
    """
    (head,) = models.find_layers(model, MixtureOfExperts)
    class_ids = models.class_ids(model).tolist()
    if class_id not in class_ids:
        raise ValueError(
            "The model must have the class: give one of "
            f"`kit.models.class_ids(model)`. Received: class_id={class_id!r}"
        )
    column = class_ids.index(class_id)
    probability = model(inputs)[:, column]
    if head.output_columns is not None:  # its experts are those of all classes
        column = head.output_columns[column]
    (x,) = _fed_to(head, model, inputs)
    gates, answers = head.gates(x)[..., column], head.experts(x)[..., column]
    return tuple(map(keras.ops.convert_to_numpy, (gates, answers, probability)))


def _fed_to(layer, model, inputs):
    """What the model feeds a layer: features, and a mask if it takes one."""
    part = models.FrameModel(model.input, layer.input)
    return keras.tree.flatten(part(inputs))
