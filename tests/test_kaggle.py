"""The Kaggle folder, and the five notebooks in simulated mounts of it."""

import dataclasses
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from kit import data, runtime, submission
from kit.runtime import kaggle
from kit.splits import Holdout

MEMBERS = ("BERTMean", "GatedNetVLAD")
NAMES = [path.stem for path in sorted(Path("notebooks").glob("*.ipynb"))]


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """Wheels made of the installed packages, as an index would give them."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in ("scikit-optimize", "pyaml"):
        found = importlib.metadata.distribution(name)
        stem = f"{name.replace('-', '_')}-{found.version}-py3-none-any.whl"
        with zipfile.ZipFile(folder / stem, "w") as wheel:
            for file in found.files:
                if file.suffix != ".pyc" and ".." not in file.parts:
                    wheel.write(file.locate(), str(file))
    return folder


@pytest.fixture
def offline(wheels, monkeypatch):
    """pip finds the local wheels alone."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))


def fetch_nothing(folder):
    pass


def test_the_folder_holds_the_kit_and_five_notebooks_in_a_chain(
    tmp_path, offline
):
    folder = tmp_path / "build" / "kaggle"
    kernels = kaggle.pack("me", ["you/yt8m-test"], folder)
    assert sorted(p.name for p in folder.iterdir()) == [*NAMES, kaggle.KIT]
    place = folder / kaggle.KIT
    about = json.loads((place / "dataset-metadata.json").read_text())
    assert about["id"] == "me/yt8m-segment-kit"
    assert 6 <= len(about["title"]) <= 50 and len(about["licenses"]) == 1
    assert (place / "kit" / "spec.py").exists()
    assert not list(place.rglob("__pycache__"))
    found = {path.name.split("-")[0] for path in place.glob("*.whl")}
    assert found == {"scikit_optimize", "pyaml"}
    for at, name in enumerate(NAMES):
        text = (folder / name / "kernel-metadata.json").read_text()
        metadata = json.loads(text)
        assert metadata == kernels[at]
        assert (folder / name / metadata["code_file"]).read_bytes() == Path(
            f"notebooks/{name}.ipynb"
        ).read_bytes()
        # Kaggle makes the address of the title; another one is not found.
        slug = re.sub("[^a-z0-9]+", "-", metadata["title"].lower())
        assert metadata["id"] == f"me/{slug}"
        # What Kaggle's client calls two T4; a shape would ask for a GPU too.
        gpu = name in NAMES[1:4]
        assert metadata["enable_gpu"] == gpu and metadata["is_private"]
        assert metadata["machine_shape"] == ("NvidiaTeslaT4" if gpu else "")
        assert not metadata["enable_internet"]
        assert metadata["competition_sources"] == ["youtube8m-2019"]
        assert metadata["dataset_sources"] == [about["id"], "you/yt8m-test"]
        before = [kernel["id"] for kernel in kernels[:at]]
        assert metadata["kernel_sources"] == before


def test_the_commands_name_what_was_built_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kernels = kaggle.pack("me", fetch=fetch_nothing)
    text = kaggle.instructions(kernels)
    pushed = re.findall(r"kaggle kernels push -p (\S+) --timeout 43200", text)
    assert [Path(place).name for place in pushed] == NAMES
    for place in pushed:
        assert Path(place, "kernel-metadata.json").exists()
    (kit,) = re.findall(r"kaggle datasets create -p (\S+) --dir-mode", text)
    assert Path(kit, "dataset-metadata.json").exists()
    assert text.index(kit) < text.index(pushed[0])
    assert re.findall(r"kernels status (\S+)", text) == [
        kernel["id"] for kernel in kernels
    ]
    assert "DATA=owner/name" in text


