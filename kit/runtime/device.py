"""Which device there is, and the precision that suits it."""

import keras


def prepare(seed: int, precision: str | None = None) -> str:
    """Seeds everything and picks the precision that suits the device.

    float16 with float32 variables on a T4 and its like, bfloat16 on newer GPUs
    and TPUs, float32 on a CPU, unless `precision` names a Keras policy.

    Returns:
        One line that says what was chosen.
    """
    keras.utils.set_random_seed(seed)
    name, suited = _device()
    keras.config.set_dtype_policy(precision or suited)
    return (
        f"device: {name}, backend: {keras.backend.backend()}, "
        f"precision: {precision or suited}, seed: {seed}"
    )


def _device():
    """The name of the device and the policy that suits it."""
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        name, kind = device.device_kind, device.platform
        modern = kind == "tpu" or (
            float(getattr(device, "compute_capability", 0)) >= 8
        )
    else:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        details = (
            tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
        )
        kind = "gpu" if gpus else "cpu"
        name = details.get("device_name", kind.upper())
        modern = details.get("compute_capability", (0, 0)) >= (8, 0)
    if kind == "cpu":
        return name, "float32"
    return name, "mixed_bfloat16" if modern else "mixed_float16"
