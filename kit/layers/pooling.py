"""From a sequence of frames to one vector."""

import keras
from keras import ops

from kit.layers.masking import frame_mask, masked_softmax

MODES = ("mean", "max", "first", "attention", "concat")


@keras.saving.register_keras_serializable(package="kit")
class FramePooling(keras.layers.Layer):
    """Aggregates frames into one vector, over the real frames alone.

    Section 3 of the paper, "video-level representation":

    - `"mean"`: the average.
    - `"max"`: the largest value of each feature.
    - `"first"`: the first real frame.
    - `"attention"`: equations 5 and 6, a weighted average with weights
      `softmax(w b)` over frames; `w` is learnable.
    - `"concat"`: all frames side by side, a padded one as zeros.

    Sums and softmax are taken in float32.  A row with no real frame gives
    zeros.  Paper: the published code took the last token for `"first"` and
    divided the scores of `"attention"` by `sqrt(dim)`, which equation 5 does
    not.

    Args:
        mode: One of the five names above.

    Call arguments:
        inputs: Tensor of shape `(batch_size, num_frames, dim)`.  For
            `"concat"`, `num_frames` must be fixed.
        mask: Boolean tensor of shape `(batch_size, num_frames)`, true for
            real frames.

    Output:
        Tensor of shape `(batch_size, dim)`; for `"concat"`
        `(batch_size, num_frames * dim)`.

    Example:

    >>> FramePooling("mean")(np.ones((2, 5, 8), dtype="float32")).shape
    (2, 8)

    Reference:

    - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    def __init__(self, mode="mean", **kwargs):
        super().__init__(**kwargs)
        if mode not in MODES:
            rule = f"`mode` must be one of {MODES}."
            raise ValueError(f"{rule} Received: mode={mode!r}")
        self.mode = mode
        self.supports_masking = True

    def build(self, input_shape):
        if self.mode == "concat" and input_shape[1] is None:
            raise ValueError(
                "`mode='concat'` needs a fixed number of frames: give the "
                "input a shape such as (5, dim), or choose another mode. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        if self.mode == "attention":
            self.kernel = self.add_weight(
                name="kernel",
                shape=(input_shape[-1],),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
            )

    def call(self, inputs, mask=None):
        mask = frame_mask(inputs, mask)
        if self.mode == "concat":
            x = ops.where(ops.expand_dims(mask, -1), inputs, 0)
            return ops.reshape(x, (-1, inputs.shape[1] * inputs.shape[2]))
        if self.mode == "max":
            # The fill lies below any feature and within float16.
            x = ops.where(ops.expand_dims(mask, -1), inputs, -6e4)
            some = ops.any(mask, axis=1, keepdims=True)
            return ops.where(some, ops.max(x, axis=1), 0)
        weights = self._weights(inputs, mask)  # (B, T)
        x = ops.cast(inputs, "float32")
        x = ops.einsum("bt,btd->bd", weights, x)
        return ops.cast(x, self.compute_dtype)

    def _weights(self, inputs, mask):
        """The share of each frame in a sum over frames, float32 (B, T)."""
        if self.mode == "attention":
            scores = ops.matmul(inputs, self.kernel)
            return masked_softmax(scores, mask)
        real = ops.cast(mask, "float32")
        if self.mode == "first":
            return ops.where(ops.cumsum(real, axis=1) == 1, real, 0.0)
        return real / ops.maximum(ops.sum(real, axis=1, keepdims=True), 1.0)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        batch_size, num_frames, dim = input_shape
        if self.mode != "concat":
            return (batch_size, dim)
        return (batch_size, num_frames * dim)

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}
