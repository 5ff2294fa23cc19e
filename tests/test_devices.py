"""One model on several devices, or hosts, learns what it learns on one.

Without dropout, batch normalisation and gradients that would be clipped, each
of which acts on a device's part of a batch alone.
"""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow

# Two logical CPUs stand in for devices; a host reads a share of each batch.
SCRIPT = """
import json, os, sys
import keras, numpy as np
from kit import losses, presets, runtime, training
from kit.spec import FrameSpec

devices = int(sys.argv[1])
if devices > 1 and keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * devices,
    )
    mirrored = tf.distribute.MirroredStrategy  # looks for GPUs unless told
    tf.distribute.MirroredStrategy = lambda: mirrored(["CPU:0", "CPU:1"])
if devices > 1:
    for _ in range(2):  # a cell that is run twice
        assert runtime.use_all_devices() == devices
import tensorflow as tf

host = int(os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", 0))
hosts = int(os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", 1))
rng = np.random.default_rng(0)
frames = rng.integers(256, size=(12, 16, 5, 6), dtype="u1")[:, host::hosts]
targets = rng.integers(-1, 2, (12, 16, 3), dtype="i1")[:, host::hosts]
inputs = {"frames": frames, "mask": np.ones(frames.shape[:3], bool)}
examples = tf.data.Dataset.from_tensor_slices((inputs, targets))
batches = training.epochs(lambda epoch, steps: examples, 0, 3, steps=12)

keras.utils.set_random_seed(0)
model = presets.build("Logistic", class_ids=[1, 2, 5], spec=FrameSpec(4, 2))
model.compile(keras.optimizers.Adam(1e-2), losses.loss_for(model))
options = {"steps_per_epoch": 12, "shuffle": False, "verbose": 0}
history = model.fit(batches, epochs=3, **options)
print(json.dumps(history.history["loss"]))
"""


def start(devices, backend, **environment):
    two = "--xla_force_host_platform_device_count=2"
    flags = two if devices > 1 and not environment else ""
    environment |= {"KERAS_BACKEND": backend, "XLA_FLAGS": flags}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(devices)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def losses(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return np.array(json.loads(out.strip().splitlines()[-1]))


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_have_the_loss_of_one(backend):
    one, two = map(losses, [start(number, backend) for number in (1, 2)])
    np.testing.assert_allclose(two, one, rtol=1e-5)
    assert one[-1] < one[0]


def test_two_hosts_have_the_loss_of_one():
    with socket.socket() as port:
        port.bind(("localhost", 0))
        address = f"localhost:{port.getsockname()[1]}"
    both = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address}
    both |= {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    own = [{"KERAS_DISTRIBUTION_PROCESS_ID": str(host)} for host in range(2)]
    hosts = [start(2, "jax", **both, **each) for each in own]
    one = losses(start(1, "jax"))
    for host in hosts:
        np.testing.assert_allclose(losses(host), one, rtol=1e-5)
