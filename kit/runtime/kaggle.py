"""Packs the kit and the notebooks for Kaggle's official client.

`make kaggle OWNER=name` leaves in `build/kaggle/` a data set with the kit and
the wheels that an image may lack, a folder for each notebook, chained so that
each finds what those before it left, and prints the commands that upload them.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from kit.runtime.settings import SAMPLE

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("build/kaggle")
KIT = "yt8m-segment-kit"
COMPETITION = "youtube8m-2019"
# The longest that Kaggle lets a session run.
SECONDS = 12 * 60 * 60
# Kaggle's name for two T4, and the notebooks that no GPU would make faster: a
# session with one spends the quota of the week.
ACCELERATOR = "NvidiaTeslaT4"
WITHOUT_GPU = ("01_explore_data", "05_ensemble")
# The competition's validate shards have some 25 videos, so that a hold-out of
# the usual share would often be empty.
HOLDOUT = SAMPLE["holdout_fraction"]


def fetch_wheels(folder: Path) -> None:
    """Downloads scikit-optimize, and what it needs that is no part of images.

    Only wheels that run on any machine: these are imported as they are.
    """
    lines = Path(ROOT, "requirements.txt").read_text()
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    pip += ["--only-binary=:all:", "--platform=any", f"--dest={folder}"]
    pip += [*re.findall("^scikit-optimize.*", lines, re.MULTILINE), "pyaml"]
    subprocess.run(pip, check=True)


def pack(
    owner: str,
    data: Sequence[str] = (),
    folder: str | os.PathLike = FOLDER,
    fetch: Callable[[Path], None] = fetch_wheels,
) -> list[dict]:
    """Builds the folder under a temporary name; an older one is replaced.

    Args:
        owner: Your user name in Kaggle's addresses.
        data: More data sets to attach, each `owner/name`; or `["sample"]` to
            attach no data at all, so that the notebooks simulate a sample.
            With none the competition's few shards are all there is, and the
            notebooks hold out a larger share of them.
        folder: Where to build it.
        fetch: Puts wheels into the folder it is given.

    Returns:
        The metadata of the notebooks, in the order in which they run.

    Raises:
        ValueError: For a name that is none on Kaggle, or a folder that holds
            something else.
    """
    simulate = list(data) == ["sample"]
    contest, data = ([], []) if simulate else ([COMPETITION], list(data))
    _check("OWNER", "name", [owner])
    _check("DATA", "owner/name", data)
    folder = Path(folder)
    if folder.exists() and not Path(folder, KIT).is_dir():
        raise ValueError(
            "Only what was built before is replaced: move the folder away. "
            f"Received: folder={str(folder)!r}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".kaggle-", dir=folder.parent))
    try:
        new = scratch / "new"
        _pack_kit(new / KIT, owner, fetch)
        kernels = []
        for notebook in sorted(Path(ROOT, "notebooks").glob("*.ipynb")):
            kernels += [_kernel(notebook, owner, data, contest, kernels)]
            place = new / notebook.stem
            place.mkdir()
            text = notebook.read_text()
            if contest and not data:
                was = "holdout_fraction = None"
                text = text.replace(was, f"holdout_fraction = {HOLDOUT}")
            (place / notebook.name).write_text(text)
            _write(place / "kernel-metadata.json", kernels[-1])
        if folder.exists():
            os.replace(folder, scratch / "old")
        os.replace(new, folder)
    finally:
        shutil.rmtree(scratch)
    return kernels


def _check(variable, example, names):
    pattern = re.sub(r"\w+", "[A-Za-z0-9][A-Za-z0-9_-]*", example)
    for name in names:
        if not re.fullmatch(pattern, name):
            raise ValueError(
                "A name is what stands in its address on Kaggle, of letters, "
                f"digits and dashes: give {variable}={example}. "
                f"Received: {variable}={name!r}"
            )


def _pack_kit(folder, owner, fetch):
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "kit", folder / "kit", ignore=leave)
    shutil.copy(ROOT / "LICENSE", folder)
    fetch(folder)
    about = {"title": KIT, "id": f"{owner}/{KIT}"}
    about["licenses"] = [{"name": "apache-2.0"}]
    _write(folder / "dataset-metadata.json", about)


def _kernel(notebook, owner, data, contest, before):
    """What the client asks to know of a notebook; all before it are sources."""
    title = f"yt8m {notebook.stem.replace('_', ' ')}"
    gpu = notebook.stem not in WITHOUT_GPU
    return {
        "id": f"{owner}/{title.replace(' ', '-')}",
        "title": title,
        "code_file": notebook.name,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": gpu,
        "machine_shape": ACCELERATOR if gpu else "",
        "enable_internet": False,
        "dataset_sources": [f"{owner}/{KIT}", *data],
        "competition_sources": contest,
        "kernel_sources": [kernel["id"] for kernel in before],
    }


def _write(path, content):
    path.write_text(json.dumps(content, indent=2) + "\n")


def instructions(kernels: list[dict]) -> str:
    """What to type next, in order, and what to know before."""
    pushes = [
        f"  kaggle kernels push -p {FOLDER / Path(kernel['code_file']).stem} "
        f"--timeout {SECONDS}\n  kaggle kernels status {kernel['id']}"
        for kernel in kernels
    ]
    first = kernels[0]
    data = _REAL if first["competition_sources"] else _SIMULATED
    if data == _REAL and len(first["dataset_sources"]) == 1:
        data += _EXCERPT
    return _TEXT.format(kit=FOLDER / KIT, pushes="\n".join(pushes), data=data)


_TEXT = """\
Ready for Kaggle's client: `pip install kaggle`, and sign in as told at
https://github.com/Kaggle/kaggle-cli. Upload the kit once:

  kaggle datasets create -p {kit} --dir-mode zip

(A newer one: kaggle datasets version -p {kit} --dir-mode zip -m new)
Then one notebook after the other, when the status of the last is `complete`:

{pushes}

{data}

To go on where a session ended: copy the folder of that notebook, give the copy
another `id` and `title`, add the `id` of the first to its `kernel_sources`, and
both to those of the notebooks after it. A member can have notebooks of its own:
copy 02, 03 and 04 so, with `members = "BERTMean"` in the first code cell. 05
fuses every member that it finds in what is attached."""
_SIMULATED = "No data are attached: the notebooks simulate a sample."
_REAL = f"""\
Accept the rules at https://www.kaggle.com/c/{COMPETITION}/rules first. The
competition has no test shards and few others: attach data sets that hold them,
DATA=owner/name,owner/other. As they are, the notebooks train nine members at
the paper's size: for less, set `members` and `steps` in the first code cell.
DATA=sample tries everything on simulated data first."""
_EXCERPT = f"""

Nothing else is attached now: 02, 03 and 04 have `holdout_fraction = {HOLDOUT}`,
since few videos are there to hold out, and 04 will find no test shards."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make kaggle")
    parser.add_argument("owner", metavar="OWNER")
    parser.add_argument("--data", metavar="DATA", default="")
    given = parser.parse_args()
    try:
        kernels = pack(given.owner, [d for d in given.data.split(",") if d])
    except ValueError as error:
        parser.error(str(error))
    print(instructions(kernels))


if __name__ == "__main__":
    main()
