"""What make hands on arrives as it was given."""

import pytest

from tests import processes
from tests.chain import SCRIPTS, parameters

NOTEBOOKS = list(map(str, SCRIPTS))
# Tells what it is called with, and runs a make, as tests do.
PYTHON = """#!/bin/sh
for word; do printf '[%s]' "$word"; done; echo
if [ "$2" = pytest ]; then make --no-print-directory --dry-run bench; fi
"""


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Runs make in an environment that is ready, with a Python that tells."""
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    for name in ("ready", "ready-test"):
        (tmp_path / name).touch()
    python = tmp_path / "bin" / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def run(*arguments, **environment):
        command = ["make", "--no-print-directory", f"VENV={tmp_path}"]
        done = processes.run([*command, *arguments], **environment)
        return done.stdout.splitlines()

    return run


def test_the_demo_runs_every_notebook_with_what_it_was_given(make):
    given = ["DATA=shards, v2", "MEMBERS=A, B", "OUTPUT=$HOME/my 'out'"]
    given += ["SEED=7"]
    lines = [line for line in make("demo", *given) if line.startswith("[")]
    assert [line[1:].split("]")[0] for line in lines] == NOTEBOOKS
    for line, path in zip(lines, NOTEBOOKS, strict=True):
        expected = f"[{path}][--output-dir][$HOME/my 'out'][--seed][7]"
        if "members" in parameters(path):
            expected += "[--members][A, B]"
        if "data_dir" in parameters(path):
            expected += "[--data-dir][shards, v2]"
        assert line == expected


def test_the_demo_has_its_own_defaults_whatever_the_shell_has(make):
    others = {"DATA": "/data", "OUTPUT": "x", "FLAGS": "-x", "MEMBERS": "A"}
    lines = [line for line in make("demo", **others) if "[" in line]
    flags = "[--output-dir][outputs][--seed][0]"
    assert lines == [f"[{path}]{flags}" for path in NOTEBOOKS]


def test_flags_are_read_as_by_a_shell_and_go_no_further(make):
    lines = make("test", 'FLAGS=-k "a b"', "SEED=3", "-k")
    (called,) = [line for line in lines if line.startswith("[-m][pytest]")]
    assert called.endswith("[-m][not slow][-k][a b]")
    (inner,) = [line for line in lines if "tests.benchmarks" in line]
    assert inner.rstrip().endswith("/bin/python -m tests.benchmarks")


def test_kaggle_gets_the_names(make):
    lines = make("kaggle", "OWNER=me", "DATA=a/b, c/d")
    assert lines == ["[-m][kit.runtime.kaggle][me][a/b, c/d]"]
