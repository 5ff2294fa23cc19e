"""Several devices or hosts that train one model together."""

import contextlib

import keras
import numpy as np

from kit import models


def host() -> tuple[int, int]:
    """The number of this host, and how many there are: JAX may have several."""
    if keras.backend.backend() != "jax":
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def feed(dataset):
    """The batches of an interval as this backend takes them.

    With `MirroredStrategy` Keras adds up the first batch of all replicas, to
    see its shapes, which fails for the truth values of a mask.  The model makes
    them of numbers again.
    """
    if keras.backend.backend() != "tensorflow":
        return dataset
    import tensorflow as tf

    if not tf.distribute.has_strategy():
        return dataset

    def with_numbers(inputs, targets):
        mask = tf.cast(inputs["mask"], tf.uint8)
        return {**inputs, "mask": mask}, targets

    return dataset.map(with_numbers)


def agree(value: bool) -> bool:
    """What host 0 says: clocks differ, and all must do the same."""
    if host()[1] == 1:
        return value
    from jax.experimental import multihost_utils

    return bool(multihost_utils.broadcast_one_to_all(value))


def require_same(value: int) -> None:
    """Raises, on all hosts, where they have found different things."""
    if host()[1] == 1:
        return
    from jax.experimental import multihost_utils

    found = multihost_utils.process_allgather(np.array(int(value)))
    if len(set(found.tolist())) > 1:
        raise ValueError(
            "All hosts must go on from the same checkpoint: give them one "
            "--output-dir, on a disk that they share. Received: intervals "
            f"done, as each host finds them: {found.tolist()}"
        )


def devices() -> int:
    """How many devices share a batch of this host's."""
    together = keras.distribution.distribution()
    if together is None:
        return 1
    return max(1, together.device_mesh.shape[0] // host()[1])


def predict(model: keras.Model, inputs: dict, batch_size: int = 512):
    """The predictions of any number of rows, on any number of devices.

    JAX divides each batch evenly among them.

    Args:
        inputs: Name to array, `(rows, ...)`.

    Returns:
        `(rows, num_classes)`.
    """
    count = devices()
    rows = len(inputs["frames"])
    inputs = {
        name: np.concatenate([array, array[:1].repeat(-rows % count, 0)])
        for name, array in inputs.items()
    }
    size = max(1, batch_size // count) * count
    return model.predict(inputs, batch_size=size, verbose=0)[:rows]


@contextlib.contextmanager
def alone():
    """Variables that are made inside belong to this host, not to all."""
    if host()[1] == 1:
        yield
        return
    together = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(together)


def score(evaluate, model: keras.Model) -> float:
    """The score of a model, which each host takes by itself."""
    with alone():
        if host()[1] > 1:
            model = models.with_dtype(model, models.precision(model))
        return float(evaluate(model))
