"""The arrows of the house, its ceilings, and what stays lazy."""

import ast
import doctest
import importlib
import io
import sys
import tokenize
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kit import layers, models
from kit.spec import YOUTUBE_8M
from tests.processes import python

KIT = Path("kit")

# A room may import rooms of lower floors, and the neighbours named below.
FLOORS = [
    {"spec", "replacing", "processes"},
    {"layers", "splits", "ranking"},
    {"models", "data", "losses", "metrics"},
    {"presets", "sample", "pack"},
    {
        *("training", "inference", "ensemble", "submission"),
        *("explain", "plots", "runtime"),
    },
]
NEIGHBOURS = {("ensemble", "submission")}
# NumPy alone, and Keras alone, which so run on every backend.
NUMPY = {"spec", "ranking", "metrics"}
KERAS = {"layers", "models", "losses"}
# One place for what could otherwise be heavy, or dangerous, to import.
LAZY = {"tensorflow", "jax", "skopt", "IPython", "google"}
NEVER = {"notebooks", "tests", "pickle", "dill"}

MOST_LINES = 5_000  # of code in the kit, what goes past the paper included
MOST_FUNCTION_LINES = 40  # without the docstring
MOST_PARAMETERS = 10  # hyper-parameters of layers and builders apart
MOST_TEST_LINES = 8_500  # benchmarks included


def room(path):
    return path.relative_to(KIT).parts[0].removesuffix(".py")


def modules(*rooms):
    paths = sorted(KIT.rglob("*.py"))
    return [path for path in paths if not rooms or room(path) in rooms]


def rooms():
    return {room(path) for path in modules()} - {"__init__"}


def imports(path, top_level=False):
    """Dotted names that a module imports; only at its top where asked."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield node.module
            yield from (f"{node.module}.{a.name}" for a in node.names)


def packages_imported(paths, top_level=False):
    return {
        name.split(".")[0]
        for path in paths
        for name in imports(path, top_level)
    }


def test_every_room_has_a_floor():
    assert rooms() == set.union(*FLOORS)


@pytest.mark.parametrize("level", range(len(FLOORS)))
def test_calls_go_down(level):
    lower = set().union(*FLOORS[:level])
    for path in modules(*FLOORS[level]):
        names = [name.split(".") for name in imports(path)]
        others = {name[1] for name in names if name[0] == "kit" and name[1:]}
        for other in others & rooms() - {room(path)} - lower:
            assert (room(path), other) in NEIGHBOURS, f"{path} -> {other}"


def test_rooms_that_need_nothing_else():
    external = packages_imported(modules(*NUMPY)) - sys.stdlib_module_names
    assert external <= {"kit", "numpy", "pandas"}
    external = packages_imported(modules(*KERAS)) - sys.stdlib_module_names
    assert external <= {"kit", "keras", "numpy", "h5py"}


def test_what_is_heavy_or_dangerous_is_not_imported():
    assert not packages_imported(modules(), top_level=True) & LAZY
    assert not packages_imported(modules()) & NEVER


def test_the_sizes_of_a_frame_stand_in_one_place():
    for path in modules(*rooms() - {"spec"}):
        nodes = ast.walk(ast.parse(path.read_text()))
        numbers = {x.value for x in nodes if isinstance(x, ast.Constant)}
        assert 1152 not in numbers, path
        # Elsewhere 1,024 is also the width of a hidden layer.
        if room(path) in ("data", "pack", "inference", "layers", "training"):
            assert 1024 not in numbers, path


def docstring_lines(node):
    """The numbers of the lines of a docstring, if the node has one."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    if not isinstance(node, documented) or ast.get_docstring(node) is None:
        return set()
    return set(range(node.body[0].lineno, node.body[0].end_lineno + 1))


def code_lines(text):
    """How many lines are no docstring, comment or blank line."""
    nothing = {
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
        *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
    }
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in nothing:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        lines -= docstring_lines(node)
    return len(lines)


def test_lines_of_code_are_counted():
    text = '"""Two\nlines."""\n# one\n\nx = [\n    1,\n]\ny = """a\n\nb"""\n'
    assert code_lines(text) == 6


def test_the_kit_is_small_enough_to_read_in_an_afternoon():
    sizes = {room: 0 for room in sorted(rooms() | {"__init__"})}
    for path in modules():
        sizes[room(path)] += code_lines(path.read_text())
    assert sum(sizes.values()) <= MOST_LINES, sizes


@pytest.mark.parametrize("path", modules(), ids=str)
def test_functions_are_short_and_take_few_parameters(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            length = node.end_lineno - node.lineno + 1
            lines = length - len(docstring_lines(node))
            assert lines <= MOST_FUNCTION_LINES, node.name
            arguments = node.args.args + node.args.kwonlyargs
            names = [a.arg for a in arguments if a.arg not in ("self", "cls")]
            if room(path) not in ("layers", "models"):
                assert len(names) <= MOST_PARAMETERS, node.name


def test_the_tests_are_few_enough_to_read():
    paths = Path("tests").rglob("*.py")
    lines = sum(path.read_text().count("\n") for path in paths)
    assert lines <= MOST_TEST_LINES


def test_examples_of_docstrings_are_true(monkeypatch):
    monkeypatch.setattr(tf.TensorShape, "__repr__", lambda x: repr(tuple(x)))
    names = vars(layers) | vars(models) | {"np": np, "keras": keras}
    names |= {"spec": YOUTUBE_8M, "class_ids": [3, 5]}
    for path in KIT.rglob("*.py"):
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        module = importlib.import_module(name)
        assert not doctest.testmod(module, extraglobs=names).failed, name


def test_layers_and_models_work_where_tensorflow_is_not_installed():
    code = (
        "import sys; sys.modules['tensorflow'] = None;"
        "from kit import presets, losses, metrics, ensemble;"
        "model = presets.build('BERTMean', 3, scale='tiny');"
        "print(losses.loss_for(model).name)"
    )
    done = python("-c", code, KERAS_BACKEND="jax")
    assert "binary_crossentropy" in done.stdout
