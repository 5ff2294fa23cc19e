"""Which devices there are, and one model on all of them."""

import os

import keras

# Else the first process to touch a GPU takes nearly all of its memory, also a
# process that only counts GPUs, or reads data beside the one that trains.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def count_gpus() -> int:
    """GPUs that are visible to this process."""
    devices = keras.distribution.list_devices()
    return sum(device.startswith("gpu") for device in devices)


def use_all_devices() -> int:
    """Has every model that is built from now on share its batches among all.

    By `tf.distribute.MirroredStrategy` on TensorFlow, by `keras.distribution`
    on JAX, there also over several hosts, which Keras finds by its variables
    `KERAS_DISTRIBUTION_JOB_ADDRESSES`, `_NUM_PROCESSES` and `_PROCESS_ID`; each
    of them then reads a share of the data, `shards[host::hosts]`.

    Returns:
        The number of devices.
    """
    if keras.backend.backend() == "jax":
        shared = keras.distribution.distribution()
        if shared is None:
            if "KERAS_DISTRIBUTION_JOB_ADDRESSES" in os.environ:
                keras.distribution.initialize()
            # Each host reads examples of its own, so none are to be divided.
            shared = keras.distribution.DataParallel(auto_shard_dataset=False)
            keras.distribution.set_distribution(shared)
        return shared.device_mesh.shape[0]
    import tensorflow as tf

    # A second strategy beside the first mixes up what they exchange.
    if not tf.distribute.has_strategy():
        strategy = tf.distribute.MirroredStrategy()
        tf.distribute.experimental_set_strategy(strategy)
    return tf.distribute.get_strategy().num_replicas_in_sync
