"""The members that aggregate frames by residuals from cluster centres.

Their shared arguments and what they return are those of `kit.models`.
"""

from collections.abc import Sequence

import keras
from keras import layers

from kit.layers import (
    ClassLogits,
    ContextGating,
    FrameFeatures,
    FramePooling,
    MixtureOfExperts,
    MixtureOfModels,
    NetVLAD,
    NeXtVLAD,
    SegmentMask,
    SqueezeExcitationGating,
)
from kit.models.endpoints import classifier, frame_inputs
from kit.spec import YOUTUBE_8M, FrameSpec


def gated_netvlad(
    class_ids: Sequence[int],
    spec: FrameSpec = YOUTUBE_8M,
    *,
    num_clusters: int = 16,
    hidden_dim: int = 1024,
    num_mixtures: int = 5,
    momentum: float = 0.99,
    context: int = 0,
) -> keras.Model:
    """Gated NetVLAD: equations 7 to 10, MoE, and a gate on probabilities.

    Audio has half the clusters.  77.4 M parameters; 155 MFLOP at 5 frames.

    Args:
        context: Frames of a window on each side of the segment.  There are
            then two descriptors by the same clusters, one of the whole window
            and one of the segment.
    """
    inputs = frame_inputs(spec)
    parts = FrameFeatures(spec, split=True, name="frame_features")(**inputs)
    masks = [inputs["mask"]]
    if context:
        masks.append(SegmentMask(context, name="segment")(inputs["mask"]))
    x = []
    for name, part, share in _modalities(spec, parts):
        netvlad = NetVLAD(
            -(-num_clusters // share),
            momentum=momentum,
            name=f"{name}_netvlad",
        )
        x += [netvlad(part, mask=mask) for mask in masks]
    x = _concatenate(x, "descriptor")
    x = layers.Dense(hidden_dim, use_bias=False, name="hidden")(x)
    x = layers.BatchNormalization(momentum=momentum, name="hidden_norm")(x)
    x = ContextGating(momentum=momentum, name="context_gating")(x)
    x = MixtureOfExperts(
        len(class_ids),
        num_mixtures,
        output_gating=True,
        momentum=momentum,
        name="head",
    )(x)
    return classifier(inputs, x, class_ids, "gated_netvlad")


def mix_next_vlad(
    class_ids: Sequence[int],
    spec: FrameSpec = YOUTUBE_8M,
    *,
    num_branches: int = 3,
    **branch,
) -> keras.Model:
    """Mixture of NeXtVLADs that learn from their mixture: equations 15 to 19.

    The model returned gives the mixture's probabilities, and is what to save;
    `training_model` gives the one to train.

    Args:
        num_branches: NeXtVLADs in the mixture, at least two.
        branch: Arguments of `next_vlad_logits`.

    236.2 M parameters; 2.0 GFLOP at 60 frames, 8.2 GFLOP at 300.
    """
    inputs = frame_inputs(spec)
    mask = inputs["mask"]
    parts = FrameFeatures(spec, split=True, name="frame_features")(**inputs)
    logits = [
        next_vlad_logits(
            parts, mask, spec, len(class_ids), suffix=f"_{index}", **branch
        )
        for index in range(num_branches)
    ]
    x = _concatenate(parts, "joint_frames")
    x = FramePooling("mean", name="frame_mean")(x, mask=mask)
    x, _ = MixtureOfModels(name="mixture")(x, logits)
    return classifier(inputs, x, class_ids, "mix_next_vlad", from_logits=True)


def next_vlad_logits(
    parts: Sequence[keras.KerasTensor],
    mask: keras.KerasTensor,
    spec: FrameSpec,
    num_classes: int,
    *,
    num_clusters: int = 112,
    num_groups: int = 8,
    expansion: float = 2,
    hidden_dim: int = 2048,
    reduction: int = 16,
    dropout_rate: float = 0.5,
    momentum: float = 0.99,
    suffix: str = "",
) -> keras.KerasTensor:
    """NeXtVLAD as part of a model: equations 11 to 14, a gate, and logits.

    Args:
        parts: What `FrameFeatures` with `split=True` returns.
        mask: True for real frames, `(batch_size, num_frames)`.
        num_clusters: Clusters of the visual features; audio has half.
        num_groups: Groups of the visual features; audio has half.
        reduction: Of the squeeze-and-excitation gate.
        dropout_rate: Of the descriptor.
        suffix: Of the layers' names, where a model has more than one branch.

    Returns:
        Logits `(batch_size, num_classes)`.
    """
    x = [
        NeXtVLAD(
            -(-num_clusters // share),
            num_groups=-(-num_groups // share),
            expansion=expansion,
            momentum=momentum,
            name=f"{name}_nextvlad{suffix}",
        )(part, mask=mask)
        for name, part, share in _modalities(spec, parts)
    ]
    x = _concatenate(x, f"descriptor{suffix}")
    x = layers.Dropout(dropout_rate, name=f"dropout{suffix}")(x)
    x = layers.Dense(hidden_dim, use_bias=False, name=f"hidden{suffix}")(x)
    x = layers.BatchNormalization(
        momentum=momentum, name=f"hidden_norm{suffix}"
    )(x)
    x = SqueezeExcitationGating(
        reduction, momentum=momentum, name=f"context_gating{suffix}"
    )(x)
    return ClassLogits(num_classes, name=f"head{suffix}")(x)


def _modalities(spec, parts):
    """Name, features, and the divisor of sizes, of each modality there is.

    Sizes are rounded up, so that an odd one leaves audio at least one.
    """
    modalities = [("visual", spec.rgb, 1), ("audio", spec.audio, 2)]
    modalities = [modality for modality in modalities if modality[1]]
    for (name, _, share), part in zip(modalities, parts, strict=True):
        yield name, part, share


def _concatenate(parts, name):
    if len(parts) == 1:
        return parts[0]
    return layers.Concatenate(name=name)(parts)
