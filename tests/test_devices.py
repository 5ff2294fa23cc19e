"""One model on several devices learns what it learns on one.

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

# Has two logical CPUs stand in for two devices.
TWO = """
import json, os, sys
import numpy as np
import keras
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
    if "all" in sys.argv:  # MirroredStrategy looks for GPUs unless told
        mirrored = tf.distribute.MirroredStrategy
        tf.distribute.MirroredStrategy = lambda: mirrored(["CPU:0", "CPU:1"])
"""
SCRIPT = (
    TWO
    + """
folder, devices, parts = sys.argv[1], sys.argv[2], int(sys.argv[3])
from kit import presets, runtime, training
from kit.spec import FrameSpec
from kit.training import hosts

print(runtime.prepare(0, None, devices), flush=True)
import tensorflow as tf
part = int(os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", 0))

def batches(interval):
    rng = np.random.default_rng(interval)
    frames = rng.integers(256, size=(4, 16, 5, 6), dtype="u1")
    mask = np.ones((4, 16, 5), bool)
    targets = rng.integers(-1, 2, (4, 16, 3), dtype="i1")
    rows = slice(part * 16 // parts, (part + 1) * 16 // parts)
    return tf.data.Dataset.from_tensor_slices(
        ({"frames": frames[:, rows], "mask": mask[:, rows]}, targets[:, rows])
    )

model = presets.build("Logistic", class_ids=[1, 2, 5], spec=FrameSpec(4, 2))
def evaluate(model):
    # More than a batch, and neither it nor the rest divides among devices.
    frames = np.arange(19 * 30, dtype="u1").reshape(19, 5, 6)
    inputs = {"frames": frames, "mask": np.ones((19, 5), bool)}
    scores = hosts.predict(model, inputs, batch_size=7)
    assert scores.shape == (19, 3)
    return float(np.mean(scores))
table = training.fit(
    model, batches, stage=training.Stage(folder), steps=12, evaluate_every=4,
    batch_size=16, learning_rate=1e-2, evaluate=evaluate,
)
print(json.dumps(table["loss"].tolist()))
"""
)


def environment(backend, count=1, **more):
    return {
        **os.environ,
        "KERAS_BACKEND": backend,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
        **more,
    }


def losses(done):
    assert done.returncode == 0, done.stderr[-3000:]
    return np.array(json.loads(done.stdout.strip().splitlines()[-1]))


def run(folder, devices, env):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), devices, "1"],
        capture_output=True,
        text=True,
        env=env,
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_have_the_loss_of_one(backend, tmp_path):
    one = run(tmp_path / "one", "each", environment(backend))
    two = run(tmp_path / "two", "all", environment(backend, 2))
    assert " x 2, " in two.stdout and " x 2, " not in one.stdout
    np.testing.assert_allclose(losses(two), losses(one), rtol=1e-5)
    # A stage that two devices began, one can look at.
    assert (tmp_path / "two" / "config.json").exists()


@pytest.mark.slow
def test_two_hosts_have_the_loss_of_one(tmp_path):
    one = losses(run(tmp_path / "one", "each", environment("jax")))
    with socket.socket() as found:
        found.bind(("localhost", 0))
        address = f"localhost:{found.getsockname()[1]}"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "two"), "all", "2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(
                "jax",
                KERAS_DISTRIBUTION_JOB_ADDRESSES=address,
                KERAS_DISTRIBUTION_NUM_PROCESSES="2",
                KERAS_DISTRIBUTION_PROCESS_ID=str(at),
            ),
        )
        for at in range(2)
    ]
    for worker in workers:
        out, err = worker.communicate(timeout=300)
        done = subprocess.CompletedProcess([], worker.returncode, out, err)
        assert " x 2, " in out, err[-3000:]
        np.testing.assert_allclose(losses(done), one, rtol=1e-5)
    assert (tmp_path / "two" / "config.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_command_takes_two_devices_through_both_stages(
    backend, sample, tmp_path
):
    """With an odd number of rated segments to look at."""
    run = TWO + "import runpy; runpy.run_module('kit.stages', None, '__main__')"
    done = subprocess.run(
        [
            *(sys.executable, "-c", run, "--devices", "all"),
            *("--data-dir", sample, "--output-dir", str(tmp_path)),
            *("--members", "BERTMean", "--baseline", "no"),
            *("--steps", "4", "--evaluate-every", "2", "--batch-size", "16"),
        ],
        capture_output=True,
        text=True,
        env=environment(backend, 2),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count(" x 2, ") == 2
    for stage in ("pretrain", "finetune"):
        assert (tmp_path / "BERTMean" / stage / "config.json").exists()


def test_a_backend_that_cannot_spread_says_so(monkeypatch):
    import keras

    from kit import runtime

    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match="KERAS_BACKEND=torch"):
        runtime.prepare(0, devices="all")
