"""Measured comparisons: `python -m tests.benchmarks NAME [options]`.

Without a name every benchmark runs.  Each prints a table of ours and the
reference, both measured in the same run, and last a line `ratio: X`.
"""

import importlib
import sys

# Benchmark -> module of this package and function in it.
BENCHMARKS = {
    "read-snippets": "read.read_snippets",
    "read-videos": "read.read_videos",
    "read-packed": "read.read_packed",
    "rank-segments": "rank.rank_segments",
    "collect-top-k": "collect_top_k.collect_top_k",
    "map": "map.mean_ap",
    "fuse-csv": "fuse.fuse_csv",
    "fuse-rankings": "fuse.fuse_rankings",
    "weight-search": "weight_search.weight_search",
    "train-step": "train_step.train_step",
    "predict": "train_step.predict",
}


def run(name, arguments):
    module, function = BENCHMARKS[name].rsplit(".", 1)
    print(f"\n== {name} ==", flush=True)
    module = importlib.import_module(f"tests.benchmarks.{module}")
    getattr(module, function)(arguments)


def main(arguments):
    if not arguments:
        for name in BENCHMARKS:
            run(name, [])
    elif arguments[0] in BENCHMARKS:
        run(arguments[0], arguments[1:])
    else:
        names = ", ".join(BENCHMARKS)
        raise SystemExit(f"Benchmarks are {names}. Received: {arguments[0]}")


if __name__ == "__main__":
    main(sys.argv[1:])
