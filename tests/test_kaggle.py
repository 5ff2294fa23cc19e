"""The Kaggle folder, and the five notebooks in simulated mounts of it."""

import importlib.metadata
import json
import os
import re
import shutil
import venv
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from kit import submission
from kit.runtime import kaggle
from tests.chain import FLAGS, MEMBERS
from tests.processes import python, run

NAMES = list(FLAGS)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """pip finds wheels made of the installed packages, and no index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("scikit-optimize", "pyaml"):
        package = importlib.metadata.distribution(name)
        stem = f"{name.replace('-', '_')}-{package.version}-py3-none-any.whl"
        with zipfile.ZipFile(folder / stem, "w") as wheel:
            for file in package.files:
                if file.suffix != ".pyc" and ".." not in file.parts:
                    wheel.write(file.locate(), str(file))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def test_the_folder_holds_the_kit_and_a_chain_of_notebooks(tmp_path, offline):
    command = ["-m", "kit.runtime.kaggle", "me", "a/b, c/d"]
    done = python(*command, folder=tmp_path, PYTHONPATH=os.getcwd())
    printed = done.stdout
    (kit,) = re.findall(r"datasets create -p (\S+) --dir-mode", printed)
    pushed = re.findall(r"kernels push -p (\S+) --timeout 43200", printed)
    kit, *places = (tmp_path / place for place in (kit, *pushed))
    assert [place.name for place in places] == NAMES
    about = json.loads((kit / "dataset-metadata.json").read_text())
    assert about["id"] == "me/yt8m-segment-kit"
    assert 6 <= len(about["title"]) <= 50 and len(about["licenses"]) == 1
    assert (kit / "kit" / "spec.py").exists()
    # Where there are several GPUs, these run a member on each.
    assert [p.stem for p in sorted(kit.glob("notebooks/*"))] == NAMES
    assert not list(kit.rglob("__pycache__"))
    found = {path.name.split("-")[0] for path in kit.glob("*.whl")}
    assert found == {"scikit_optimize", "pyaml"}
    before = []
    for place in places:
        kernel = json.loads((place / "kernel-metadata.json").read_text())
        packed = (place / kernel["code_file"]).read_bytes()
        assert packed == Path(f"notebooks/{place.name}.ipynb").read_bytes()
        # Kaggle makes the address of the title; another one is not found.
        slug = re.sub("[^a-z0-9]+", "-", kernel["title"].lower())
        assert kernel["id"] == f"me/{slug}"
        # What Kaggle's client calls two T4; a shape would ask for a GPU too.
        gpu = place.name in NAMES[1:4]
        assert kernel["enable_gpu"] == gpu and kernel["is_private"]
        assert kernel["machine_shape"] == ("NvidiaTeslaT4" if gpu else "")
        assert not kernel["enable_internet"]
        assert kernel["competition_sources"] == ["youtube8m-2019"]
        assert kernel["dataset_sources"] == [about["id"], "a/b", "c/d"]
        assert kernel["kernel_sources"] == before
        before.append(kernel["id"])
    assert re.findall(r"kernels status (\S+)", printed) == before


def test_an_older_folder_stays_only_where_building_fails(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no network")

    folder = tmp_path / "kaggle"
    (folder / "stale").mkdir(parents=True)
    monkeypatch.setattr(kaggle.subprocess, "run", fail)
    with pytest.raises(OSError, match="no network"):
        kaggle.pack("me", [], folder)
    assert os.listdir(folder) == ["stale"]
    monkeypatch.setattr(kaggle.subprocess, "run", lambda *_, **__: None)
    for kernel in kaggle.pack("you", ["sample"], folder):
        assert kernel["competition_sources"] == []
        assert kernel["dataset_sources"] == ["you/yt8m-segment-kit"]
    assert sorted(os.listdir(folder)) == [*NAMES, kaggle.KIT]
    assert os.listdir(tmp_path) == ["kaggle"]


@pytest.mark.parametrize(
    "owner, data", [("", []), ("me/kit", []), ("you\n", []), ("me", ["yt8m"])]
)
def test_a_name_that_is_none_is_refused(owner, data, tmp_path):
    with pytest.raises(ValueError, match="OWNER=name and DATA=sample or"):
        kaggle.pack(owner, data, tmp_path / "k")
    assert not os.listdir(tmp_path)


# The chain, in mounts as Kaggle makes them.

RUNNER = """
import json, sys
cells = json.load(open(sys.argv[1]))["cells"]
code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
names = {"__name__": "__main__"}
for cell in code:
    exec(compile(cell, "<cell>", "exec"), names)
    if cell is code[0]:  # as papermill would add
        quick = json.loads(sys.argv[2])
        names.update({name: quick[name] for name in quick if name in names})
