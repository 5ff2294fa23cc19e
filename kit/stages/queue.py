"""A queue of members: each in a process of its own, on a device of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import keras
import pandas as pd

from kit import runtime
from kit.training.progress import clock

# Seconds between two looks at the workers, and between two tables.
LOOK, SHOW = 0.5, 300


def slots(run) -> list[dict]:
    """What the environment of each worker has more than ours, one a worker.

    A member for each GPU, unless the run asks for one member on all devices or
    for another number of workers.
    """
    gpus = 0 if run.devices == "all" else runtime.count_gpus()
    count = run.workers or max(1, gpus)
    return [
        {"CUDA_VISIBLE_DEVICES": str(at % gpus)} if gpus else {}
        for at in range(count)
    ]


def table(run, stages, names: Sequence[str]) -> pd.DataFrame:
    """Where each member stands in each stage.

    Returns:
        A row a member and stage: `state` (waiting, begun or finished), `step`,
        `map` (the best so far) and `time`.
    """
    rows = []
    for name in names:
        for stage in stages:
            history = runtime.stage(run, name, stage).history()
            begun = len(history) > 0
            done = begun and history.attrs["finished"]
            rows.append(
                {
                    "member": name,
                    "stage": stage,
                    "state": ("finished" if done else "begun")
                    if begun
                    else "waiting",
                    "step": int(history["step"].iloc[-1]) if begun else 0,
                    "MAP": round(history["map"].max(), 4) if begun else None,
                    "time": clock(history["seconds"].sum()) if begun else "",
                }
            )
    return pd.DataFrame(rows).set_index(["member", "stage"])


def work(
    run, stages: Sequence[str], names: Sequence[str], places: Sequence[Mapping]
) -> None:
    """Takes every member through the stages, as many at once as places.

    What a worker prints goes to `<member>/train.log` in the workspace.  Members
    that are finished are passed over, and those that were begun go on.

    Args:
        run: From `runtime.settings`.
        stages: `"pretrain"`, `"finetune"` or both.
        names: The members.
        places: From `slots`.

    Raises:
        ValueError: Where a worker failed; the others are worked off first.
    """
    waiting, running, failed = list(dict.fromkeys(names)), {}, []
    free = list(range(len(places)))
    shown = 0.0
    print(f"{len(names)} members, {len(places)} at once")
    try:
        while waiting or running:
            if run.deadline is not None and time.time() > run.deadline:
                waiting.clear()
            while waiting and free:
                name, place = waiting.pop(0), free.pop(0)
                running[name] = (
                    place,
                    _start(run, stages, name, places[place]),
                )
                print(f"{name}: begins on device {place}", flush=True)
            for name, (place, worker) in list(running.items()):
                if worker.poll() is not None:
                    del running[name]
                    free.append(place)
                    shown = 0.0
                    if worker.returncode:
                        failed.append(f"{name}: {_why(run, name, worker)}")
            if time.time() - shown > SHOW:
                shown = time.time()
                print(table(run, stages, names).to_string(), flush=True)
            time.sleep(LOOK)
    finally:
        for _, worker in running.values():
            worker.kill()
    if failed:
        raise ValueError(
            "Every member must train without an error: mend what the end of "
            "its log says, and run the same again, without --restart. "
            f"Received: {'; '.join(failed)}"
        )


def _start(run, stages, name, more):
    """A worker: the command that trains one member, with our settings."""
    log = _log(run, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    flags = {
        **run.given,
        "data_dir": run.data_dir,
        "output_dir": str(run.output_dir),
        "members": [name],
        "baseline": False,
        "only": stages[0] if len(stages) == 1 else None,
        "workers": 1,
        "time_limit": _hours_left(run),
    }
    command = [sys.executable, "-m", "kit.stages"]
    for key, value in flags.items():
        if value is not None:
            text = ",".join(value) if isinstance(value, list) else str(value)
            command += [f"--{key.replace('_', '-')}", text]
    environment = {
        **os.environ,
        **more,
        "KERAS_BACKEND": keras.backend.backend(),
        # Where the kit was found, which may be attached data.
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    with log.open("a") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment
        )


def _hours_left(run):
    if run.deadline is None:
        return None
    return max(1e-6, (run.deadline - time.time()) / 3600)


def _log(run, name):
    return run.output_dir / name / "train.log"


def _why(run, name, worker) -> str:
    """What a worker ended with."""
    log = _log(run, name)
    if worker.returncode < 0:
        return (
            f"ended by signal {-worker.returncode}, often for want of memory "
            f"({log})"
        )
    return f"{(log.read_text().strip().splitlines() or [''])[-1]} ({log})"
