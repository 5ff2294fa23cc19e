"""What a trained member does inside, as arrays that a figure can show.

Each function recomputes one step of a layer from the layer's own weights, on
what the model feeds it; the model is left as it is.
"""

from collections.abc import Iterator, Mapping

import keras
import numpy as np
import pandas as pd
from keras import ops

from kit import models
from kit.inference import windows
from kit.layers import MixtureOfExperts, NetVLAD, NeXtVLAD, TransformerEncoder
from kit.models.endpoints import find_layer


def first_with(files: Mapping, *kinds: type) -> Iterator:
    """The first member that has a layer of one of these kinds, if any has.

    A loop over it runs once, or not at all.

    Args:
        files: Name to `.keras` file.
        kinds: Classes of `kit.layers`.

    Yields:
        Name and model.
    """
    for name, path in files.items():
        model = keras.saving.load_model(path)
        if any(isinstance(layer, kinds) for layer in model.layers):
            yield name, model
            return


def assignments(model: keras.Model, frames: np.ndarray) -> dict:
    """How much of each frame goes to each cluster: equation 8, or 13.

    Args:
        model: With `NetVLAD` or `NeXtVLAD` layers.
        frames: One video, uint8 `(num_frames, dim)`.

    Returns:
        Modality to `(num_frames, num_clusters)`, whose rows sum to 1.  Of a
        NeXtVLAD the mean over its groups, weighted by their attention
        (equation 12); of several branches the first.
    """
    inputs = {"frames": frames[None], "mask": np.ones((1, len(frames)), bool)}
    found = {}
    for layer in model.layers:
        modality = layer.name.split("_")[0]
        if isinstance(layer, NetVLAD | NeXtVLAD) and modality not in found:
            x, _ = _fed_to(layer, model, inputs)
            shares = _netvlad if isinstance(layer, NetVLAD) else _nextvlad
            found[modality] = ops.convert_to_numpy(shares(layer, x))[0]
    return found


def attention(model: keras.Model, inputs: dict) -> np.ndarray:
    """Which frames each head attends to: the softmax of equation 2.

    Of several transformers it is the last, which joins the modalities of a
    cross-modal member.

    Args:
        model: With a `TransformerEncoder`.
        inputs: `frames` `(n, num_frames, dim)` and `mask` `(n, num_frames)`.

    Returns:
        `(n, num_layers, num_heads, num_frames, num_frames)`.  The last axis,
        the frames attended to, sums to 1 and is 0 at masked frames.
    """
    encoder = [x for x in model.layers if isinstance(x, TransformerEncoder)][-1]
    x, mask = _fed_to(encoder, model, inputs)
    if encoder.max_positions is not None:
        x = x + encoder.positions[: x.shape[1]]
    found = []
    for layer in encoder.layers:
        fed = layer.attention_norm(x) if layer.norm_first else x
        _, weights = layer.attention(
            fed, fed, attention_mask=mask[:, None], return_attention_scores=True
        )
        found.append(ops.convert_to_numpy(weights))
        x = layer(x, mask=mask)
    return np.stack(found, axis=1)


def experts(model: keras.Model, inputs: dict, class_id: int) -> tuple:
    """What the experts say of one class, and whom the gates believe.

    Args:
        model: With a `MixtureOfExperts` head.
        inputs: `frames` `(n, num_frames, dim)` and `mask` `(n, num_frames)`.
        class_id: One of the model's.

    Returns:
        Gates `(n, num_mixtures + 1)`, of which the last is the null expert's;
        experts `(n, num_mixtures)`; and the model's probability `(n,)`: the
        sum of gate times expert, times the output gate where there is one.
    """
    head = find_layer(model, MixtureOfExperts)
    column = models.class_ids(model).tolist().index(class_id)
    (x,) = _fed_to(head, model, inputs)
    probability = model(inputs)[:, column]
    if head.output_columns is not None:
        column = head.output_columns[column]
    said = ops.matmul(x, head.expert_kernel[..., column])
    said = ops.sigmoid(said + head.expert_bias[:, column])
    if head.gate_rank is not None:
        x = ops.matmul(x, head.gate_factor)
    gates = ops.softmax(ops.matmul(x, head.gate_kernel[..., column]))
    return tuple(map(ops.convert_to_numpy, (gates, said, probability)))


def shifted(
    model: keras.Model, frames: np.ndarray, class_id: int, shifts=(-1, 1)
) -> pd.DataFrame:
    """What each shift sees of one video, and how it scores one class.

    Args:
        frames: One video, uint8 `(num_frames, dim)`.
        shifts: First and last shift.

    Returns:
        A row per shift and segment: `shift`, `start`, `frames`, a tuple of
        those that are not masked, and `score`.
    """
    length = models.frame_spec(model).segment_frames
    used = windows.shift_range(*shifts, length)
    mask = np.ones((1, len(frames)), bool)
    column = models.class_ids(model).tolist().index(class_id)
    blocks = windows.segment_probabilities(model, frames[None], mask, used)
    table = []
    for rows, starts, found in blocks:
        for shift, scores in zip(used, found[..., column], strict=True):
            cut = windows.window_frames(rows, starts, shift, mask, length)
            for start, frame, real, score in zip(
                starts, *cut, scores, strict=True
            ):
                table.append((shift, start, tuple(frame[real]), score))
    return pd.DataFrame(table, columns=["shift", "start", "frames", "score"])


def _fed_to(layer, model, inputs):
    """What the model feeds a layer: features, and a mask if it takes one."""
    if inputs["frames"].dtype != np.uint8:  # a model casts without a word
        raise ValueError(
            "Frames must be the bytes of the records: quantise them. "
            f"Received: frames.dtype={inputs['frames'].dtype}"
        )
    return keras.tree.flatten(keras.Model(model.input, layer.input)(inputs))


def _netvlad(layer, x):
    logits = ops.matmul(x, layer.kernel)  # (1, T, K)
    if layer.use_batch_norm:
        return ops.softmax(layer.batch_norm(logits))
    return ops.softmax(logits + layer.bias)


def _nextvlad(layer, x):
    x = layer.expand(x)
    logits = layer.assign(x)
    if layer.use_batch_norm:
        logits = layer.assign_norm(logits)
    groups = (1, -1, layer.num_groups, layer.num_clusters)
    shares = ops.softmax(ops.reshape(logits, groups))  # (1, T, G, K)
    weights = ops.sigmoid(layer.attend(x))[..., None]  # (1, T, G, 1)
    return ops.sum(weights * shares, axis=2) / ops.sum(weights, axis=2)
