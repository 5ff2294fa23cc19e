"""The arrows of the house: who may import whom, and what stays lazy."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

KIT = Path("kit")

# A room may import rooms of lower floors, and the neighbours named below.
FLOORS = [
    {"spec"},
    {"layers", "splits", "ranking"},
    {"models", "data", "losses", "metrics"},
    {"presets", "synthetic", "pack"},
    {"inference", "training", "ensemble", "submission", "plots"},
    {"results", "runtime"},
    {"stages"},
]
NEIGHBOURS = {
    ("ensemble", "submission"),
    ("inference", "ensemble"),
}
ALONE = {"spec": set(), "splits": set(), "ranking": set(), "metrics": set()}


def room(path):
    return path.relative_to(KIT).parts[0].removesuffix(".py")


def modules():
    return [p for p in sorted(KIT.rglob("*.py")) if p != KIT / "__init__.py"]


def imports(path, top_level=False):
    """Dotted names that a module imports; only at its top where asked."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield node.module
            yield from (f"{node.module}.{a.name}" for a in node.names)


def rooms_imported(path):
    return {
        name.split(".")[1]
        for name in imports(path)
        if name.startswith("kit.") and len(name.split(".")) > 1
    } & {name for floor in FLOORS for name in floor}


def floor(name):
    return next(level for level, rooms in enumerate(FLOORS) if name in rooms)


def test_every_room_has_a_floor():
    assert {room(path) for path in modules()} == set.union(*FLOORS)


@pytest.mark.parametrize("path", modules(), ids=str)
def test_calls_go_down(path):
    here = room(path)
    for other in rooms_imported(path) - {here}:
        down = floor(other) < floor(here)
        assert down or (here, other) in NEIGHBOURS, f"{here} -> {other}"


@pytest.mark.parametrize("path", modules(), ids=str)
def test_the_rooms_that_stand_alone_do(path):
    here = room(path)
    if here in ALONE:
        assert rooms_imported(path) - {here} <= ALONE[here]


@pytest.mark.parametrize("path", modules(), ids=str)
def test_no_module_imports_tensorflow_at_its_top(path):
    top = {name.split(".")[0] for name in imports(path, top_level=True)}
    assert not top & {"tensorflow", "jax", "skopt"}


@pytest.mark.parametrize(
    "path",
    [p for p in modules() if room(p) in ("layers", "models", "losses")],
    ids=str,
)
def test_layers_and_models_never_import_tensorflow(path):
    everything = {name.split(".")[0] for name in imports(path)}
    assert everything <= {"keras", "kit", "numpy", "dataclasses", "collections",
                          "math", "h5py", "zipfile", "os", "json", "pathlib",
                          "typing"}  # fmt: skip


@pytest.mark.parametrize("path", modules(), ids=str)
def test_nobody_imports_a_notebook_or_pickles(path):
    names = {name.split(".")[0] for name in imports(path)}
    assert not names & {"notebooks", "pickle", "joblib", "tests"}


def test_the_sizes_of_a_frame_stand_in_one_place():
    for path in modules():
        numbers = {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant)
        }
        if room(path) != "spec":
            assert 1152 not in numbers, path
        # Elsewhere 1,024 is also the width of a hidden layer, or a buffer.
        if room(path) in ("data", "pack", "inference", "layers", "training"):
            assert 1024 not in numbers, path


def test_layers_and_models_work_where_tensorflow_is_not_installed():
    code = (
        "import sys; sys.modules['tensorflow'] = None;"
        "from kit import presets, losses, metrics, ensemble;"
        "model = presets.build('BERTMean', 3, scale='tiny');"
        "print(losses.loss_for(model).name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert done.returncode == 0, done.stderr
    assert "binary_crossentropy" in done.stdout
