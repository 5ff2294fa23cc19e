"""A notebook's process: flags, packages, devices; and one per member."""

import argparse
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import keras

import kit
from kit.processes import end_with

# Else the first process to touch a GPU takes nearly all of its memory, also one
# that only counts GPUs, or reads data beside the one that trains.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# In the processes that `spread` begins: the number of the one that began them.
SPREAD = "YT8M_SEGMENT_KIT_SPREAD"


def install_missing() -> None:
    """Makes scikit-optimize importable where it is missing.

    It takes the wheels that `make kaggle` puts beside the kit, which need no
    internet: a pure-Python wheel is imported as it is.  Otherwise it runs pip.
    """
    wheels = Path(kit.__file__).resolve().parents[1].glob("*.whl")
    sys.path += sorted(map(str, wheels))
    if not find_spec("skopt"):
        pip = [sys.executable, "-m", "pip", "install", "scikit-optimize"]
        subprocess.run(pip, check=True)


def flags(parameters: dict) -> dict:
    """What the command line of a script says of the notebook's parameters.

    Args:
        parameters: The notebook's `globals()`.  Each text, number or truth
            value whose name begins with a small letter has a flag of its
            type: `batch_size = 128` has `--batch-size`.  Truth is yes or no.

    Returns:
        The values given, by name; none in a notebook, whose process has a
        command line that is not ours.
    """
    if parameters.get("__name__") != "__main__" or "__file__" not in parameters:
        return {}
    if SPREAD in os.environ:
        end_with(int(os.environ[SPREAD]))
    parser = argparse.ArgumentParser(
        allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    for name, value in parameters.items():
        if isinstance(value, str | int | float) and name[0].islower():
            flag = f"--{name.replace('_', '-')}"
            kind = yes_or_no if isinstance(value, bool) else type(value)
            text = f"default: {value!r}".replace("%", "%%")
            parser.add_argument(flag, type=kind, help=text)
    return vars(parser.parse_args())


def yes_or_no(text: str) -> bool:
    """Whether it is yes or True; no and False are not, else `ValueError`."""
    return ("no", "False", "yes", "True").index(text) > 1


def spread(
    notebook: str,
    members: Sequence[str],
    parameters: dict,
    output_dir: str | os.PathLike,
) -> None:
    """Runs a notebook as a script for each member, one at a time on each GPU.

    With fewer than two GPUs or members it does nothing, and the caller trains
    them one by one; otherwise the caller finds them finished.  What each
    prints goes to `<output_dir>/<member>/<notebook>.log`.

    Args:
        notebook: Its name, such as `"02_pretrain"`.
        members: Each goes to a process of its own as `--members`.
        parameters: The notebook's `globals()`; the values of its parameters
            go on as flags.  `hours`, if given, is for all together.
        output_dir: The workspace.

    Raises:
        ValueError: Where a process failed; the others are waited for first.
    """
    script = Path(kit.__file__).resolve().parents[1] / "notebooks" / notebook
    script = Path(parameters.get("__file__", f"{script}.py"))
    gpus = sum(d.startswith("gpu") for d in keras.distribution.list_devices())
    if min(gpus, len(members)) < 2 or not script.exists():
        return
    print(f"{len(members)} members on {gpus} GPUs, each by {script}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or "0,1,2,3,4,5,6,7"
    free = visible.split(",")[:gpus]
    deadline = time.monotonic() + 3600 * parameters.get("hours", math.inf)

    def run(member):
        hours = (deadline - time.monotonic()) / 3600
        if hours <= 0:
            return ""
        gpu, log = free.pop(0), Path(output_dir, member, f"{notebook}.log")
        print(f"{member}: GPU {gpu}, {log}", flush=True)
        values = {**parameters, "members": member, "hours": hours}
        problem = _run(_command(script, values), log, gpu)
        free.append(gpu)
        return problem

    with ThreadPoolExecutor(len(free)) as pool:
        failed = list(filter(None, pool.map(run, members)))
    if failed:
        raise ValueError(
            "Every member must run without an error: mend what the end of its "
            f"log says, and run the same again. Received: {'; '.join(failed)}"
        )


def _run(command, log, gpu) -> str:
    """Runs a command on a GPU; what it said last, if it failed."""
    log.parent.mkdir(parents=True, exist_ok=True)
    ours = {"CUDA_VISIBLE_DEVICES": gpu, SPREAD: str(os.getpid())}
    with log.open("a") as file:
        streams = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
        ended = subprocess.run(command, env={**os.environ, **ours}, **streams)
    *_, last = ["", *log.read_text(errors="replace").splitlines()]
    return f"{log.parent.name}: {last} ({log})" if ended.returncode else ""


def _command(script, values):
    """How to run it with those values that its parameters cell has."""
    cell = script.read_text().split('tags=["parameters"]')[1].split("# %%")[0]
    command = [sys.executable, "-u", str(script)]
    for name in re.findall(r"^(\w+) = ", cell, re.MULTILINE):
        if name in values:
            value = values[name]
            value = ",".join(value) if isinstance(value, list) else value
            command.append(f"--{name.replace('_', '-')}={value}")
    return command


def use_all_devices() -> int:
    """Makes models built from now on share their batches among all devices.

    It uses `tf.distribute.MirroredStrategy` on TensorFlow, `keras.distribution`
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
        reduce, parts = strategy.reduce, strategy.experimental_local_results
        # Keras takes a batch's mean to see its shapes; bytes have no mean.
        strategy.reduce = lambda op, value, axis: (
            tf.nest.map_structure(lambda part: parts(part)[0], value)
            if isinstance(value, tuple)
            else reduce(op, value, axis)
        )
        tf.distribute.experimental_set_strategy(strategy)
    return tf.distribute.get_strategy().num_replicas_in_sync
