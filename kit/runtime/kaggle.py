"""Packs the kit and the notebooks for Kaggle's official client.

`make kaggle OWNER=name DATA=sample` leaves in `build/kaggle/` a data set with
the kit, the notebooks as scripts and the wheels that an image may lack, and a
folder for each notebook, chained so that each finds what those before it left.
It prints the commands that upload them.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kit.replacing import replacing

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("build/kaggle")
KIT = "yt8m-segment-kit"
COMPETITION = "youtube8m-2019"
# No GPU makes these faster, and a session with one spends the week's quota.
WITHOUT_GPU = ("01_explore_data", "05_ensemble")
TEXT = f"""
Accept the rules at https://www.kaggle.com/c/{COMPETITION}/rules, unless
DATA=sample, and `pip install kaggle`. Push each notebook when the status of the
last is `complete`. A newer kit: `kaggle datasets version ... -m new`.

kaggle datasets create -p {FOLDER / KIT} --dir-mode zip"""


def pack(owner: str, data: Sequence[str], folder: Path = FOLDER) -> list[dict]:
    """Builds the folder; an older one is replaced once all is there.

    Args:
        owner: Your user name in Kaggle's addresses.
        data: Data sets to attach beside the competition's few shards, each
            `owner/name`; or `["sample"]` to attach no data at all, so that
            the notebooks simulate them.
        folder: Where to build it.

    Returns:
        The metadata of the notebooks, in the order in which they run.

    Raises:
        ValueError: For a name that is none on Kaggle.
    """
    simulate = list(data) == ["sample"]
    sources = [f"{owner}/{KIT}", *([] if simulate else data)]
    for source in sources:
        if not re.fullmatch(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w-]*", source):
            raise ValueError(
                "Names stand in addresses on Kaggle: give OWNER=name and "
                f"DATA=sample or DATA=owner/name,... Received: {source!r}"
            )
    kernels = []
    with replacing(folder) as scratch:
        _copy_kit(scratch / KIT, sources[0])
        for notebook in sorted(ROOT.glob("notebooks/*.ipynb")):
            kernel = _metadata(owner, notebook, sources, simulate, kernels)
            kernels.append(kernel)
            _write(scratch / notebook.stem / "kernel-metadata.json", kernel)
            shutil.copy(notebook, scratch / notebook.stem)
    return kernels


def _copy_kit(folder, name):
    own = "__pycache__", "*.ipynb*", "*.png", "outputs"
    ignored = shutil.ignore_patterns(*own)
    for part in ("kit", "notebooks"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    # Wheels that run on any machine are imported as they are.
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    pip += ["--only-binary=:all:", "--platform=any", f"--dest={folder}"]
    subprocess.run([*pip, "scikit-optimize>=0.10.2", "pyaml"], check=True)
    about = {"title": KIT, "id": name, "licenses": [{"name": "apache-2.0"}]}
    _write(folder / "dataset-metadata.json", about)


def _metadata(owner, notebook, sources, simulate, before):
    """What the client asks to know of a notebook; all before it are sources."""
    gpu = notebook.stem not in WITHOUT_GPU
    title = f"yt8m {notebook.stem.replace('_', ' ')}"
    return {
        "id": f"{owner}/{title.replace(' ', '-')}",
        "title": title,
        "code_file": notebook.name,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": gpu,
        "machine_shape": "NvidiaTeslaT4" if gpu else "",  # which is two
        "enable_internet": False,
        "dataset_sources": sources,
        "competition_sources": [] if simulate else [COMPETITION],
        "kernel_sources": [kernel["id"] for kernel in before],
    }


def _write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    owner, data = sys.argv[1:]
    kernels = pack(owner, data.replace(",", " ").split())
    print(TEXT)
    for kernel in kernels:
        place = FOLDER / Path(kernel["code_file"]).stem
        print(f"kaggle kernels push -p {place} --timeout {12 * 60 * 60}")
        print(f"kaggle kernels status {kernel['id']}")
