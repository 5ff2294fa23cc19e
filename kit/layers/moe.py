"""Mixture of experts: the classifier at the end of most members."""

import math

import keras
from keras import ops

from kit.layers.gating import ContextGating


@keras.saving.register_keras_serializable(package="kit")
class MixtureOfExperts(keras.layers.Layer):
    """Per class, a gated average of logistic regressions.

    For each class, M experts give `sigmoid(w_m x + b_m)`, a softmax over M
    gates and a null gate weighs them, and the null expert, which always says
    no, takes the rest.  Gates have no bias.  Logits become probabilities in
    float32, and probabilities are returned in float32 under every policy.

    Every weight with a class axis has it last, and a class reads no other
    class' columns, so a head can be cut down to some classes without changing
    theirs.  With `output_gating` each class reads all of them, and the head
    keeps every expert: `output_columns` says which classes it returns.

    Args:
        num_classes: C, the number of classes.
        num_mixtures: M, experts a class.
        l2: Factor of the sum of squares of gates' and experts' weights that
            is added to the loss.  The default is half of the published 1e-6,
            since the library of the published code halves the sum.
        output_gating: Whether `ContextGating` follows, on the probabilities.
        output_columns: With `output_gating`, which classes to return, as a
            list of indices; `None` for all.
        momentum: Momentum of the output gate's batch normalisation.

    Call arguments:
        inputs: Tensor of shape `(batch_size, dim)`.

    Output:
        float32 probabilities of shape `(batch_size, num_classes)`, or
        `(batch_size, len(output_columns))`.

    Example:

    >>> MixtureOfExperts(3, num_mixtures=2)(np.ones((4, 8), "float32")).shape
    (4, 3)

    Reference:

    - [Jordan and Jacobs, 1994](https://doi.org/10.1162/neco.1994.6.2.181)
    - [Abu-El-Haija et al., 2016](https://arxiv.org/abs/1609.08675)
    """

    def __init__(
        self,
        num_classes,
        num_mixtures=5,
        l2=5e-7,
        output_gating=False,
        output_columns=None,
        momentum=0.99,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if min(num_classes, num_mixtures) < 1:
            raise ValueError(
                "`num_classes` and `num_mixtures` must be at least 1. Received"
                f": num_classes={num_classes}, num_mixtures={num_mixtures}"
            )
        if output_columns is not None and not output_gating:
            raise ValueError(
                "`output_columns` needs `output_gating`: set it, or lower "
                f"`num_classes`. Received: output_columns={output_columns}, "
                f"output_gating={output_gating}"
            )
        self.num_classes = num_classes
        self.num_mixtures = num_mixtures
        self.l2 = l2
        self.output_gating = output_gating
        self.output_columns = output_columns
        self.momentum = momentum

    def build(self, input_shape):
        dim = input_shape[-1]
        experts = (self.num_mixtures, self.num_classes)
        gates = (self.num_mixtures + 1, self.num_classes)
        self.gate_kernel = self._kernel("gate_kernel", dim, *gates)
        self.expert_kernel = self._kernel("expert_kernel", dim, *experts)
        self.expert_bias = self.add_weight(
            name="expert_bias", shape=experts, initializer="zeros"
        )
        if self.output_gating:
            self.gating = ContextGating(
                momentum=self.momentum,
                columns=self.output_columns,
                dtype="float32",
                name="gating",
            )
            self.gating.build((None, self.num_classes))

    def _kernel(self, name, dim, *shape):
        """A kernel that starts as that of one dense layer of all its units."""
        limit = (6 / (dim + math.prod(shape))) ** 0.5
        return self.add_weight(
            name=name,
            shape=(dim, *shape),
            initializer=keras.initializers.RandomUniform(-limit, limit),
            regularizer=keras.regularizers.L2(self.l2) if self.l2 else None,
        )

    def call(self, inputs, training=None):
        gates = self.gates(inputs)[:, :-1]  # the null expert says no
        x = ops.sum(gates * self.experts(inputs), axis=1)  # (B, C)
        # Rounding can carry a sum of shares past 1 by one unit.
        x = ops.minimum(x, 1.0)
        return self.gating(x, training=training) if self.output_gating else x

    def gates(self, inputs):
        """The share of each expert, and last of the null expert.

        Returns:
            float32 `(batch_size, num_mixtures + 1, num_classes)`, of all
            classes, whatever `output_columns`.  The shares sum to 1.
        """
        logits = self._product(inputs, self.gate_kernel)
        # A logit past float16 is infinite, and a softmax of two of them NaN.
        logits = ops.clip(ops.cast(logits, "float32"), -6e4, 6e4)
        return ops.softmax(logits, axis=1)

    def experts(self, inputs):
        """The probability that each expert gives each class.

        Returns:
            float32 `(batch_size, num_mixtures, num_classes)`, of all classes,
            whatever `output_columns`.
        """
        logits = self._product(inputs, self.expert_kernel) + self.expert_bias
        return ops.sigmoid(ops.cast(logits, "float32"))

    def _product(self, inputs, kernel):
        """(B, D) times (D, M, C), as one matrix product.

        In float16 `matmul` ends in infinity where `einsum` gives NaN on some
        processors.
        """
        mixtures = kernel.shape[1]
        kernel = ops.reshape(kernel, (-1, mixtures * self.num_classes))
        x = ops.matmul(inputs, kernel)
        return ops.reshape(x, (-1, mixtures, self.num_classes))

    @property
    def class_variables(self):
        """The variables whose last axis runs over the classes returned."""
        if self.output_gating:
            return self.gating.variables
        return [self.gate_kernel, self.expert_kernel, self.expert_bias]

    def restricted(self, columns):
        """A copy for some of the columns, as `kit.layers` describes it."""
        config = self.get_config()
        if self.output_gating:
            kept = self.output_columns or range(self.num_classes)
            config["output_columns"] = [kept[column] for column in columns]
        else:
            config["num_classes"] = len(columns)
        return type(self).from_config(config)

    def compute_output_shape(self, input_shape):
        columns = self.output_columns or range(self.num_classes)
        return (input_shape[0], len(columns))

    def compute_output_spec(self, inputs, training=None):
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype="float32")

    def get_config(self):
        config = {
            "num_classes": self.num_classes,
            "num_mixtures": self.num_mixtures,
            "l2": self.l2,
            "output_gating": self.output_gating,
            "output_columns": self.output_columns,
            "momentum": self.momentum,
        }
        return {**super().get_config(), **config}
