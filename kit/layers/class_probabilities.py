"""The last layer of every model: which class is which column."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kit")
class ClassProbabilities(keras.layers.Layer):
    """Ends a model in float32 and remembers what its columns mean.

    It has no weights.  The ids are part of its config, so a saved model knows
    its classes.

    Args:
        class_ids: The vocabulary id of each column, whole numbers.
        from_logits: Whether a sigmoid is still to be taken; otherwise the
            input passes unchanged.

    Call arguments:
        inputs: Tensor of shape `(batch_size, num_classes)`.

    Output:
        float32 probabilities of shape `(batch_size, num_classes)`.

    Example:

    >>> layer = ClassProbabilities([3, 7], from_logits=True)
    >>> float(layer(np.zeros((1, 2), "float32"))[0, 1])
    0.5
    """

    def __init__(self, class_ids, from_logits=False, **kwargs):
        # Never autocast: float16 would end the precision of small scores.
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        whole = all(hasattr(class_id, "__index__") for class_id in class_ids)
        if not whole or not 0 < len(set(class_ids)) == len(class_ids):
            raise ValueError(
                "`class_ids` must name at least one class, each once, by a "
                "whole number: where a table made floats or text of them, "
                f"use `.astype(int)`. Received: class_ids={class_ids}"
            )
        self.class_ids = list(map(int, class_ids))
        self.from_logits = from_logits

    def build(self, input_shape):
        if input_shape[-1] != len(self.class_ids):
            raise ValueError(
                "`class_ids` must have one id a column: pass as many as the "
                f"model has classes. Received: {len(self.class_ids)} "
                f"class_ids, {input_shape[-1]} columns"
            )

    def call(self, inputs):
        x = ops.cast(inputs, "float32")
        return ops.sigmoid(x) if self.from_logits else x

    def restricted(self, columns):
        """A copy for some of the columns, as `kit.layers` describes it."""
        class_ids = [self.class_ids[column] for column in columns]
        config = {**self.get_config(), "class_ids": class_ids}
        return type(self).from_config(config)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        config = {"class_ids": self.class_ids, "from_logits": self.from_logits}
        return {**super().get_config(), **config}
