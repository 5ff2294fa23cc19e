"""Which frames are real: the mask that every layer over frames takes."""

from keras import ops


def frame_mask(inputs, mask):
    """Checks a frame mask, and makes one of all real frames where none came.

    Args:
        inputs: Tensor of shape `(batch_size, num_frames, ...)`.
        mask: Tensor of shape `(batch_size, num_frames)`, true for real
            frames, or `None`.

    Returns:
        Boolean tensor of shape `(batch_size, num_frames)`.

    Raises:
        ValueError: Where the shape of the mask is not that of the frames.
    """
    if mask is None:
        return ops.ones(ops.shape(inputs)[:2], dtype="bool")
    frames, given = tuple(inputs.shape[:2]), tuple(mask.shape)
    agrees = len(given) == 2 and all(
        a == b or a is None or b is None
        for a, b in zip(frames, given, strict=True)
    )
    if not agrees:
        raise ValueError(
            "`mask` must have one entry for each frame: pass it in the shape "
            f"(batch_size, num_frames), {frames}. Received: mask.shape={given}"
        )
    return ops.cast(mask, "bool")


def masked_softmax(logits, mask):
    """Softmax over the last axis in float32; masked entries get zero.

    A row with no real entry is zero throughout, and so is its gradient.
    """
    # A logit past float16 is infinite, and a softmax of two of them NaN.
    logits = ops.clip(ops.cast(logits, "float32"), -6e4, 6e4)
    logits = ops.where(mask, logits, -1e9)
    return ops.where(mask, ops.softmax(logits, axis=-1), 0.0)
