"""The transformer encoder of BERT, on frames in place of words."""

import keras
from keras import ops

from kit.layers.masking import frame_mask


@keras.saving.register_keras_serializable(package="kit")
class TransformerLayer(keras.layers.Layer):
    """Self-attention and a feed-forward network, each with a residual.

    Equations 2 and 3 of the paper: multi-head attention of frames to frames,
    then two dense layers with GELU on each frame.  Normalisation follows each
    residual sum, as in BERT.

    Args:
        num_heads: Attention heads; they must divide the width of the input.
        feed_forward_dim: Width of the hidden layer on each frame.
        dropout_rate: Dropout of attention weights and of both branches.

    Call arguments:
        inputs: Tensor of shape `(batch_size, num_frames, dim)`.
        mask: Boolean tensor of shape `(batch_size, num_frames)`, true for
            real frames.  No frame attends to one whose mask is false; the
            output at such a frame means nothing.
        return_attention_scores: Whether to return the softmax of equation 2
            too, as `keras.layers.MultiHeadAttention` does.

    Output:
        Tensor of shape `(batch_size, num_frames, dim)`; with scores a second
        one of shape `(batch_size, num_heads, num_frames, num_frames)`, whose
        last axis, the frames attended to, sums to 1.

    Example:

    >>> layer = TransformerLayer(num_heads=2, feed_forward_dim=16)
    >>> layer(np.ones((2, 5, 8), dtype="float32")).shape
    (2, 5, 8)

    Reference:

    - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)
    - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    def __init__(self, num_heads, feed_forward_dim, dropout_rate=0.1, **kwargs):
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
        wide = self.feed_forward_dim
        self.feed_forward = self._dense("feed_forward", dim, wide, "gelu")
        self.project = self._dense("project", wide, dim)
        self.attention_norm = self._layer_norm("attention_norm", dim)
        self.output_norm = self._layer_norm("output_norm", dim)
        self.dropout = keras.layers.Dropout(
            self.dropout_rate, dtype=self.dtype_policy, name="dropout"
        )

    def _dense(self, name, dim, units, activation=None):
        layer = keras.layers.Dense(
            units,
            activation=activation,
            kernel_initializer=_initializer(),
            dtype=self.dtype_policy,
            name=name,
        )
        layer.build((None, None, dim))
        return layer

    def _layer_norm(self, name, dim):
        layer = keras.layers.LayerNormalization(
            epsilon=1e-6, name=name, dtype=self.dtype_policy
        )
        layer.build((None, None, dim))
        return layer

    def call(
        self, inputs, mask=None, training=None, return_attention_scores=False
    ):
        attended = self.attention(
            inputs,
            inputs,
            attention_mask=ops.expand_dims(frame_mask(inputs, mask), 1),
            training=training,
            return_attention_scores=return_attention_scores,
        )
        x, scores = attended if return_attention_scores else (attended, None)
        x = self.attention_norm(inputs + self.dropout(x, training=training))
        y = self.project(self.feed_forward(x))
        x = self.output_norm(x + self.dropout(y, training=training))
        return (x, scores) if return_attention_scores else x

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        config = {
            "num_heads": self.num_heads,
            "feed_forward_dim": self.feed_forward_dim,
            "dropout_rate": self.dropout_rate,
        }
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="kit")
class TransformerEncoder(keras.layers.Layer):
    """A stack of `TransformerLayer`s.

    As in the paper's models there is no position embedding, so the encoder
    treats frames as a set: permuting its input permutes its output.

    Args:
        num_layers: Layers in the stack.
        num_heads: Attention heads of each layer.
        feed_forward_dim: Hidden width of each layer's feed-forward network.
        dropout_rate: Dropout in each layer.

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
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_layers < 1:
            rule = "`num_layers` must be at least 1."
            raise ValueError(f"{rule} Received: num_layers={num_layers}")
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.feed_forward_dim = feed_forward_dim
        self.dropout_rate = dropout_rate
        self.supports_masking = True

    def build(self, input_shape):
        self.layers = []
        for index in range(self.num_layers):
            layer = TransformerLayer(
                self.num_heads,
                self.feed_forward_dim,
                dropout_rate=self.dropout_rate,
                dtype=self.dtype_policy,
                name=f"layer_{index}",
            )
            layer.build(input_shape)
            self.layers.append(layer)

    def call(self, inputs, mask=None, training=None):
        x = inputs
        for layer in self.layers:
            x = layer(x, mask=mask, training=training)
        return x

    def attention_scores(self, inputs, mask=None):
        """Which frames each head attends to: the softmax of equation 2.

        Returns:
            Tensor of shape `(batch_size, num_layers, num_heads, num_frames,
            num_frames)`.  The last axis, the frames attended to, sums to 1
            and is zero at masked frames.
        """
        x, of_layers = inputs, []
        for layer in self.layers:
            x, scores = layer(x, mask=mask, return_attention_scores=True)
            of_layers.append(scores)
        return ops.stack(of_layers, axis=1)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        config = {
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "feed_forward_dim": self.feed_forward_dim,
            "dropout_rate": self.dropout_rate,
        }
        return {**super().get_config(), **config}


def _initializer():
    """BERT's initializer; a fresh one for each weight, or all start alike."""
    return keras.initializers.TruncatedNormal(stddev=0.02)
