"""The transformer encoder of BERT, on frames in place of words."""

import keras
from keras import ops

from kit.layers.masking import frame_mask


@keras.saving.register_keras_serializable(package="kit")
class TransformerLayer(keras.layers.Layer):
    """Self-attention and a feed-forward network, each with a residual.

    Equations 2 and 3 of the paper: multi-head attention of frames to frames,
    then two dense layers with GELU on each frame.  Normalisation follows each
    residual sum as in BERT (post-norm), or precedes each branch (pre-norm).

    Args:
        num_heads: Attention heads; they must divide the width of the input.
        feed_forward_dim: Width of the hidden layer on each frame.
        dropout_rate: Dropout of attention weights and of both branches.
        norm_first: Pre-norm instead of post-norm.

    Call arguments:
        inputs: Tensor of shape `(batch_size, num_frames, dim)`.
        mask: Boolean tensor of shape `(batch_size, num_frames)`, true for
            real frames.  No frame attends to another where it is false; what
            comes out there means nothing.

    Output:
        Tensor of shape `(batch_size, num_frames, dim)`.

    Example:

    >>> layer = TransformerLayer(num_heads=2, feed_forward_dim=16)
    >>> layer(np.ones((2, 5, 8), dtype="float32")).shape
    (2, 5, 8)

    Reference:

    - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)
    - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    def __init__(
        self,
        num_heads,
        feed_forward_dim,
        dropout_rate=0.1,
        norm_first=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_heads < 1 or feed_forward_dim < 1:
            raise ValueError(
                "`num_heads` and `feed_forward_dim` must be at least 1. "
                f"Received: num_heads={num_heads}, "
                f"feed_forward_dim={feed_forward_dim}"
            )
        self.num_heads = num_heads
        self.feed_forward_dim = feed_forward_dim
        self.dropout_rate = dropout_rate
        self.norm_first = norm_first
        self.supports_masking = True

    def build(self, input_shape):
        dim = input_shape[-1]
        if dim % self.num_heads:
            raise ValueError(
                "`num_heads` must divide the width of the input. "
                f"Received: num_heads={self.num_heads}, width={dim}"
            )
        self.attention = keras.layers.MultiHeadAttention(
            self.num_heads,
            dim // self.num_heads,
            dropout=self.dropout_rate,
            kernel_initializer=_initializer(),
            dtype=self.dtype_policy,
            name="attention",
        )
        self.attention.build(input_shape, input_shape)
        self.feed_forward = self._dense(
            "feed_forward", self.feed_forward_dim, activation="gelu"
        )
        self.feed_forward.build(input_shape)
        self.project = self._dense("project", dim)
        self.project.build((*input_shape[:-1], self.feed_forward_dim))
        self.attention_norm = _layer_norm("attention_norm", self.dtype_policy)
        self.attention_norm.build(input_shape)
        self.output_norm = _layer_norm("output_norm", self.dtype_policy)
        self.output_norm.build(input_shape)
        self.dropout = keras.layers.Dropout(
            self.dropout_rate, dtype=self.dtype_policy, name="dropout"
        )

    def _dense(self, name, units, **kwargs):
        return keras.layers.Dense(
            units,
            kernel_initializer=_initializer(),
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )

    def call(self, inputs, mask=None, training=None):
        attend_to = ops.expand_dims(frame_mask(inputs, mask), 1)  # (B, 1, T)

        def attention(x):
            x = self.attention(
                x, x, attention_mask=attend_to, training=training
            )
            return self.dropout(x, training=training)

        def feed_forward(x):
            x = self.project(self.feed_forward(x))
            return self.dropout(x, training=training)

        if self.norm_first:
            x = inputs + attention(self.attention_norm(inputs))
            return x + feed_forward(self.output_norm(x))
        x = self.attention_norm(inputs + attention(inputs))
        return self.output_norm(x + feed_forward(x))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        config = {
            "num_heads": self.num_heads,
            "feed_forward_dim": self.feed_forward_dim,
            "dropout_rate": self.dropout_rate,
            "norm_first": self.norm_first,
        }
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="kit")
class TransformerEncoder(keras.layers.Layer):
    """A stack of `TransformerLayer`s, with positions if they should count.

    Without a position embedding, as in the paper's models, the encoder treats
    frames as a set: permuting its input permutes its output.

    Args:
        num_layers: Layers in the stack.
        num_heads: Attention heads of each layer.
        feed_forward_dim: Hidden width of each layer's feed-forward network.
        dropout_rate: Dropout in each layer.
        norm_first: Pre-norm instead of post-norm; the stack then ends with a
            normalisation.
        max_positions: The most frames that positions are learnt for; `None`
            for no position embedding.

    Call arguments:
        inputs: Tensor of shape `(batch_size, num_frames, dim)`.
        mask: Boolean tensor of shape `(batch_size, num_frames)`, true for
            real frames.  What comes out at other frames means nothing.

    Output:
        Tensor of shape `(batch_size, num_frames, dim)`.

    Example:

    >>> encoder = TransformerEncoder(2, num_heads=2, feed_forward_dim=16)
    >>> encoder(np.ones((2, 5, 8), dtype="float32")).shape
    (2, 5, 8)

    Reference:

    - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    def __init__(
        self,
        num_layers,
        num_heads,
        feed_forward_dim,
        dropout_rate=0.1,
        norm_first=False,
        max_positions=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_layers < 1:
            raise ValueError(
                "`num_layers` must be at least 1. "
                f"Received: num_layers={num_layers}"
            )
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.feed_forward_dim = feed_forward_dim
        self.dropout_rate = dropout_rate
        self.norm_first = norm_first
        self.max_positions = max_positions
        self.supports_masking = True

    def build(self, input_shape):
        if self.max_positions is not None:
            self.positions = self.add_weight(
                name="positions",
                shape=(self.max_positions, input_shape[-1]),
                initializer=_initializer(),
            )
        self.layers = []
        for index in range(self.num_layers):
            layer = TransformerLayer(
                self.num_heads,
                self.feed_forward_dim,
                dropout_rate=self.dropout_rate,
                norm_first=self.norm_first,
                dtype=self.dtype_policy,
                name=f"layer_{index}",
            )
            layer.build(input_shape)
            self.layers.append(layer)
        if self.norm_first:
            self.output_norm = _layer_norm("output_norm", self.dtype_policy)
            self.output_norm.build(input_shape)

    def call(self, inputs, mask=None, training=None):
        x = inputs
        if self.max_positions is not None:
            x = x + self._positions_of(inputs)
        for layer in self.layers:
            x = layer(x, mask=mask, training=training)
        return self.output_norm(x) if self.norm_first else x

    def _positions_of(self, inputs):
        num_frames = inputs.shape[1]
        if num_frames is not None and num_frames > self.max_positions:
            raise ValueError(
                "There are more frames than positions: raise `max_positions` "
                f"or pass fewer. Received: num_frames={num_frames}, "
                f"max_positions={self.max_positions}"
            )
        return self.positions[: ops.shape(inputs)[1]]

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        config = {
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "feed_forward_dim": self.feed_forward_dim,
            "dropout_rate": self.dropout_rate,
            "norm_first": self.norm_first,
            "max_positions": self.max_positions,
        }
        return {**super().get_config(), **config}


def _initializer():
    """BERT's initializer; a fresh one for each weight, or all start alike."""
    return keras.initializers.TruncatedNormal(stddev=0.02)


def _layer_norm(name, dtype):
    return keras.layers.LayerNormalization(epsilon=1e-6, name=name, dtype=dtype)
