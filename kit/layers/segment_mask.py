"""Which frames of a window are the segment's, and which are around it."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kit")
class SegmentMask(keras.layers.Layer):
    """Masks the frames of context, so that a layer sees the segment alone.

    Args:
        context: Frames of a window before the segment, and as many after it.

    Call arguments:
        mask: Boolean tensor of shape `(batch_size, num_frames)`, true for
            real frames.

    Output:
        Boolean tensor of the same shape, true for real frames of the segment.

    Raises:
        ValueError: Where there is no frame of context.

    Example:

    >>> mask = SegmentMask(context=1)(np.ones((1, 5), dtype="bool"))
    >>> mask.numpy().tolist()
    [[False, True, True, True, False]]
    """

    def __init__(self, context, **kwargs):
        super().__init__(**kwargs)
        if context < 1:
            rule = "Context must be at least a frame on each side."
            raise ValueError(f"{rule} Received: context={context}")
        self.context = context

    def call(self, mask):
        num_frames = ops.shape(mask)[1]
        frame = ops.arange(num_frames)
        inside = (frame >= self.context) & (frame < num_frames - self.context)
        return ops.logical_and(mask, inside)

    def get_config(self):
        return {**super().get_config(), "context": self.context}
