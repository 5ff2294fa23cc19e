"""Logistic regression: the classifier at the end of a NeXtVLAD."""

import keras


@keras.saving.register_keras_serializable(package="kit")
class ClassLogits(keras.layers.Dense):
    """A dense layer whose units are classes, so that it can be restricted.

    Args:
        units: C, the number of classes.
        kwargs: As of `keras.layers.Dense`.

    Call arguments:
        inputs: Tensor of shape `(batch_size, dim)`.

    Output:
        Logits of shape `(batch_size, num_classes)`.

    Example:

    >>> ClassLogits(3)(np.ones((4, 8), "float32")).shape
    (4, 3)
    """

    @property
    def class_variables(self):
        """The variables whose last axis runs over classes."""
        return self.weights

    def restricted(self, columns):
        """A copy for some of the columns, as `kit.layers` describes it."""
        config = {**self.get_config(), "units": len(columns)}
        return type(self).from_config(config)