import kit
print("kit:", kit.__file__)
print("skopt:", getattr(sys.modules.get("skopt"), "__file__", None))
"""
# What makes the chain quick, of the parameters that a notebook has.
QUICK = {
    "members": ", ".join(MEMBERS),
    "scale": "tiny",
    "epochs": 2,
    "steps_per_epoch": 3,
    "batch_size": 16,
    "holdout_fraction": 0.4,
    "num_classes": 100,
    "evaluations": 12,
}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A Python with the packages of an image: not the kit, and not skopt."""
    folder = tmp_path_factory.mktemp("image")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/*/site-packages")
    lacks = re.compile(
        r"(skopt|scikit_optimize|pyaml|yt8m|__editable__|__pycache__)|.*\.pth"
    )
    for package in Path(pd.__file__).parents[1].iterdir():
        if not lacks.match(package.name):
            (packages / package.name).symlink_to(package)
    return folder / "bin" / "python"


def move(prefix, root, folder):
    """Puts `root` in place of an absolute path, wherever files have it."""
    for path in [*folder.rglob("*.py"), *folder.rglob("*.ipynb")]:
        pattern = rf"(?<![\w.]){prefix}(?=/)"
        path.write_text(re.sub(pattern, str(root), path.read_text()))


def listing(folder):
    """All there is to see of it: root may write in spite of permissions, but
    not without a trace."""
    paths = folder.rglob("*")
    return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in paths}


def attach(sample, mounts):
    """Real shards as the competition and a user's data set show them."""
    competition = mounts / "competitions" / kaggle.COMPETITION
    places = {"train": "frame-sample/frame"}
    places["validate"] = "validate-sample/validate"
    for split, place in places.items():
        (competition / place).mkdir(parents=True)
        shard = Path(sample, split, f"{split}00.tfrecord")
        shutil.copy(shard, competition / place)
    # Kaggle's vocabulary lists the segment classes alone.
    classes = pd.read_csv(Path(sample, "segment_label_ids.csv"))
    names = pd.read_csv(Path(sample, "vocabulary.csv"), keep_default_na=False)
    names = names[names["Index"].isin(classes["Index"])]
    names.to_csv(competition / "vocabulary.csv", index=False)
    shutil.copytree(Path(sample, "test"), mounts / "datasets/you/test")


def run_kernel(python, notebook, root):
    """Runs a packed notebook as Kaggle would; what it printed."""
    move("/kaggle", root, notebook.parent)
    (root / "working").mkdir()
    before = listing(root / "input")
    command = [python, "-B", "-c", RUNNER, notebook, json.dumps(QUICK)]
    environment = {"PYTHONPATH": "", "MPLBACKEND": "Agg"}
    environment |= {"KAGGLE_KERNEL_RUN_TYPE": "Batch"}
    printed = run(command, root / "working", **environment).stdout
    assert listing(root / "input") == before
    return printed


@pytest.mark.slow
def test_the_notebooks_run_on_kaggle(tmp_path, image, sample, offline):
    root, packed = tmp_path / "kaggle", tmp_path / "packed"
    kernels = kaggle.pack("me", ["you/test"], packed)
    kit = root / "input" / "datasets" / "me" / kaggle.KIT
    shutil.copytree(packed / kaggle.KIT, kit)
    move("/kaggle", root, kit)
    attach(sample, root / "input")
    for name, kernel in zip(NAMES, kernels, strict=True):
        notebook = packed / name / kernel["code_file"]
        printed = run_kernel(image, notebook, root)
        assert f"kit: {kit}/kit/__init__.py" in printed
        assert "SIMULATED" not in printed
        output = root / "input" / "notebooks" / kernel["id"]
        output.parent.mkdir(exist_ok=True, parents=True)
        (root / "working").rename(output)
    assert f"skopt: {kit}/scikit_optimize-" in printed
    assert all(member in printed for member in MEMBERS)
    classes = pd.read_csv(Path(sample, "segment_label_ids.csv"))["Index"]
    path = output / "outputs" / "ensemble" / "submission.csv"
    checked = submission.validate(path, class_ids=classes.to_numpy())
    assert checked["classes"] == len(classes) and checked["segments"] > 0


# The cell that finds the kit, on Colab.

COLAB = """
import json, sys
cells = json.load(open(sys.argv[1]))["cells"]
code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
exec(compile(code[1], "<cell>", "exec"), {"__name__": "__main__"})
import kit
from kit import runtime
runtime.install_missing()
import skopt
print("kit:", kit.__file__)
print("skopt:", skopt.__file__)
print("data:", runtime.find_data("find", ".", 0))
"""


@pytest.mark.slow
def test_colab_finds_kit_and_data_on_drive(tmp_path, image, sample, offline):
    root = tmp_path / "content"
    drive = root / "drive" / "MyDrive"
    kaggle.pack("me", ["sample"], tmp_path / "packed")
    shutil.copytree(tmp_path / "packed" / kaggle.KIT, drive / kaggle.KIT)
    for split in ("train", "validate"):
        shutil.copytree(Path(sample, split), drive / "yt8m" / split)
    shutil.copytree("notebooks", root / "opened")
    move("/content", root, root)
    notebook = root / "opened" / "05_ensemble.ipynb"
    done = run([image, "-c", COLAB, notebook], root, PYTHONPATH="")
    kit, skopt, data = done.stdout.strip().splitlines()[-3:]
    assert kit == f"kit: {drive}/{kaggle.KIT}/kit/__init__.py"
    assert f"{drive}/{kaggle.KIT}/scikit_optimize-" in skopt
    for split in ("train", "validate"):
        assert f"{drive}/yt8m/{split}'" in data