def test_of_the_competitions_excerpt_alone_a_larger_share_is_held_out(tmp_path):
    def built(folder, *data):
        kernels = kaggle.pack("me", data, tmp_path / folder, fetch_nothing)
        texts = {
            name: (tmp_path / folder / name / f"{name}.ipynb").read_text()
            for name in NAMES
        }
        return texts, kaggle.instructions(kernels)

    texts, told = built("alone")
    assert "`holdout_fraction = 0.4`" in told
    for name, text in texts.items():
        changed = text.replace("holdout_fraction = 0.4 ", "")
        source = Path(f"notebooks/{name}.ipynb").read_text()
        assert changed == source.replace("holdout_fraction = None ", "")
        assert ("holdout_fraction = 0.4 " in text) == (name in NAMES[1:4])
    # The partitions are large enough for the paper's share.
    for data_sets in (["you/yt8m"], ["sample"]):
        texts, told = built(data_sets[0][:3], *data_sets)
        assert "holdout_fraction" not in told
        assert not any("holdout_fraction = 0" in t for t in texts.values())


def test_for_the_sample_no_data_are_attached(tmp_path):
    kernels = kaggle.pack("me", ["sample"], tmp_path / "k", fetch_nothing)
    assert all(kernel["competition_sources"] == [] for kernel in kernels)
    assert all(len(kernel["dataset_sources"]) == 1 for kernel in kernels)
    assert "simulate" in kaggle.instructions(kernels)


def test_an_older_folder_is_replaced_and_stays_where_building_fails(tmp_path):
    folder = tmp_path / "kaggle"
    kaggle.pack("me", folder=folder, fetch=fetch_nothing)
    (folder / "stale").touch()

    def fail(folder):
        raise OSError("no network")

    with pytest.raises(OSError, match="no network"):
        kaggle.pack("me", folder=folder, fetch=fail)
    assert (folder / "stale").exists()
    kaggle.pack("you", folder=folder, fetch=fetch_nothing)
    assert not (folder / "stale").exists()
    assert "you/" in (folder / NAMES[0] / "kernel-metadata.json").read_text()
    assert os.listdir(tmp_path) == ["kaggle"]


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="Received: folder="):
        kaggle.pack("me", folder=tmp_path, fetch=fetch_nothing)
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("owner", ["", "me you", "me/kit", "-me", "you\n"])
def test_a_name_that_is_none_is_refused(owner, tmp_path):
    with pytest.raises(ValueError, match="OWNER=name. Received: OWNER="):
        kaggle.pack(owner, folder=tmp_path / "k", fetch=fetch_nothing)
    assert not os.listdir(tmp_path)


def test_a_data_set_without_its_owner_is_refused(tmp_path):
    with pytest.raises(ValueError, match="DATA=owner/name. Received: DATA="):
        kaggle.pack("me", ["yt8m"], tmp_path / "k", fetch_nothing)


def test_a_run_without_a_name_says_what_to_give():
    done = subprocess.run(
        [sys.executable, "-m", "kit.runtime.kaggle", ""],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "OWNER=name" in done.stderr.splitlines()[-1]


def test_make_passes_the_names_on():
    done = subprocess.run(
        ["make", "--dry-run", "kaggle", "OWNER=me", "DATA=a/b,c/d"],
        capture_output=True,
        text=True,
    )
    command = '-m kit.runtime.kaggle "me" --data=a/b,c/d'
    # A make within a make says more than the command.
    assert any(line.endswith(command) for line in done.stdout.splitlines())


# What attached data look like.


@pytest.fixture
def attached(tmp_path, monkeypatch):
    root = tmp_path / "input"
    root.mkdir()
    monkeypatch.setitem(runtime.INPUTS, "here", [str(root)])
    return root


def put(source, *place):
    """Copies a file to where a host would show it."""
    place = Path(*place)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)


def competition(sample, folder):
    """The sample's shards and classes as Kaggle's folder has them."""
    train = Path(sample, "train/train00.tfrecord")
    put(train, folder, "frame-sample/frame/train00.tfrecord")
    validate = Path(sample, "validate/validate00.tfrecord")
    put(validate, folder, "validate-sample/validate/validate00.tfrecord")
    # Kaggle's vocabulary lists the segment classes alone.
    classes = data.read_segment_classes(sample)
    names = data.read_vocabulary(sample)
    names = names[names["Index"].isin(classes)]
    names.to_csv(folder / "vocabulary.csv", index=False)


