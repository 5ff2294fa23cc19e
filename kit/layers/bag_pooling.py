"""From the windows of a video to the video."""

import keras
from keras import ops

from kit.layers.masking import frame_mask

MODES = ("linear_softmax", "top", "max", "noisy_or", "mean")
HIGHEST = 2  # windows that "top" averages


@keras.saving.register_keras_serializable(package="kit")
class BagPooling(keras.layers.Layer):
    """Pools what a model says of each window into what holds in the video.

    A video is a bag of windows: a class holds in it where it holds in one of
    them.  With the probabilities p of the real windows:

    - `"linear_softmax"`: `sum(p p) / sum(p)`, a mean weighted by p.
    - `"top"`: the mean of the two highest.
    - `"max"`: the highest.
    - `"noisy_or"`: `1 - prod(1 - p)`, as if windows were independent.
    - `"mean"`: their mean.

    It computes in float32.  A row with no real window gives zeros.

    Args:
        mode: One of the five names above.

    Call arguments:
        inputs: Probabilities of shape `(batch_size, num_windows, ...)`.
        mask: Boolean tensor of shape `(batch_size, num_windows)`, true for
            real windows.

    Output:
        float32 probabilities of shape `(batch_size, ...)`.

    Example:

    >>> p = np.array([[[0.9], [0.3]]], "float32")
    >>> BagPooling("linear_softmax")(p).numpy().round(3).tolist()
    [[0.75]]

    Reference:

    - [Wang et al., 2018](https://arxiv.org/abs/1810.09050)
    """

    def __init__(self, mode="linear_softmax", **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        if mode not in MODES:
            rule = f"`mode` must be one of {MODES}."
            raise ValueError(f"{rule} Received: mode={mode!r}")
        self.mode = mode
        self.supports_masking = True

    def call(self, inputs, mask=None):
        mask = frame_mask(inputs, mask)
        rest = (1,) * (len(inputs.shape) - 2)
        real = ops.reshape(mask, (-1, inputs.shape[1], *rest))
        real = ops.cast(real, "float32")
        p = ops.cast(inputs, "float32") * real
        if self.mode == "max":
            return ops.max(p, axis=1)
        if self.mode == "noisy_or":
            none = ops.log1p(-ops.minimum(p, 1.0 - 1e-7))
            return -ops.expm1(ops.sum(none, axis=1))
        if self.mode == "top":
            highest = min(HIGHEST, p.shape[1])
            p = ops.top_k(ops.moveaxis(p, 1, -1), highest)[0]
            count = ops.minimum(ops.sum(real, axis=1), highest)
            return ops.sum(p, axis=-1) / ops.maximum(count, 1.0)
        weights = real if self.mode == "mean" else p
        total = ops.maximum(ops.sum(weights, axis=1), 1e-7)
        return ops.sum(weights * p, axis=1) / total

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *input_shape[2:])

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}
