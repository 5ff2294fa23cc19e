"""A queue of members: each in a process of its own, on a device of its own."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import keras
import pandas as pd

from kit import runtime
from kit.training.progress import clock

# Seconds between two looks at the workers, and between two tables.
LOOK, SHOW = 0.5, 300
PARENT = "YT8M_SEGMENTS_QUEUE"  # tells a worker the process it works for


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
                log = _log(run, name)
                begins = log.stat().st_size if log.exists() else 0
                worker = _start(run, stages, name, places[place])
                running[name] = (place, worker, begins)
                print(f"{name}: begins on device {place}", flush=True)
            for name, (place, worker, begins) in list(running.items()):
                if worker.poll() is not None:
                    del running[name]
                    free.append(place)
                    shown = 0.0
                    if worker.returncode:
                        why = _why(_log(run, name), worker, begins)
                        failed.append(f"{name}: {why}")
            if time.time() - shown > SHOW:
                shown = time.time()
                print(table(run, stages, names).to_string(), flush=True)
            time.sleep(LOOK)
    finally:
        for _, worker, _ in running.values():
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
        "restart": None,  # all were cleared before the first began
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
        PARENT: str(os.getpid()),
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


def _why(log, worker, begins) -> str:
    """What a worker ended with, whose log begins at that byte."""
    if worker.returncode < 0:
        return (
            f"ended by signal {-worker.returncode}, often for want of memory "
            f"({log})"
        )
    text = log.read_bytes()[begins:].decode(errors="replace")
    lines = text.strip().splitlines() or [""]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exit)\b", line)]
    return f"{(errors or lines)[-1]} ({log})"


def end_with_parent() -> None:
    """Ends a worker soon after the process it works for, however that ended.

    Else it would train on unseen, and hold its member against the next run.
    """
    parent = os.environ.get(PARENT)
    if parent is None:
        return

    def watch():
        while os.getppid() == int(parent):
            time.sleep(LOOK)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
