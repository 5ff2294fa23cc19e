"""The members that let frames attend to each other, as BERT does words.

Their shared arguments and what they return are those of `kit.models`.
"""

from collections.abc import Sequence

import keras
from keras import layers

from kit.layers import (
    FrameFeatures,
    FramePooling,
    MixtureOfExperts,
    TransformerEncoder,
)
from kit.models.endpoints import YOUTUBE_8M, classifier, frame_inputs
from kit.spec import FrameSpec


def bert(
    class_ids: Sequence[int],
    spec: FrameSpec = YOUTUBE_8M,
    *,
    num_layers: int = 2,
    num_heads: int = 12,
    feed_forward_dim: int = 3072,
    projection_dim: int | None = None,
    pooling: str = "mean",
    num_frames: int | None = None,
    dropout_rate: float = 0.1,
    max_positions: int | None = None,
    num_mixtures: int = 5,
) -> keras.Model:
    """BERT on frames, a pooling of its tokens, and MoE: equations 2 to 6.

    Args:
        projection_dim: Width to which a dense layer brings the frames first;
            `None`, the paper's models, for the width they have.
        pooling: A mode of `FramePooling`.  `"concat"` needs `num_frames`.
        num_frames: A fixed number of frames; `None` for any.

    73.8 M parameters and 346 MFLOP at 5 frames; with the 5 tokens
    concatenated 269.5 M and 737 MFLOP (three layers: 281.9 M, 861 MFLOP).
    """
    inputs = frame_inputs(spec, num_frames)
    x = FrameFeatures(spec, name="frame_features")(**inputs)
    if projection_dim is not None:
        x = layers.Dense(projection_dim, name="projection")(x)
    x = TransformerEncoder(
        num_layers,
        num_heads,
        feed_forward_dim,
        dropout_rate=dropout_rate,
        max_positions=max_positions,
        name="encoder",
    )(x, mask=inputs["mask"])
    x = FramePooling(pooling, name="pooling")(x, mask=inputs["mask"])
    x = MixtureOfExperts(len(class_ids), num_mixtures, name="head")(x)
    return classifier(inputs, x, class_ids, f"bert_{pooling}")


def bert_cross(
    class_ids: Sequence[int],
    spec: FrameSpec = YOUTUBE_8M,
    *,
    num_layers: int = 1,
    num_heads: int = 8,
    feed_forward_dim: int = 3072,
    projection_dim: int | None = None,
    join: str = "features",
    pooling: str = "mean",
    num_frames: int | None = None,
    dropout_rate: float = 0.1,
    num_mixtures: int = 5,
) -> keras.Model:
    """Cross-modal BERT: a transformer a modality, then a joint one, eq. 4.

    Args:
        num_layers: Layers of each of the three transformers.
        projection_dim: Width of the joint transformer's tokens, to which
            dense layers bring the modalities first; `None` for the widths
            they have.
        join: `"features"`, as published: the two tokens of a frame become
            one, side by side.  `"frames"`: both go on as tokens of their
            own, which needs `projection_dim`.
        pooling: A mode of `FramePooling`.  `"concat"` needs `num_frames`.
        num_frames: A fixed number of frames; `None` for any.

    72.7 M parameters; 335 MFLOP at 5 frames.
    """
    _check_join(spec, join, projection_dim)
    inputs = frame_inputs(spec, num_frames)
    mask = inputs["mask"]

    def encoder(name):
        return TransformerEncoder(
            num_layers,
            num_heads,
            feed_forward_dim,
            dropout_rate=dropout_rate,
            name=f"{name}_encoder",
        )

    parts = FrameFeatures(spec, split=True, name="frame_features")(**inputs)
    tokens = []
    for name, x in zip(("visual", "audio"), parts, strict=True):
        if projection_dim is not None:
            width = projection_dim // (2 if join == "features" else 1)
            x = layers.Dense(width, name=f"{name}_projection")(x)
        tokens.append(encoder(name)(x, mask=mask))
    axis = -1 if join == "features" else 1
    x = layers.Concatenate(axis=axis, name="joint_tokens")(tokens)
    if join == "frames":
        mask = layers.Concatenate(axis=1, name="joint_mask")([mask, mask])
    x = encoder("joint")(x, mask=mask)
    x = FramePooling(pooling, name="pooling")(x, mask=mask)
    x = MixtureOfExperts(len(class_ids), num_mixtures, name="head")(x)
    return classifier(inputs, x, class_ids, f"bert_cross_{pooling}")


def _check_join(spec, join, projection_dim):
    if not (spec.rgb and spec.audio):
        raise ValueError(
            "Cross-modal BERT needs two modalities: use `bert` for one. "
            f"Received: spec={spec}"
        )
    if join not in ("features", "frames"):
        raise ValueError(
            f"`join` must be 'features' or 'frames'. Received: join={join!r}"
        )
    if join == "frames" and projection_dim is None:
        raise ValueError(
            "`join='frames'` needs tokens of one width: give "
            "`projection_dim`. Received: projection_dim=None"
        )
