"""Gates by which a representation weighs its own dimensions."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kit")
class ContextGating(keras.layers.Layer):
    """Multiplies a vector by a gate computed from the whole of it.

    Equation 10 of the paper, `z = sigmoid(W y + b) * y`, on a vector of H
    dimensions with an H x H matrix.

    Paper: section 4 writes a JK x JK matrix, but says that the gate acts on
    the hidden vector, which has H dimensions.  As in the published models,
    the gate is normalised over the batch before the sigmoid, and the offset
    of that normalisation takes the place of `b`.

    Args:
        momentum: Momentum of the batch normalisation's moving moments.
        columns: Which dimensions to return, as a list of indices; `None` for
            all.  The gate still sees every dimension.  This is how a gate
            over class probabilities is restricted to some classes without
            changing theirs.

    Call arguments:
        inputs: Tensor of shape `(batch_size, dim)`.

    Output:
        Tensor of shape `(batch_size, dim)`, or `(batch_size, len(columns))`.

    Example:

    >>> ContextGating()(np.ones((2, 8), dtype="float32")).shape
    (2, 8)

    Reference:

    - [Miech et al., 2017](https://arxiv.org/abs/1706.06905)
    """

    def __init__(self, momentum=0.99, columns=None, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.columns = columns

    def build(self, input_shape):
        dim = input_shape[-1]
        outputs = dim if self.columns is None else len(self.columns)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(dim, outputs),
            initializer=keras.initializers.RandomNormal(stddev=dim**-0.5),
        )
        self.batch_norm = keras.layers.BatchNormalization(
            momentum=self.momentum, dtype=self.dtype_policy, name="batch_norm"
        )
        self.batch_norm.build((None, outputs))

    def call(self, inputs, training=None):
        gate = ops.matmul(inputs, self.kernel)
        gate = self.batch_norm(gate, training=training)
        if self.columns is not None:
            inputs = ops.take(inputs, self.columns, axis=-1)
        return inputs * ops.sigmoid(gate)

    def compute_output_shape(self, input_shape):
        if self.columns is None:
            return tuple(input_shape)
        return (*input_shape[:-1], len(self.columns))

    def get_config(self):
        config = {"momentum": self.momentum, "columns": self.columns}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="kit")
class SqueezeExcitationGating(keras.layers.Layer):
    """Context gating through a bottleneck: r / 2 times fewer parameters.

    `z = sigmoid(V relu(norm(U y)) + b) * y`, where U squeezes the vector to a
    `reduction`-th of its dimensions and V excites it back.

    Args:
        reduction: How many times narrower the bottleneck is.
        momentum: Momentum of the batch normalisation's moving moments.

    Call arguments:
        inputs: Tensor of shape `(batch_size, dim)`.

    Output:
        Tensor of shape `(batch_size, dim)`.

    Example:

    >>> SqueezeExcitationGating(4)(np.ones((2, 8), dtype="float32")).shape
    (2, 8)

    Reference:

    - [Hu et al., 2017](https://arxiv.org/abs/1709.01507)
    - [Lin et al., 2018](https://arxiv.org/abs/1811.05014)
    """

    def __init__(self, reduction=16, momentum=0.99, **kwargs):
        super().__init__(**kwargs)
        if reduction < 1:
            rule = "`reduction` must be at least 1; 16 is usual."
            raise ValueError(f"{rule} Received: reduction={reduction}")
        self.reduction = reduction
        self.momentum = momentum

    def build(self, input_shape):
        dim = input_shape[-1]
        narrow = dim // self.reduction
        if narrow == 0:
            raise ValueError(
                "`reduction` cannot exceed the width of the input: lower it. "
                f"Received: reduction={self.reduction}, width={dim}"
            )
        self.squeeze = keras.layers.Dense(
            narrow, use_bias=False, dtype=self.dtype_policy, name="squeeze"
        )
        self.squeeze.build((None, dim))
        self.batch_norm = keras.layers.BatchNormalization(
            momentum=self.momentum, dtype=self.dtype_policy, name="batch_norm"
        )
        self.batch_norm.build((None, narrow))
        self.excite = keras.layers.Dense(
            dim, activation="sigmoid", dtype=self.dtype_policy, name="excite"
        )
        self.excite.build((None, narrow))

    def call(self, inputs, training=None):
        x = self.squeeze(inputs)  # (B, D / r)
        x = self.batch_norm(x, training=training)
        return inputs * self.excite(ops.relu(x))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        config = {"reduction": self.reduction, "momentum": self.momentum}
        return {**super().get_config(), **config}
