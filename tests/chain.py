"""The notebooks as scripts, one after the other in one process.

`python -m tests.chain SAMPLE OUTPUT [NOTEBOOK ...]` runs them at a size that
only smokes; each reads what the one before it left.  With `--twice` before
SAMPLE each cell runs twice.
"""

import sys
from pathlib import Path

import jupytext

from kit.sample import features
from tests.processes import python

MEMBERS = ("BERTMean", "ContextGatedNetVLAD")
SMALL = ["--members", ", ".join(MEMBERS), "--batch-size", "16"]
FLAGS = {
    "01_explore_data": [],
    "02_pretrain": [*SMALL, "--epochs", "2", "--steps-per-epoch", "3"],
    "03_finetune": [*SMALL, "--epochs", "3", "--steps-per-epoch", "2"],
    "04_tta_inference": SMALL[:2],
    "05_ensemble": ["--evaluations", "12"],
}
SCRIPTS = [Path(f"notebooks/{name}.py") for name in FLAGS]
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "MPLBACKEND": "Agg"}


def code_of(path):
    """The code cells of a notebook."""
    cells = jupytext.read(path).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def parameters(path):
    """What the first code cell of a notebook sets."""
    values = {}
    exec(code_of(path)[0].source, values)
    del values["__builtins__"]
    return values


def run(*arguments, **options):
    """Runs notebooks, all five by default, in a process of their own."""
    return python("-m", "tests.chain", *arguments, **QUIET, **options)


def flags(name, sample, output):
    """The command line of a notebook."""
    data = [] if name == "05_ensemble" else ["--data-dir", str(sample)]
    return [*data, "--output-dir", str(output), "--seed", "3", *FLAGS[name]]


def main(*arguments):
    features.TAUGHT = range(50, 60)  # an oracle of few words, in seconds
    times = 1 + (arguments[0] == "--twice")
    sample, output, *names = arguments[times - 1 :]
    for name in names or FLAGS:
        print(f"== {name}", flush=True)
        path = f"notebooks/{name}.py"
        sys.argv = [path, *flags(name, sample, output)]
        scope = {"__name__": "__main__", "__file__": path}
        for cell in code_of(path):
            # The command line has flags for the types that it finds.
            once = "runtime.flags" in cell.source
            for _ in range(1 if once else times):
                exec(compile(cell.source, path, "exec"), scope)


if __name__ == "__main__":
    main(*sys.argv[1:])
