"""Scaling vectors to unit length, safely where a vector is zero."""

from keras import ops


def l2_normalize(inputs, axis=-1, epsilon=1e-12):
    """Scales vectors to unit length; a zero vector stays zero.

    `keras.ops.normalize` gives the same values, but its gradient at a zero
    vector is NaN (the root is taken before the floor).  Padded frames and
    empty clusters are zero vectors, so the floor comes first here.

    Args:
        inputs: Float tensor, float32 where the sum of squares could leave the
            range of a smaller type.
        axis: The axis along which a vector lies.
        epsilon: Floor of the squared length.

    Returns:
        A tensor of the shape and dtype of `inputs`.
    """
    squared_length = ops.sum(ops.square(inputs), axis=axis, keepdims=True)
    return inputs * ops.rsqrt(ops.maximum(squared_length, epsilon))
