"""Which devices there are, and the precision that suits them."""

import contextlib
import os

import keras


def prepare(
    seed: int, precision: str | None = None, devices: str | None = None
) -> str:
    """Seeds everything, picks the precision and spreads work over devices.

    float16 with float32 variables on a T4 and its like, bfloat16 on newer GPUs
    and TPUs, float32 on a CPU, unless `precision` names a Keras policy.  One
    device is used, or with `devices="all"` every one, which share each batch:
    by `tf.distribute.MirroredStrategy` on TensorFlow, by `keras.distribution`
    on JAX, there also over several hosts, which Keras finds by its variables
    `KERAS_DISTRIBUTION_JOB_ADDRESSES`, `_NUM_PROCESSES` and `_PROCESS_ID`, and
    which must share the output folder.

    Returns:
        One line that says what was chosen.

    Raises:
        ValueError: Where the backend cannot spread a model.
    """
    count = _spread() if devices == "all" else 1
    keras.utils.set_random_seed(seed)
    name, suited = _device()
    precision = precision or suited
    keras.config.set_dtype_policy(precision)
    return (
        f"device: {name}{f' x {count}' if count > 1 else ''}, "
        f"backend: {keras.backend.backend()}, precision: {precision}, "
        f"seed: {seed}"
    )


def count_gpus() -> int:
    """GPUs of this machine, without taking their memory."""
    if keras.backend.backend() == "jax":
        devices = _jax().local_devices()
        return sum(device.platform == "gpu" for device in devices)
    return len(_gpus())


def _jax():
    """JAX, which leaves memory to others, and TensorFlow off its devices."""
    import jax
    import tensorflow as tf

    # Each would take most of a GPU at its first touch, JAX also in the process
    # that only counts them, and TensorFlow where it only reads the data.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with contextlib.suppress(RuntimeError):  # it has begun without us
        tf.config.set_visible_devices([], "GPU")
    return jax


def _gpus():
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # Else the first to touch a GPU takes all of it, also from workers.
        tf.config.experimental.set_memory_growth(gpu, True)
    return gpus


def _spread() -> int:
    """Has every model built from now on use all devices; how many."""
    if keras.backend.backend() == "jax":
        _jax()
        spread = keras.distribution.distribution()
        if spread is None:
            if "KERAS_DISTRIBUTION_JOB_ADDRESSES" in os.environ:
                keras.distribution.initialize()
            # Each host draws examples of its own, so none are to be divided.
            spread = keras.distribution.DataParallel(auto_shard_dataset=False)
            keras.distribution.set_distribution(spread)
        return spread.device_mesh.shape[0]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        _gpus()
        # A second strategy beside the first mixes up what they exchange.
        if not tf.distribute.has_strategy():
            strategy = tf.distribute.MirroredStrategy()
            tf.distribute.experimental_set_strategy(strategy)
        return tf.distribute.get_strategy().num_replicas_in_sync
    raise ValueError(
        "A member can be spread over devices on TensorFlow and JAX: set "
        "KERAS_BACKEND, or leave `devices` out. Received: "
        f"KERAS_BACKEND={keras.backend.backend()}"
    )


def _device():
    """The name of the device and the policy that suits it."""
    if keras.backend.backend() == "jax":
        device = _jax().devices()[0]
        name, kind = device.device_kind, device.platform
        modern = kind == "tpu" or (
            float(getattr(device, "compute_capability", 0)) >= 8
        )
    else:
        import tensorflow as tf

        gpus = _gpus()
        details = (
            tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
        )
        kind = "gpu" if gpus else "cpu"
        name = details.get("device_name", kind.upper())
        modern = details.get("compute_capability", (0, 0)) >= (8, 0)
    if kind == "cpu":
        return name, "float32"
    return name, "mixed_bfloat16" if modern else "mixed_float16"
