"""The architectures of the paper, and the baselines it names.

Every builder returns a Functional `keras.Model` that takes a dictionary of
`frames`, the bytes of the records `(batch_size, num_frames, spec.dim)`, and
`mask`, true for real frames `(batch_size, num_frames)`, and returns float32
probabilities `(batch_size, num_classes)`.  The model knows its `FrameSpec` and
the ids behind its columns, and keeps both when it is saved.

Arguments that all builders share:

- `class_ids`: the vocabulary id of each column.
- `spec`: the `FrameSpec` of the data.
- `num_mixtures`: experts a class in the `MixtureOfExperts` head.
- `momentum`: of the moving moments of every batch normalisation.

Costs are given for the paper's sizes: 3,862 classes, M million parameters,
and multiply-adds counted as two FLOP in one forward pass of one example.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from kit.layers import (
    ClassProbabilities,
    ContextGating,
    FrameFeatures,
    FramePooling,
    MixtureOfExperts,
    MixtureOfModels,
    NetVLAD,
    NeXtVLAD,
    SqueezeExcitationGating,
    TransformerEncoder,
)
from kit.spec import FrameSpec

YOUTUBE_8M = FrameSpec()


def gated_netvlad(
    class_ids: Sequence[int],
    spec: FrameSpec = YOUTUBE_8M,
    *,
    num_clusters: int = 16,
    hidden_dim: int = 1024,
    num_mixtures: int = 5,
    momentum: float = 0.99,
) -> keras.Model:
    """Gated NetVLAD: equations 7 to 10, MoE, and a gate on probabilities.

    Audio has half the clusters.  83.0 M parameters; 166 MFLOP at 5 frames.
    """
    inputs = _inputs(spec)
    parts = FrameFeatures(spec, split=True, name="frame_features")(**inputs)
    x = [
        NetVLAD(size, momentum=momentum, name=f"{name}_netvlad")(
            part, mask=inputs["mask"]
        )
        for name, part, size in _modalities(spec, parts, num_clusters)
    ]
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
    return _model(inputs, x, class_ids, "gated_netvlad")


def next_vlad(
    class_ids: Sequence[int],
    spec: FrameSpec = YOUTUBE_8M,
    *,
    num_clusters: int = 112,
    num_groups: int = 8,
    expansion: float = 2,
    hidden_dim: int = 2048,
    reduction: int = 16,
    dropout_rate: float = 0.5,
    momentum: float = 0.99,
) -> keras.Model:
    """NeXtVLAD: equations 11 to 14, SE context gating, logistic regression.

    Audio has half the clusters and half the groups.  81.4 M parameters;
    2.6 GFLOP at 60 frames, 12.4 GFLOP at 300.
    """
    inputs = _inputs(spec)
    parts = FrameFeatures(spec, split=True, name="frame_features")(**inputs)
    logits = _next_vlad_branch(
        parts,
        inputs["mask"],
        spec,
        len(class_ids),
        num_clusters=num_clusters,
        num_groups=num_groups,
        expansion=expansion,
        hidden_dim=hidden_dim,
        reduction=reduction,
        dropout_rate=dropout_rate,
        momentum=momentum,
    )
    return _model(inputs, logits, class_ids, "next_vlad", from_logits=True)


def mix_next_vlad(
    class_ids: Sequence[int],
    spec: FrameSpec = YOUTUBE_8M,
    *,
    num_branches: int = 3,
    num_clusters: int = 112,
    num_groups: int = 8,
    expansion: float = 2,
    hidden_dim: int = 2048,
    reduction: int = 16,
    dropout_rate: float = 0.5,
    momentum: float = 0.99,
) -> keras.Model:
    """Mixture of NeXtVLADs that learn from their mixture: equations 15 to 19.

    The model returned gives the mixture's probabilities, and is what to save;
    `training_model` gives the one to train.  244 M parameters; 7.8 GFLOP at
    60 frames, 37 GFLOP at 300.
    """
    inputs = _inputs(spec)
    parts = FrameFeatures(spec, split=True, name="frame_features")(**inputs)
    logits = [
        _next_vlad_branch(
            parts,
            inputs["mask"],
            spec,
            len(class_ids),
            suffix=f"_{branch}",
            num_clusters=num_clusters,
            num_groups=num_groups,
            expansion=expansion,
            hidden_dim=hidden_dim,
            reduction=reduction,
            dropout_rate=dropout_rate,
            momentum=momentum,
        )
        for branch in range(num_branches)
    ]
    frame_mean = FramePooling("mean", name="frame_mean")(
        _concatenate(parts, "joint_frames"), mask=inputs["mask"]
    )
    mixture, _ = MixtureOfModels(name="mixture")(frame_mean, logits)
    return _model(inputs, mixture, class_ids, "mix_next_vlad", from_logits=True)


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

    73.8 M parameters and 348 MFLOP at 5 frames; with the 5 tokens
    concatenated 269.5 M and 739 MFLOP (three layers: 281.9 M, 864 MFLOP).
    """
    inputs = _inputs(spec, num_frames)
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
    return _model(inputs, x, class_ids, f"bert_{pooling}")


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

    72.7 M parameters; 338 MFLOP at 5 frames.
    """
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
    inputs = _inputs(spec, num_frames)
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
    return _model(inputs, x, class_ids, f"bert_cross_{pooling}")


def frame_mean(
    class_ids: Sequence[int],
    spec: FrameSpec = YOUTUBE_8M,
    *,
    num_mixtures: int | None = None,
) -> keras.Model:
    """Baseline: logistic regression, or MoE, on the mean frame.

    Args:
        num_mixtures: Experts a class; `None` for logistic regression.
    """
    inputs = _inputs(spec)
    x = FrameFeatures(spec, name="frame_features")(**inputs)
    x = FramePooling("mean", name="pooling")(x, mask=inputs["mask"])
    if num_mixtures is None:
        x = layers.Dense(len(class_ids), name="head")(x)
        return _model(inputs, x, class_ids, "logistic", from_logits=True)
    x = MixtureOfExperts(len(class_ids), num_mixtures, name="head")(x)
    return _model(inputs, x, class_ids, "moe")


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
    over the frames is kept.
    """

    def normalize(x, name, **kwargs):
        x = layers.BatchNormalization(momentum=momentum, name=name)(x, **kwargs)
        return layers.ReLU(6.0, name=f"{name}_relu")(x)

    inputs = _inputs(spec)
    x = FrameFeatures(spec, name="frame_features")(**inputs)
    x = layers.Dense(num_clusters, use_bias=False, name="clusters")(x)
    x = normalize(x, "clusters_norm", mask=inputs["mask"])
    x = FramePooling("max", name="pooling")(x, mask=inputs["mask"])
    x = layers.Dense(hidden_dim, use_bias=False, name="hidden")(x)
    x = normalize(x, "hidden_norm")
    x = MixtureOfExperts(len(class_ids), num_mixtures, name="head")(x)
    return _model(inputs, x, class_ids, "dbof")


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
    """
    if cell not in ("gru", "lstm"):
        raise ValueError(
            f"`cell` must be 'gru' or 'lstm'. Received: cell={cell!r}"
        )
    layer = layers.GRU if cell == "gru" else layers.LSTM
    inputs = _inputs(spec)
    x = FrameFeatures(spec, name="frame_features")(**inputs)
    for index in range(num_layers):
        x = layer(
            hidden_dim,
            return_sequences=index < num_layers - 1,
            name=f"{cell}_{index}",
        )(x, mask=inputs["mask"])
    x = MixtureOfExperts(len(class_ids), num_mixtures, name="head")(x)
    return _model(inputs, x, class_ids, cell)


def class_ids(model: keras.Model) -> np.ndarray:
    """The vocabulary ids behind a model's columns, int array `(C,)`."""
    return np.array(_layer(model, ClassProbabilities).class_ids)


