"""Runs the notebooks on the sample, one after the other, and keeps outputs.

`make notebooks` calls it.  Sounds are left out, being large, and what tells of
one machine alone: lines of progress bars, and where its files are.
"""

import re
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

BAR = re.compile("\u2501|Epoch [0-9]+/")  # lines of Keras' progress


def quiet(output, folder: str):
    """An output without bars and the notebook's folder; None for a sound."""
    if "<audio" in output.get("data", {}).get("text/html", ""):
        return None
    if output.output_type == "stream":
        lines = output.text.splitlines(keepends=True)
        text = "".join(line for line in lines if not BAR.search(line))
        output.text = text.replace(folder, "")
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
    folder = f"{path.parent.resolve()}/"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            outputs = (quiet(output, folder) for output in cell.outputs)
            cell.outputs = [output for output in outputs if output]
    notebook.metadata.pop("jupytext", None)
    nbformat.write(notebook, path.with_suffix(".ipynb"))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, flush=True)
        execute(Path(name))
