"""NeXtVLAD: NetVLAD on groups of an expanded feature, far fewer weights."""

import keras
from keras import ops

from kit.layers.masking import frame_mask
from kit.layers.normalization import l2_normalize


@keras.saving.register_keras_serializable(package="kit")
class NeXtVLAD(keras.layers.Layer):
    """Learnable pooling of frames by groups, each with its own attention.

    Equations 11 to 14 of the paper.  A frame is expanded to `expansion * dim`
    features and cut into G groups.  Every group g is softly assigned to the K
    clusters from the whole expanded frame, `softmax(W_g x)`, weighed by an
    attention `sigmoid(w_g x + b_g)`, and its residuals from the centres,
    which the groups share, are summed over frames and groups and scaled to
    unit length.  As groups are summed, the descriptor is G times smaller than
    NetVLAD's, and so is the layer after it.

    A group of a frame is one term of the sum, so the layer treats (T, G) as
    one axis of T * G terms; no tensor of shape (B, T, G, K, D) is formed.
    Softmax, normalisations and sums over frames are in float32.  Masked
    frames take part neither in the sums nor in the batch moments.

    Paper: it does not mention the batch normalisations of the assignment and
    of the descriptor, but the published models have them, and without them
    NeXtVLAD tends to collapse.

    Args:
        num_clusters: K, the number of clusters.
        num_groups: G; it must divide the expanded width.
        expansion: How many times wider the expanded frame is; below 1 it is
            narrower.
        momentum: Momentum of the batch normalisations' moving moments.

    Call arguments:
        inputs: Tensor of shape `(batch_size, num_frames, dim)`.
        mask: Boolean tensor of shape `(batch_size, num_frames)`, true for
            real frames.

    Output:
        Tensor of shape
        `(batch_size, num_clusters * expansion * dim / num_groups)`.

    Example:

    >>> NeXtVLAD(4, num_groups=2)(np.ones((2, 30, 8), dtype="float32")).shape
    (2, 32)

    Reference:

    - [Lin et al., 2018](https://arxiv.org/abs/1811.05014)
    """

    def __init__(
        self, num_clusters, num_groups=8, expansion=2, momentum=0.99, **kwargs
    ):
        super().__init__(**kwargs)
        if num_clusters < 1 or num_groups < 1 or expansion <= 0:
            raise ValueError(
                "`num_clusters` and `num_groups` must be at least 1 and "
                f"`expansion` positive. Received: num_clusters={num_clusters}"
                f", num_groups={num_groups}, expansion={expansion}"
            )
        self.num_clusters = num_clusters
        self.num_groups = num_groups
        self.expansion = expansion
        self.momentum = momentum
        self.supports_masking = True

    def build(self, input_shape):
        expanded = self._expanded_dim(input_shape[-1])
        group_dim = expanded // self.num_groups
        assignments = self.num_groups * self.num_clusters
        self.expand = self._dense("expand", input_shape[-1], expanded)
        self.attention = self._dense("attention", expanded, self.num_groups)
        self.assignment = self._dense(
            "assignment", expanded, assignments, use_bias=False
        )
        self.centers = self.add_weight(
            name="centers",
            shape=(self.num_clusters, group_dim),
            initializer=keras.initializers.RandomNormal(stddev=group_dim**-0.5),
            autocast=False,
        )
        self.assignment_norm = self._batch_norm(
            "assignment_norm", (None, None, assignments)
        )
        self.output_norm = self._batch_norm(
            "output_norm", (None, self.num_clusters * group_dim)
        )

    def _expanded_dim(self, dim):
        expanded = self.expansion * dim
        if expanded % self.num_groups:
            raise ValueError(
                "`num_groups` must divide the expanded width: change it or "
                f"`expansion`. Received: num_groups={self.num_groups}, "
                f"expansion={self.expansion}, width={dim}"
            )
        return int(expanded)

    def _dense(self, name, dim, units, **kwargs):
        layer = keras.layers.Dense(
            units, name=name, dtype=self.dtype_policy, **kwargs
        )
        layer.build((None, None, dim))
        return layer

    def _batch_norm(self, name, shape):
        layer = keras.layers.BatchNormalization(
            momentum=self.momentum, name=name, dtype=self.dtype_policy
        )
        layer.build(shape)
        return layer

    def call(self, inputs, mask=None, training=None):
        x = self.expand(inputs)  # (B, T, G * D)
        assignment = self._assign(x, frame_mask(inputs, mask), training)
        # From here on a group of a frame is one term: N = T * G.
        terms = ops.shape(x)[1] * self.num_groups
        assignment = ops.reshape(assignment, (-1, terms, self.num_clusters))
        x = ops.reshape(x, (-1, terms, self.centers.shape[1]))
        x = ops.cast(x, "float32")
        total = ops.einsum("bnk,bnd->bkd", assignment, x)
        mass = ops.expand_dims(ops.sum(assignment, axis=1), -1)  # (B, K, 1)
        vlad = l2_normalize(total - mass * self.centers)  # (B, K, D)
        vlad = ops.reshape(vlad, (-1, self.centers.shape[0] * vlad.shape[-1]))
        vlad = ops.cast(vlad, self.compute_dtype)
        return self.output_norm(vlad, training=training)

    def assign(self, inputs, mask=None):
        """How much each cluster takes of each group of each frame.

        The attention of equation 12 times the assignment of equation 13.

        Returns:
            float32 `(batch_size, num_frames, num_groups, num_clusters)`.  A
            group's values sum to its attention; a masked frame's are zero.
        """
        return self._assign(self.expand(inputs), frame_mask(inputs, mask))

    def _assign(self, x, mask, training=None):
        attention = ops.sigmoid(ops.cast(self.attention(x), "float32"))
        attention = ops.where(ops.expand_dims(mask, -1), attention, 0.0)
        logits = self.assignment(x)  # (B, T, G * K)
        logits = self.assignment_norm(logits, mask=mask, training=training)
        groups = (-1, ops.shape(x)[1], self.num_groups, self.num_clusters)
        logits = ops.cast(ops.reshape(logits, groups), "float32")
        return ops.softmax(logits, axis=-1) * ops.expand_dims(attention, -1)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        group_dim = self._expanded_dim(input_shape[-1]) // self.num_groups
        return (input_shape[0], self.num_clusters * group_dim)

    def get_config(self):
        config = {
            "num_clusters": self.num_clusters,
            "num_groups": self.num_groups,
            "expansion": self.expansion,
            "momentum": self.momentum,
        }
        return {**super().get_config(), **config}
