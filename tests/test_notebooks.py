import re
from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest
from jupytext.compare import compare_notebooks

from kit import presets
from tests.chain import SCRIPTS, code_of, parameters

NAMES = [path.stem for path in SCRIPTS]
PAPER = "https://arxiv.org/abs/1912.01127"
each = pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)


def story(path):
    cells = jupytext.read(path).cells
    texts = (cell.source for cell in cells if cell.cell_type == "markdown")
    return " ".join(" ".join(texts).split())


def test_there_are_five_and_they_are_small_enough_to_load():
    assert sorted(Path("notebooks").glob("*.py")) == SCRIPTS
    files = [path.with_suffix(".ipynb") for path in SCRIPTS]
    assert sum(path.stat().st_size for path in files) < 3e6
    assert [name[:2] for name in NAMES] == ["01", "02", "03", "04", "05"]


@each
def test_a_pair_says_the_same_and_shows_one_run_from_top_to_bottom(path):
    source = jupytext.read(path)
    generated = jupytext.read(path.with_suffix(".ipynb"))
    compare_notebooks(generated, source, fmt="py:percent")
    code = [cell for cell in generated.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert [o for o in outputs if "image/png" in o.get("data", {})]
    text = "".join(output.get("text", "") for output in outputs)
    # No bar, no warning, and no place of the machine that it ran on.
    assert not re.search("\u2501|Warning|WARNING|(?<![\\w.])/[a-z]+/", text)
    assert "text_representation" not in str(generated.metadata)


@each
def test_the_first_code_cell_has_a_real_value_for_each_parameter(path):
    first = code_of(path)[0]
    assert first.metadata.get("tags") == ["parameters"]
    assert parameters(path)
    for name, value in parameters(path).items():
        assert isinstance(value, str | int | float), name
        assert re.search(rf"^{name} = ", first.source, re.M)
        comment = rf"^{name} = (?:.*\\\n)?.*?  # \S"
        assert re.search(comment, first.source, re.M) or name == "batch_size"


def test_the_same_parameter_has_the_same_value_in_every_notebook():
    values = {}
    for path in SCRIPTS:
        cell = parameters(path)
        for name in ("data_dir", "output_dir", "seed", "holdout_fraction"):
            if name in cell:
                values.setdefault(name, set()).add(cell[name])
    assert all(len(found) == 1 for found in values.values()), values


@pytest.mark.parametrize("path", SCRIPTS[1:4], ids=NAMES[1:4])
def test_the_members_are_the_papers_nine(path):
    members = parameters(path)["members"]
    assert presets.parse_members(members) == list(presets.MEMBERS)


def test_the_cell_that_finds_the_kit_is_the_same_in_all():
    assert len({code_of(path)[1].source for path in SCRIPTS}) == 1


@each
def test_a_cell_is_short(path):
    # The parameters are a list; what trains a member is one thing to read.
    for cell in code_of(path)[3:]:
        longest = 52 if ".fit(" in cell.source else 28
        assert len(cell.source.splitlines()) <= longest, cell.source


@each
def test_a_notebook_opens_with_its_promise_and_closes_with_what_is_next(path):
    cells = jupytext.read(path).cells
    for promise in ("**In**", "**Out**", "**Time**", "**Score to expect**"):
        assert promise in cells[0].source
    assert "**Learned**" in cells[-1].source
    assert "**Next**" in cells[-1].source
    # It says which paper where it first speaks of it.
    text = story(path)
    assert PAPER in text[text.index("paper") :][:200]


@pytest.mark.parametrize("path", SCRIPTS[1:3], ids=NAMES[1:3])
def test_training_stands_before_the_readers_eyes(path):
    code = "\n".join(cell.source for cell in code_of(path))
    for shown in (".compile(", ".fit(", "keras.optimizers.Adam", "callbacks=["):
        assert shown in code


def test_the_measure_is_spelled_out_where_it_is_first_named():
    text = story(SCRIPTS[0])
    assert text[: text.index("MAP")].endswith("*mean average precision* (")


@pytest.mark.slow
def test_a_notebook_runs_in_jupyter_and_each_cell_twice(sample, tmp_path):
    path = Path("notebooks/01_explore_data.ipynb")
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code[0].source += f"\ndata_dir, output_dir = {sample!r}, {str(tmp_path)!r}"
    cells = []
    for cell in notebook.cells:
        again = cell.cell_type == "code" and cell is not code[0]
        cells += [cell, nbformat.from_dict({**cell})] if again else [cell]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook.cells = cells
    place = {"metadata": {"path": "notebooks"}}
    nbclient.NotebookClient(notebook, timeout=300, resources=place).execute()
    outputs = sum((cell.get("outputs", []) for cell in notebook.cells), [])
    assert not [o for o in outputs if o.output_type == "error"]
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 2 * 6
