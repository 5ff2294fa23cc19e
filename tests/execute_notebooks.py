"""Runs the notebooks on the sample, one after the other, and keeps outputs.

`make notebooks` calls it.  Sounds are left out, being large, and lines of
progress bars, which tell how long one machine took and nothing else.
"""

import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

BAR = "\u2501"  # the bars of Keras are made of it


def quiet(output):
    """An output without bars; None for a sound, or where nothing is left."""
    if "<audio" in output.get("data", {}).get("text/html", ""):
        return None
    if output.output_type == "stream":
        lines = output.text.splitlines(keepends=True)
        output.text = "".join(line for line in lines if BAR not in line)
        return output if output.text.strip() else None
    return output


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
        if cell.cell_type == "code":
            cell.outputs = [o for o in map(quiet, cell.outputs) if o]
    nbformat.write(notebook, path.with_suffix(".ipynb"))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, flush=True)
        execute(Path(name))