def test_the_competitions_excerpts_step_back_for_the_partitions(
    sample, attached
):
    competition(sample, attached / "competitions/youtube8m-2019")
    needs = ("train", "validate")
    found, is_sample = runtime.find_data(None, attached, 0, needs)
    assert not is_sample
    for split in needs:
        assert len(data.list_shards(found, split)) == 1
    assert len(data.read_vocabulary(found)) == 20
    # The whole of a split holds the same videos once more.
    whole = attached / "datasets/you/yt8m/train/train0000.tfrecord"
    put(Path(sample, "train/train00.tfrecord"), whole)
    found, _ = runtime.find_data(None, attached, 0, needs)
    assert data.list_shards(found, "train") == [str(whole)]
    (validate,) = data.list_shards(found, "validate")
    assert "validate-sample" in validate
    assert len(data.read_vocabulary(found)) == 20


def test_data_shown_under_two_mounts_are_read_once(sample, attached):
    competition(sample, attached / "competitions/youtube8m-2019")
    link = attached / "youtube8m-2019"
    link.symlink_to(attached / "competitions/youtube8m-2019")
    found, _ = runtime.find_data(None, attached, 0, ("train",))
    assert len(data.list_shards(found, "train")) == 1


def test_every_attached_output_is_found(tmp_path, attached):
    for mount in ("old", "notebooks/me/two"):
        (attached / mount).mkdir(parents=True)
        (attached / mount / "scores.csv").touch()
    found = runtime.find_outputs(tmp_path, "scores.csv", "04_tta_inference")
    assert [path.parent.name for path in found] == ["old", "two"]
    (tmp_path / "scores.csv").touch()
    found = runtime.find_outputs(tmp_path, "scores.csv", "04_tta_inference")
    assert found[0] == tmp_path / "scores.csv" and len(found) == 3


def test_a_finished_stage_is_found_beside_an_unfinished_one(tmp_path, attached):
    holdout = Holdout()
    run = SimpleNamespace(
        output_dir=tmp_path, holdout=holdout, segment_classes=[3]
    )
    config = {"holdout": dataclasses.asdict(holdout), "class_ids": [3, 7]}
    for mount in ("first", "second"):
        folder = attached / mount / "BERTMean" / "pretrain"
        folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    assert runtime.pretrained(run, "BERTMean") == folder


# The chain, in mounts as Kaggle makes them.

RUNNER = """
import json, sys
cells = json.load(open(sys.argv[1]))["cells"]
code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
code[0] += "\\n" + sys.argv[2]  # what papermill would add
names = {"__name__": "__main__"}
for cell in code:
    exec(compile(cell, "<cell>", "exec"), names)
import kit
print("kit:", kit.__file__)
print("skopt:", getattr(sys.modules.get("skopt"), "__file__", None))
"""
LAYOUTS = {
    "old": ("{slug}", "{slug}", "{slug}"),
    "new": (
        "competitions/{slug}",
        "datasets/{owner}/{slug}",
        "notebooks/{owner}/{slug}",
    ),
}


@pytest.fixture
def image(tmp_path):
    """A Python with the packages of an image: not the kit, and not skopt."""
    folder = tmp_path / "image"
    venv.create(folder, symlinks=True)
    (there,) = folder.glob("lib/*/site-packages")
    lacks = re.compile(
        r"(skopt|scikit_optimize|pyaml|yt8m|__editable__|__pycache__)|.*\.pth"
    )
    for package in Path(pd.__file__).parents[1].iterdir():
        if not lacks.match(package.name):
            (there / package.name).symlink_to(package)
    return folder / "bin" / "python"


def move(prefix, root, folder) -> int:
    """Puts `root` in place of an absolute path; how often it stood there."""
    total = 0
    for path in [*folder.rglob("*.py"), *folder.rglob("*.ipynb")]:
        pattern = rf"(?<![\w.]){prefix}(?=/)"
        text, count = re.subn(pattern, str(root), path.read_text())
        path.write_text(text)
        total += count
    return total


