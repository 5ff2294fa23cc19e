"""The batches of one epoch after the other, for `fit`."""

import collections
from collections.abc import Callable


def epochs(make_epoch: Callable, first: int, last: int, steps: int):
    """The batches of epochs `first` to `last - 1`, each of `steps` batches.

    What epoch 7 is made of depends on the number 7 alone, so that training
    that resumes there sees what it would have seen.

    Args:
        make_epoch: Function of the number of an epoch and the number of its
            batches that returns a `tf.data.Dataset` of them, such as
            `snippets.epoch`.  Batches beyond that number are not used; fewer
            are an error when they are read.
        first: `backup.epoch`.
        last: What `fit` gets as `epochs`.
        steps: What `fit` gets as `steps_per_epoch`.

    Returns:
        A `tf.data.Dataset`.
    """
    import tensorflow as tf

    counted = tf.data.experimental.assert_cardinality(steps)
    # Functions that a data set calls live as long as its Python object.
    alive = collections.deque(maxlen=2)

    def in_a_tensor(epoch):
        alive.append(make_epoch(int(epoch), steps).take(steps).apply(counted))
        return tf.data.experimental.to_variant(alive[-1])

    def dataset(epoch):
        variant = tf.py_function(in_a_tensor, [epoch], tf.variant)
        return tf.data.experimental.from_variant(variant, structure)

    structure = make_epoch(first, steps).element_spec
    # Keras may look at a batch also where no epoch is left to train.
    numbers = tf.data.Dataset.range(first, max(last, first + 1))
    batches = numbers.flat_map(dataset).prefetch(2)
    options = tf.data.Options()
    # The end of `fit` would wait up to a minute for the autotuning thread.
    options.autotune.enabled = False
    return batches.with_options(options)
