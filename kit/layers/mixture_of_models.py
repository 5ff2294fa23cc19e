"""Mixture of models: branches averaged by weights that the input decides."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kit")
class MixtureOfModels(keras.layers.Layer):
    """Averages the logits of several models with input-dependent weights.

    Equations 15 and 16 of the paper: the weights are `softmax(W x + b)` of
    the frame mean `x`, and the mixture's logits the weighted sum of the
    branches'.  All in float32, whatever the policy.

    Paper: the published code averaged over features; the paper says over
    frames.

    Call arguments:
        inputs: Tensor of shape `(batch_size, dim)`, the frame mean.
        logits: List of at least two tensors of shape
            `(batch_size, num_classes)`, one a branch.

    Output:
        Two float32 tensors: the logits of the mixture,
        `(batch_size, num_classes)`, and those of the mixture and then each
        branch, `(batch_size, 1 + num_branches, num_classes)`, from which the
        distillation loss is computed.

    Example:

    >>> x, z = np.ones((4, 8), "float32"), np.ones((4, 3), "float32")
    >>> mixture, each = MixtureOfModels()(x, [z, 2 * z])
    >>> mixture.shape, each.shape
    ((4, 3), (4, 3, 3))

    Reference:

    - [Lan et al., 2018](https://arxiv.org/abs/1806.04606)
    - [Lin et al., 2018](https://arxiv.org/abs/1811.05014)
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, inputs_shape, logits_shape):
        if len(logits_shape) < 2:
            rule = "A mixture needs at least two branches."
            raise ValueError(
                f"{rule} Received: len(logits)={len(logits_shape)}"
            )
        self.weigh = keras.layers.Dense(
            len(logits_shape),
            activation="softmax",
            dtype="float32",
            name="weigh",
        )
        self.weigh.build(inputs_shape)

    def call(self, inputs, logits):
        branches = ops.stack(logits, axis=1)  # (B, N, C)
        weights = ops.expand_dims(self.weigh(inputs), -1)  # (B, N, 1)
        mixture = ops.sum(weights * branches, axis=1)
        each = ops.concatenate([mixture[:, None], branches], axis=1)
        return mixture, each

    def compute_output_shape(self, inputs_shape, logits_shape):
        batch_size, num_classes = logits_shape[0]
        each = (batch_size, 1 + len(logits_shape), num_classes)
        return (batch_size, num_classes), each