def frame_spec(model: keras.Model) -> FrameSpec:
    """The `FrameSpec` of the data a model takes."""
    return _layer(model, FrameFeatures).spec


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
    old_ids = _layer(model, ClassProbabilities).class_ids
    column_of = {class_id: column for column, class_id in enumerate(old_ids)}
    unknown = sorted(set(map(int, class_ids)) - set(column_of))
    if unknown:
        raise ValueError(
            "A model can be restricted to classes it has; see "
            f"`kit.models.class_ids`. Received: unknown class_ids={unknown}"
        )
    columns = [column_of[int(class_id)] for class_id in class_ids]

    def narrowed(layer):
        config = layer.get_config()
        if isinstance(layer, ClassProbabilities):
            config["class_ids"] = [old_ids[column] for column in columns]
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


def _inputs(spec, num_frames=None):
    return {
        "frames": keras.Input(
            (num_frames, spec.dim), dtype="uint8", name="frames"
        ),
        "mask": keras.Input((num_frames,), dtype="bool", name="mask"),
    }


def _model(inputs, outputs, class_ids, name, from_logits=False):
    outputs = ClassProbabilities(
        class_ids, from_logits=from_logits, name="probabilities"
    )(outputs)
    return keras.Model(inputs, outputs, name=name)


def _modalities(spec, parts, size):
    """Name, features and size of each modality; audio's size is half."""
    sizes = {"visual": spec.rgb, "audio": spec.audio}
    names = [name for name, features in sizes.items() if features]
    for name, part in zip(names, parts, strict=True):
        yield name, part, size if name == "visual" else max(size // 2, 1)


def _concatenate(parts, name):
    if len(parts) == 1:
        return parts[0]
    return layers.Concatenate(name=name)(parts)


def _next_vlad_branch(
    parts,
    mask,
    spec,
    num_classes,
    *,
    num_clusters,
    num_groups,
    expansion,
    hidden_dim,
    reduction,
    dropout_rate,
    momentum,
    suffix="",
):
    """Logits `(batch_size, num_classes)` of one NeXtVLAD."""
    x = [
        NeXtVLAD(
            clusters,
            num_groups=max(num_groups * clusters // num_clusters, 1),
            expansion=expansion,
            momentum=momentum,
            name=f"{name}_nextvlad{suffix}",
        )(part, mask=mask)
        for name, part, clusters in _modalities(spec, parts, num_clusters)
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
    return layers.Dense(num_classes, name=f"head{suffix}")(x)


def _layer(model, kind):
    for layer in model.layers:
        if isinstance(layer, kind):
            return layer
    raise ValueError(
        f"The model must have a `{kind.__name__}` layer: pass one built by "
        f"`kit.models` or `kit.presets`. Received: model={model.name}"
    )


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
            value = keras.ops.convert_to_numpy(source)
            if id(source) in gathered:
                value = value[..., columns]
            target.assign(value)
    return clone
