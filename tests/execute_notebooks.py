"""Runs the notebooks on the sample, one after the other, and keeps outputs.

`make notebooks` calls it.  Lines of progress bars are left out: they tell how
long this machine took, and nothing else.
"""

import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

BAR = "\u2501"  # the bars of Keras are made of it


def execute(path: Path) -> None:
    """Writes the `.ipynb` beside a notebook's `.py`, with its outputs."""
    notebook = jupytext.read(path)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    NotebookClient(
        notebook,
        timeout=None,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": path.parent}},
    ).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            lines = output.get("text", "").splitlines(keepends=True)
            if lines:
                output["text"] = "".join(x for x in lines if BAR not in x)
    nbformat.write(notebook, path.with_suffix(".ipynb"))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, flush=True)
        execute(Path(name))
