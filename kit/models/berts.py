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
from kit.models.endpoints import classifier, frame_inputs
from kit.spec import YOUTUBE_8M, FrameSpec


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
    num_mixtures: int = 5,
) -> keras.Model:
    """BERT on frames, a pooling of its tokens, and MoE: equations 2 to 6.

    Args:
        projection_dim: Width of a dense layer before the encoder; `None`, as
            in the paper's models, for no such layer.
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
    pooling: str = "mean",
    num_frames: int | None = None,
    dropout_rate: float = 0.1,
    num_mixtures: int = 5,
) -> keras.Model:
    """Cross-modal BERT: a transformer a modality, then a joint one, eq. 4.

    Args:
        num_layers: Layers of each of the three transformers.
        projection_dim: Width of the joint transformer's tokens.  A dense layer
            first brings each modality to half of it; `None` for no such
            layers.
        pooling: A mode of `FramePooling`.  `"concat"` needs `num_frames`.
        num_frames: A fixed number of frames; `None` for any.

    72.7 M parameters; 335 MFLOP at 5 frames.
    """
    if not (spec.rgb and spec.audio):
        raise ValueError(
            f"It takes two modalities; `bert` takes one. Received: spec={spec}"
        )
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
            x = layers.Dense(projection_dim // 2, name=f"{name}_projection")(x)
        tokens.append(encoder(name)(x, mask=mask))
    x = layers.Concatenate(name="joint_tokens")(tokens)
    x = encoder("joint")(x, mask=mask)
    x = FramePooling(pooling, name="pooling")(x, mask=mask)
    x = MixtureOfExperts(len(class_ids), num_mixtures, name="head")(x)
    return classifier(inputs, x, class_ids, f"bert_cross_{pooling}")
