"""The notebooks as scripts, one after the other in one process.

`python -m tests.chain SAMPLE OUTPUT [NOTEBOOK ...]` runs them at a size that
only smokes; each reads what the one before it left.  `python -m tests.chain
--twice ...` runs each cell twice.
"""

import os
import subprocess
import sys

import jupytext

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


def command(*arguments):
    """What a test starts to run notebooks, all five by default."""
    return [sys.executable, "-m", "tests.chain", *map(str, arguments)]


def run(*arguments):
    """Runs notebooks in a process of their own, and waits for it."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env={**os.environ, **QUIET},
    )


def flags(name, sample, output):
    """The command line of a notebook."""
    data = [] if name == "05_ensemble" else ["--data-dir", str(sample)]
    return [*data, "--output-dir", str(output), "--seed", "3", *FLAGS[name]]


def main(*arguments):
    times = 1 + (arguments[0] == "--twice")
    sample, output, *names = arguments[times - 1 :]
    for name in names or FLAGS:
        print(f"== {name}", flush=True)
        path = f"notebooks/{name}.py"
        sys.argv = [path, *flags(name, sample, output)]
        scope = {"__name__": "__main__", "__file__": path}
        for cell in jupytext.read(path).cells:
            # The command line has flags for the types that it finds.
            once = "runtime.flags" in cell.source
            for _ in range(1 if once else times):
                if cell.cell_type == "code":
                    exec(compile(cell.source, path, "exec"), scope)


if __name__ == "__main__":
    main(*sys.argv[1:])
