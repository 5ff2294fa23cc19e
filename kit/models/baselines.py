"""The baselines that the paper names and every comparison needs.

Their arguments and what they return are those of `kit.models`.
"""

from collections.abc import Sequence

import keras
from keras import layers

from kit.layers import FrameFeatures, FramePooling, MixtureOfExperts
from kit.models.endpoints import YOUTUBE_8M, classifier, frame_inputs
from kit.spec import FrameSpec


def frame_mean(
    class_ids: Sequence[int],
    spec: FrameSpec = YOUTUBE_8M,
    *,
    num_mixtures: int | None = None,
) -> keras.Model:
    """Baseline: logistic regression, or MoE, on the mean frame.

    The frames are not scaled to unit length: a model without a hidden layer
    learns far sooner from features of about unit size.

    Args:
        num_mixtures: Experts a class; `None` for logistic regression.

    4.5 M parameters and 9 MFLOP; with 5 experts 49.0 M and 98 MFLOP.
    """
    inputs = frame_inputs(spec)
    x = FrameFeatures(spec, normalize=False, name="frame_features")(**inputs)
    x = FramePooling("mean", name="pooling")(x, mask=inputs["mask"])
    if num_mixtures is None:
        x = layers.Dense(len(class_ids), name="head")(x)
        return classifier(inputs, x, class_ids, "logistic", from_logits=True)
    x = MixtureOfExperts(len(class_ids), num_mixtures, name="head")(x)
    return classifier(inputs, x, class_ids, "moe")


def dbof(
    class_ids: Sequence[int],
    spec: FrameSpec = YOUTUBE_8M,
    *,
    num_clusters: int = 8192,
    hidden_dim: int = 1024,
    num_mixtures: int = 5,
    momentum: float = 0.99,
) -> keras.Model:
    """Baseline: deep bag of frames (Abu-El-Haija et al., 2016).

    Each frame is expanded to many clusters, and the largest response of each
    over the frames is kept.  61.4 M parameters; 198 MFLOP at 5 frames.
    """

    def normalize(x, name, **kwargs):
        x = layers.BatchNormalization(momentum=momentum, name=name)(x, **kwargs)
        return layers.ReLU(6.0, name=f"{name}_relu")(x)

    inputs = frame_inputs(spec)
    x = FrameFeatures(spec, name="frame_features")(**inputs)
    x = layers.Dense(num_clusters, use_bias=False, name="clusters")(x)
    x = normalize(x, "clusters_norm", mask=inputs["mask"])
    x = FramePooling("max", name="pooling")(x, mask=inputs["mask"])
    x = layers.Dense(hidden_dim, use_bias=False, name="hidden")(x)
    x = normalize(x, "hidden_norm")
    x = MixtureOfExperts(len(class_ids), num_mixtures, name="head")(x)
    return classifier(inputs, x, class_ids, "dbof")


def recurrent(
    class_ids: Sequence[int],
    spec: FrameSpec = YOUTUBE_8M,
    *,
    cell: str = "gru",
    num_layers: int = 2,
    hidden_dim: int = 1024,
    num_mixtures: int = 5,
) -> keras.Model:
    """Baseline: the last state of a recurrent network over the real frames.

    Args:
        cell: `"gru"` or `"lstm"`.

    GRU 56.5 M parameters and 217 MFLOP at 5 frames; LSTM 60.8 M and 260.
    """
    if cell not in ("gru", "lstm"):
        raise ValueError(
            f"`cell` must be 'gru' or 'lstm'. Received: cell={cell!r}"
        )
    layer = layers.GRU if cell == "gru" else layers.LSTM
    inputs = frame_inputs(spec)
    x = FrameFeatures(spec, name="frame_features")(**inputs)
    for index in range(num_layers):
        x = layer(
            hidden_dim,
            return_sequences=index < num_layers - 1,
            name=f"{cell}_{index}",
        )(x, mask=inputs["mask"])
    x = MixtureOfExperts(len(class_ids), num_mixtures, name="head")(x)
    return classifier(inputs, x, class_ids, cell)
