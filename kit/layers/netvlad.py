"""NetVLAD: how frames differ from learnable cluster centres, summed."""

import keras
from keras import ops

from kit.layers.masking import frame_mask
from kit.layers.normalization import l2_normalize


@keras.saving.register_keras_serializable(package="kit")
class NetVLAD(keras.layers.Layer):
    """Learnable pooling of frames into residuals from K cluster centres.

    Equations 7 to 9 of the paper.  Each frame is softly assigned to the
    clusters, `a = softmax(W x + b)`, and the descriptor of cluster k is the
    sum over frames of `a_k (x - c_k)`, scaled to unit length.  The centres
    `c` are independent of the assignment weights `W`.  The residuals are
    never formed: the sum is `sum(a_k x) - sum(a_k) c_k`, two small matrix
    products instead of a tensor of shape (B, T, K, D).

    Softmax, normalisations and sums over frames are in float32.  Masked
    frames take part neither in the sums nor in the batch moments; a row with
    no real frame gives zeros.

    Args:
        num_clusters: K, the number of clusters.
        use_batch_norm: Whether to normalise the assignment before the
            softmax, as the published models do; otherwise it has the bias of
            equation 8.
        normalize_output: Whether to scale the whole descriptor to unit
            length.  Paper: equation 9 normalises within each cluster only;
            the published code did both.
        momentum: Momentum of the batch normalisation's moving moments.

    Call arguments:
        inputs: Tensor of shape `(batch_size, num_frames, dim)`.
        mask: Boolean tensor of shape `(batch_size, num_frames)`, true for
            real frames.

    Output:
        Tensor of shape `(batch_size, num_clusters * dim)`.

    Example:

    >>> NetVLAD(4)(np.ones((2, 30, 8), dtype="float32")).shape
    (2, 32)

    Reference:

    - [Arandjelovic et al., 2015](https://arxiv.org/abs/1511.07247)
    - [Miech et al., 2017](https://arxiv.org/abs/1706.06905)
    """

    def __init__(
        self,
        num_clusters,
        use_batch_norm=True,
        normalize_output=False,
        momentum=0.99,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_clusters < 1:
            raise ValueError(
                "`num_clusters` must be at least 1. "
                f"Received: num_clusters={num_clusters}"
            )
        self.num_clusters = num_clusters
        self.use_batch_norm = use_batch_norm
        self.normalize_output = normalize_output
        self.momentum = momentum
        self.supports_masking = True

    def build(self, input_shape):
        dim = input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(dim, self.num_clusters),
            initializer=keras.initializers.RandomNormal(stddev=dim**-0.5),
        )
        self.centers = self.add_weight(
            name="centers",
            shape=(self.num_clusters, dim),
            initializer=keras.initializers.RandomNormal(stddev=dim**-0.5),
            autocast=False,
        )
        if self.use_batch_norm:
            self.batch_norm = keras.layers.BatchNormalization(
                momentum=self.momentum,
                dtype=self.dtype_policy,
                name="batch_norm",
            )
            self.batch_norm.build((None, None, self.num_clusters))
        else:
            self.bias = self.add_weight(
                name="bias", shape=(self.num_clusters,), initializer="zeros"
            )

    def call(self, inputs, mask=None, training=None):
        mask = frame_mask(inputs, mask)
        logits = ops.matmul(inputs, self.kernel)  # (B, T, K)
        if self.use_batch_norm:
            logits = self.batch_norm(logits, mask=mask, training=training)
        else:
            logits = logits + self.bias
        assignment = ops.softmax(ops.cast(logits, "float32"), axis=-1)
        assignment = ops.where(ops.expand_dims(mask, -1), assignment, 0.0)
        x = ops.cast(inputs, "float32")
        total = ops.einsum("btk,btd->bkd", assignment, x)
        mass = ops.expand_dims(ops.sum(assignment, axis=1), -1)  # (B, K, 1)
        vlad = l2_normalize(total - mass * self.centers)  # (B, K, D)
        vlad = ops.reshape(vlad, (-1, self.num_clusters * inputs.shape[-1]))
        if self.normalize_output:
            vlad = l2_normalize(vlad)
        return ops.cast(vlad, self.compute_dtype)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_clusters * input_shape[-1])

    def get_config(self):
        config = {
            "num_clusters": self.num_clusters,
            "use_batch_norm": self.use_batch_norm,
            "normalize_output": self.normalize_output,
            "momentum": self.momentum,
        }
        return {**super().get_config(), **config}
