import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest
from jupytext.compare import compare_notebooks

from kit import presets, runtime

SCRIPTS = sorted(Path("notebooks").glob("*.py"))
NAMES = [path.stem for path in SCRIPTS]
PAPER = "https://arxiv.org/abs/1912.01127"


def parameters(notebook):
    first = next(c for c in notebook.cells if c.cell_type == "code")
    assert first.metadata.get("tags") == ["parameters"]
    return first.source


def test_there_are_five():
    assert NAMES == [
        "01_explore_data",
        "02_pretrain",
        "03_finetune",
        "04_tta_inference",
        "05_ensemble",
    ]


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_a_pair_is_in_sync_and_has_no_outputs(path):
    source = jupytext.read(path)
    generated = jupytext.read(path.with_suffix(".ipynb"))
    compare_notebooks(generated, source, fmt="py:percent")
    for cell in generated.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
    assert "text_representation" not in str(generated.metadata)


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_the_first_code_cell_is_plain_settings_with_a_comment_each(path):
    for line in parameters(jupytext.read(path)).splitlines():
        name, _ = re.fullmatch(r"(\w+) = \S+  # (.+)", line).groups()
        assert name in runtime.SETTINGS


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_the_settings_take_the_parameters_before_anything_else(path):
    cells = [c for c in jupytext.read(path).cells if c.cell_type == "code"]
    assert "sys.path" in cells[1].source
    assert "runtime.settings(\n    globals()," in cells[2].source or (
        "runtime.settings(globals()" in cells[2].source
    )


def test_the_cell_that_finds_the_kit_is_the_same_in_all():
    cells = [
        [c.source for c in jupytext.read(path).cells if c.cell_type == "code"]
        for path in SCRIPTS
    ]
    assert len({code[1] for code in cells}) == 1
    assert cells[0][1].endswith("runtime.install_missing()")


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_a_cell_is_short(path):
    cells = [c for c in jupytext.read(path).cells if c.cell_type == "code"]
    # The parameters are a list, and what finds the kit is no part of a story.
    for cell in cells[2:]:
        assert len(cell.source.splitlines()) <= 15, cell.source


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_a_notebook_opens_with_its_promise_and_closes_with_what_is_next(path):
    cells = jupytext.read(path).cells
    for promise in ("**In**", "**Out**", "**Time**", "**Score to expect**"):
        assert promise in cells[0].source
    assert "**Learned**" in cells[-1].source
    assert "**Next**" in cells[-1].source


def story(path):
    cells = jupytext.read(path).cells
    texts = (c.source for c in cells if c.cell_type == "markdown")
    return " ".join(" ".join(texts).split())


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_a_notebook_says_which_paper_where_it_first_speaks_of_it(path):
    text = story(path)
    assert PAPER in text[text.index("paper") :][:200]


@pytest.mark.parametrize("path", SCRIPTS[1::2], ids=NAMES[1::2])
def test_who_is_no_member_is_introduced(path):
    assert re.search(f"`{presets.REFERENCE}`.{{,60}} regression", story(path))


def test_the_measure_is_spelled_out_where_it_is_first_named():
    text = story(SCRIPTS[0])
    assert text[: text.index("MAP")].endswith("*mean average precision* (")


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_a_notebook_keeps_its_logic_in_the_kit(path):
    cells = [c for c in jupytext.read(path).cells if c.cell_type == "code"]
    for cell in cells[2:]:  # the second has yet to find the kit
        assert not re.search(r"^\s*(if|while|try)\b", cell.source, re.M)


@pytest.mark.slow
def test_a_notebook_runs_in_jupyter_and_shows_its_figures(sample, tmp_path):
    path = Path("notebooks/01_explore_data.ipynb")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[
        1
    ].source += f"\ndata_dir, output_dir = {sample!r}, {str(tmp_path)!r}"
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": "notebooks"}}
    )
    client.execute()
    shown = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    assert not [o for o in shown if o.output_type == "error"]
    pictures = [o for o in shown if "image/png" in o.get("data", {})]
    assert len(pictures) == 5


@pytest.mark.slow
def test_papermill_sets_the_parameters(sample, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "papermill", "--log-output"),
            *("notebooks/01_explore_data.ipynb", str(tmp_path / "run.ipynb")),
            *("-p", "data_dir", sample, "-p", "output_dir", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "figures" / "01_video.png").exists()
