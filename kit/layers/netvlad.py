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

    As in the published models, the assignment is normalised over the batch
    before the softmax, and the offset of that normalisation takes the place
    of `b`.  Paper: equation 9 scales each cluster to unit length; the
    published code then scaled the whole descriptor too.

    Softmax, normalisations and sums over frames are in float32.  Masked
    frames take part neither in the sums nor in the batch moments; a row with
    no real frame gives zeros.

    Args:
        num_clusters: K, the number of clusters.
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

    def __init__(self, num_clusters, momentum=0.99, **kwargs):
        super().__init__(**kwargs)
        if num_clusters < 1:
            rule = "`num_clusters` must be at least 1."
            raise ValueError(f"{rule} Received: num_clusters={num_clusters}")
        self.num_clusters = num_clusters
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
        self.batch_norm = keras.layers.BatchNormalization(
            momentum=self.momentum, dtype=self.dtype_policy, name="batch_norm"
        )
        self.batch_norm.build((None, None, self.num_clusters))

    def call(self, inputs, mask=None, training=None):
        assignment = self.assign(inputs, mask, training)  # (B, T, K)
        x = ops.cast(inputs, "float32")
        total = ops.einsum("btk,btd->bkd", assignment, x)
        mass = ops.expand_dims(ops.sum(assignment, axis=1), -1)  # (B, K, 1)
        vlad = l2_normalize(total - mass * self.centers)  # (B, K, D)
        vlad = ops.reshape(vlad, (-1, self.num_clusters * inputs.shape[-1]))
        return ops.cast(vlad, self.compute_dtype)

    def assign(self, inputs, mask=None, training=None):
        """How each frame is shared out among the clusters: equation 8.

        Returns:
            float32 `(batch_size, num_frames, num_clusters)`.  A frame's shares
            sum to 1; a masked frame has none.
        """
        mask = frame_mask(inputs, mask)
        logits = ops.matmul(inputs, self.kernel)
        logits = self.batch_norm(logits, mask=mask, training=training)
        assignment = ops.softmax(ops.cast(logits, "float32"), axis=-1)
        return ops.where(ops.expand_dims(mask, -1), assignment, 0.0)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_clusters * input_shape[-1])

    def get_config(self):
        config = {"num_clusters": self.num_clusters, "momentum": self.momentum}
        return {**super().get_config(), **config}
