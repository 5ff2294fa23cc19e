"""The precision that suits the device."""

import keras


def precision() -> str:
    """Name of the Keras dtype policy that suits the device.

    `"mixed_bfloat16"` on GPUs from Ampere on and, with JAX, on TPUs,
    `"mixed_float16"` on older GPUs such as the T4, else `"float32"`.
    """
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        kind = device.platform
        capability = getattr(device, "compute_capability", 0)
    else:
        import tensorflow as tf

        details = tf.config.experimental.get_device_details
        gpus = tf.config.list_physical_devices("GPU")
        kind = "gpu" if gpus else "cpu"
        capability = details(gpus[0])["compute_capability"][0] if gpus else 0
    if kind == "cpu":
        return "float32"
    modern = kind == "tpu" or float(capability) >= 8
    return "mixed_bfloat16" if modern else "mixed_float16"