class Host:
    """A root in place of `/kaggle`, with mounts that must not be written."""

    def __init__(self, root, layout, image):
        self.root, self.image = root, image
        self.mounts = dict(
            zip(
                ("competition", "dataset", "notebook"),
                LAYOUTS[layout],
                strict=True,
            )
        )
        self.input, self.working = root / "input", root / "working"
        self.input.mkdir(parents=True)
        self.replaced = 0

    def mount(self, kind, name, source) -> Path:
        """Shows a copy of a folder, read-only, where the host would."""
        owner, _, slug = name.rpartition("/")
        place = self.input / self.mounts[kind].format(owner=owner, slug=slug)
        shutil.copytree(source, place)
        self.substitute(place)
        for path in [*place.rglob("*"), place]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        return place

    def substitute(self, folder):
        """Puts the root where the files say `/kaggle`; nothing else."""
        self.replaced += move("/kaggle", self.root, folder)

    def listing(self):
        """All there is to see of the inputs: root may write in spite of
        permissions, but not without a trace."""
        return {
            path: (path.stat().st_size, path.stat().st_mtime_ns)
            for path in self.input.rglob("*")
        }

    def run(self, folder, kernel, parameters) -> str:
        """Runs a packed notebook as Kaggle would; what it printed."""
        here = Path(tempfile.mkdtemp(dir=self.root), "notebook")
        shutil.copytree(folder, here)
        before = self.replaced
        self.substitute(here)
        assert self.replaced > before
        self.working.mkdir()
        shown = self.listing()
        mine = ("PYTHONPATH", "VIRTUAL_ENV")
        kept = {k: v for k, v in os.environ.items() if k not in mine}
        done = subprocess.run(
            [self.image, "-c", RUNNER, here / kernel["code_file"], parameters],
            capture_output=True,
            text=True,
            cwd=self.working,
            env={
                **kept,
                "MPLBACKEND": "Agg",
                "KAGGLE_KERNEL_RUN_TYPE": "Batch",
                # A mount keeps no byte code either.
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        assert self.listing() == shown
        return done.stdout

    def keep(self, name):
        """Makes the working folder an attached output."""
        place = self.mount("notebook", name, self.working)
        shutil.rmtree(self.working)
        return place


QUICK = {
    "01_explore_data": "",
    "02_pretrain": "steps, batch_size, evaluate_every = 6, 16, 3\n",
    "03_finetune": "steps, batch_size, evaluate_every = 6, 16, 3\n",
    "04_tta_inference": "",
    "05_ensemble": "evaluations = 12\n",
}


def upload(folder, place):
    """Unpacks the data set as Kaggle does what its client sends."""
    shutil.copytree(folder, place, ignore=lambda *_: ["kit"])
    (place / "dataset-metadata.json").unlink()
    archive = shutil.make_archive(place / "kit", "zip", folder / "kit")
    shutil.unpack_archive(archive, place / "kit")
    Path(archive).unlink()


def parameters(name, real):
    lines = QUICK[name]
    if name in NAMES[1:4]:
        lines += f"members = {','.join(MEMBERS)!r}\n"
    if name == "02_pretrain" and real:
        lines += "scale = 'tiny'\n"
    return lines


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_notebooks_run_on_kaggle_in_a_chain(
    layout, sample, image, tmp_path, offline
):
    """In the new mounts with shards as the competition and users attach them,
    members ranked apart; in the old ones with an attached sample."""
    real = layout == "new"
    packed = tmp_path / "build"
    kernels = kaggle.pack("me", folder=packed)
    host = Host(tmp_path / "kaggle", layout, image)
    upload(packed / kaggle.KIT, tmp_path / "uploaded")
    kit = host.mount("dataset", f"me/{kaggle.KIT}", tmp_path / "uploaded")
    assert host.replaced  # in the kit
    if real:
        competition(sample, tmp_path / "competition")
        host.mount("competition", kaggle.COMPETITION, tmp_path / "competition")
        host.mount("dataset", "you/yt8m-test", Path(sample, "test"))
    else:
        host.mount("dataset", "you/simulated", sample)
    for kernel in kernels:
        name = Path(kernel["code_file"]).stem
        apart = MEMBERS if real and name == "04_tta_inference" else [""]
        for member in apart:
            given = parameters(name, real)
            given += f"members = {member!r}\n" if member else ""
            printed = host.run(packed / name, kernel, given)
            assert f"kit: {kit}/kit/__init__.py" in printed
            if name != NAMES[-1]:
                host.keep(kernel["id"] + member)
    assert f"skopt: {kit}/scikit_optimize-" in printed
    assert ("SIMULATED" in printed) == (not real)
    assert all(member in printed for member in (*MEMBERS, "Logistic"))
    classes = data.read_segment_classes(sample)
    checked = submission.validate(
        host.working / "ensemble/submission.csv", class_ids=classes
    )
    assert checked["classes"] == len(classes) and checked["segments"] > 0


# The cell that finds the kit, on Colab.

COLAB = """
import json, os, sys, types
def mount(place):
    print("mounted", place)
    os.symlink(sys.argv[2], place)
sys.modules["google.colab"] = types.ModuleType("google.colab")
sys.modules["google.colab"].drive = types.SimpleNamespace(mount=mount)
cells = json.load(open(sys.argv[1]))["cells"]
code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
exec(compile(code[1], "<cell>", "exec"), {"__name__": "__main__"})
import kit, skopt
from kit import runtime
print("kit:", kit.__file__)
print("skopt:", skopt.__file__)
print("workspace:", runtime.workspace())
exec(sys.argv[3])
"""


@pytest.fixture
def colab(tmp_path, image):
    """Runs the second code cell under a root in place of `/content`."""
    root = tmp_path / "content"
    (tmp_path / "drive" / "MyDrive").mkdir(parents=True)
    shutil.copytree("notebooks", root / "opened")
    assert move("/content", root, root / "opened")

    def run(then="", **environment):
        notebook = root / "opened" / "05_ensemble.ipynb"
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            [image, "-c", COLAB, notebook, tmp_path / "drive", then],
            capture_output=True,
            text=True,
            cwd=root,
            env={**kept, "COLAB_RELEASE_TAG": "release", **environment},
        )

    return root, tmp_path / "drive" / "MyDrive", run


@pytest.mark.slow
def test_on_colab_a_clone_is_found_and_what_is_missing_installed(
    colab, image, offline
):
    root, drive, run = colab
    shutil.copytree("kit", root / "clone" / "kit")
    assert move("/content", root, root / "clone")
    done = run(f"print(runtime.workspace('{root}/drive/MyDrive/results'))")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert f"kit: {root}/clone/kit/__init__.py" in lines
    (skopt,) = image.parents[1].glob("lib/*/site-packages/skopt")
    assert f"skopt: {skopt}/__init__.py" in lines
    # Drive is asked for only when it is named.
    assert lines[-3:] == [
        f"workspace: {root}/outputs",
        f"mounted {root}/drive",
        f"{root}/drive/MyDrive/results",
    ]
    assert (drive / "results").is_dir()


@pytest.mark.slow
def test_on_colab_the_kit_on_drive_is_found_with_its_wheels(
    colab, sample, tmp_path, wheels
):
    root, drive, run = colab
    kaggle.pack(
        "me",
        folder=tmp_path / "packed",
        fetch=lambda folder: shutil.copytree(
            wheels, folder, dirs_exist_ok=True
        ),
    )
    upload(tmp_path / "packed" / kaggle.KIT, drive / "kit-to-share")
    assert move("/content", root, drive)
    for split in ("train", "validate"):
        shutil.copytree(Path(sample, split), drive / "yt8m" / split)
    done = run(
        "found, is_sample = runtime.find_data(None, '.', 0, ('validate',))\n"
        "print(is_sample, *found)",
        PIP_NO_INDEX="1",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"mounted {root}/drive"
    there = f"{root}/drive/MyDrive"
    assert f"kit: {there}/kit-to-share/kit/__init__.py" in lines
    assert any("skopt: " in line and ".whl/skopt/" in line for line in lines)
    assert f"workspace: {there}/yt8m-outputs" in lines
    assert lines[-1].startswith("False ") and "yt8m/validate" in lines[-1]


@pytest.mark.slow
def test_on_colab_without_a_kit_the_error_says_so(colab):
    done = colab[2]()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError")
    assert "'kit'" in done.stderr.splitlines()[-1]
