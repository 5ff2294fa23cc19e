"""The notebooks as scripts, one after the other in one process.

`python -m tests.chain SAMPLE OUTPUT [NOTEBOOK ...]` runs them at a size that
only smokes; each reads what the one before it left.
"""

import os
import runpy
import subprocess
import sys

MEMBERS = ("BERTMean", "GatedNetVLAD")
SMALL = ["--members", ", ".join(MEMBERS), "--batch-size", "16"]
FLAGS = {
    "01_explore_data": [],
    "02_pretrain": [*SMALL, "--epochs", "2", "--steps-per-epoch", "3"],
    "03_finetune": [*SMALL, "--epochs", "3", "--steps-per-epoch", "2"],
    "04_tta_inference": SMALL[:2],
    "05_ensemble": ["--evaluations", "12"],
}
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "MPLBACKEND": "Agg"}


def command(sample, output, *names):
    """What a test starts to run notebooks, all five by default."""
    return [
        sys.executable,
        "-m",
        "tests.chain",
        str(sample),
        str(output),
        *names,
    ]


def run(sample, output, *names, **options):
    """Runs notebooks in a process of their own, and waits for it."""
    return subprocess.run(
        command(sample, output, *names),
        capture_output=True,
        text=True,
        env={**os.environ, **QUIET},
        **options,
    )


def flags(name, sample, output):
    """The command line of a notebook."""
    data = [] if name == "05_ensemble" else ["--data-dir", str(sample)]
    return [*data, "--output-dir", str(output), "--seed", "3", *FLAGS[name]]


def main(sample, output, *names):
    for name in names or FLAGS:
        print(f"== {name}", flush=True)
        sys.argv = [f"notebooks/{name}.py", *flags(name, sample, output)]
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
