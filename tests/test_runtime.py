"""Places, flags and processes, as a notebook or a script meets them."""

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

from kit import data, runtime, sample
from kit.runtime import places, process

# Flags

PARAMETERS = {
    "name": "text, 50%",
    "steps": 5_000,
    "learning_rate": 1e-4,
    "edges": False,
    # What else there is among the globals of a notebook.
    "os": os,
    "OFFSET": 0.5,
    "_hidden": 1,
    "places": ["a"],
}
SCRIPT = {"__name__": "__main__", "__file__": "notebook.py", **PARAMETERS}


@pytest.fixture
def command_line(monkeypatch):
    def read(text):
        monkeypatch.setattr(sys, "argv", ["notebook.py", *text.split()])
        return runtime.flags(SCRIPT)

    return read


def test_flags_are_typed_by_the_values_of_the_parameters(command_line):
    assert command_line("") == {}
    given = command_line("--steps 7_000 --learning-rate 1 --edges yes --name a")
    expected = {"steps": 7000, "learning_rate": 1.0, "edges": True, "name": "a"}
    assert given == expected
    assert type(given["learning_rate"]) is float
    assert command_line("--edges=no --name=") == {"edges": False, "name": ""}


def test_help_lists_the_parameters_alone(command_line, capsys):
    with pytest.raises(SystemExit, match="0"):
        command_line("--help")
    text = " ".join(capsys.readouterr().out.split())
    for default in ("'text, 50%'", "5000", "0.0001", "False"):
        assert f"default: {default}" in text
    assert text.count("default:") == 4


@pytest.mark.parametrize(
    "flag", ["--step 3", "--steps 2.5", "--edges maybe", "--other"]
)
def test_a_bad_flag_ends_the_script_at_once(flag, command_line, capsys):
    with pytest.raises(SystemExit, match="2"):
        command_line(flag)
    assert flag.split()[0] in capsys.readouterr().err


def test_a_notebook_has_no_flags(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "x.json"])
    assert runtime.flags({"__name__": "__main__", "seed": 4}) == {}
    assert runtime.flags(SCRIPT | {"__name__": "notebook"}) == {}


# A process for each GPU and member

NOTEBOOK = """
# %% tags=["parameters"]
places = "find"
steps = 5_000
edges = False
hours = 2.0
members = "all"

# %%
policy = "float32"
import json, os, sys, time
given = dict(flag.split("=") for flag in sys.argv[1:])
print(json.dumps(given | {"gpu": os.environ["CUDA_VISIBLE_DEVICES"]}))
assert given["--members"] != "bad", "one fails"
time.sleep(0.5)
"""


def have(monkeypatch, gpus):
    devices = [f"gpu:{i}" for i in range(gpus)] or ["cpu:0"]
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: devices)


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Spreads a notebook over two GPUs; returns what its processes told."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "02_train.py").write_text(NOTEBOOK)
    monkeypatch.setattr(process.kit, "__file__", str(tmp_path / "kit/init.py"))
    have(monkeypatch, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    output = tmp_path / "output"

    def spread(*members, **parameters):
        runtime.spread("02_train", members, parameters, output)
        logs = {path.parent.name: path for path in output.glob("*/*.log")}
        return {name: json.loads(logs[name].read_text()) for name in logs}

    return spread


def test_each_gpu_runs_members_of_its_own(train):
    members = ["one", "two", "three"]
    parameters = {"places": ["a b", "c"], "edges": True, "hours": 1.0}
    parameters |= {"members": members, "policy": "no parameter"}
    told = train(*members, **parameters)
    assert {told["one"]["gpu"], told["two"]["gpu"]} == {"4", "7"}
    for member, given in told.items():
        assert given["--members"] == member
        assert given["--places"] == "a b,c" and given["--edges"] == "True"
        assert "--steps" not in given and "--policy" not in given
    # The hours are those of all: the third has what the others left.
    hours = {name: float(given["--hours"]) for name, given in told.items()}
    assert hours["three"] + 0.5 / 3600 < min(hours["one"], hours["two"]) <= 1


def test_the_others_are_waited_for_where_one_fails(train, tmp_path):
    with pytest.raises(ValueError, match="bad: AssertionError: one fails") as e:
        train("bad", "two", "three")
    assert "output/bad/02_train.log" in str(e.value)
    assert "three" in os.listdir(tmp_path / "output")


@pytest.mark.parametrize(
    "gpus, members, hours",
    [(0, "ab", 1.0), (1, "ab", 1.0), (2, "a", 1.0), (2, "ab", 0.0)],
)
def test_nothing_is_spread_in_vain(gpus, members, hours, train, monkeypatch):
    have(monkeypatch, gpus)
    assert train(*members, hours=hours) == {}


def test_a_script_spreads_itself(train, tmp_path):
    changed = tmp_path / "mine.py"
    changed.write_text(NOTEBOOK.replace("given |", '{"mine": "yes"} |'))
    told = train("one", "two", __file__=str(changed))
    assert told["one"]["mine"] == told["two"]["mine"] == "yes"


SPREAD = """
import keras
from kit import runtime
keras.distribution.list_devices = lambda: ["gpu:0", "gpu:1"]
given = {"__file__": "child.py"}
runtime.spread("02_train", ["a", "b", "c"], given, ".")
"""
CHILD = """
# %% tags=["parameters"]
members = "all"
# %%
import os, pathlib, time
from kit import runtime
given = runtime.flags(globals())
pathlib.Path(given["members"] + ".begun").write_text(str(os.getpid()))
time.sleep(300)
"""
MAP = """
import os, pathlib, time
from kit.processes import map_on_every_core

def work(number):
    pathlib.Path(f"{number}.begun").write_text(str(os.getpid()))
    time.sleep(300)

list(map_on_every_core(work, range(1000)))
"""


def alive(number):
    command = ["ps", "-o", "stat=", "-p", number]
    state = subprocess.run(command, capture_output=True, text=True).stdout
    return state.strip()[:1] not in ("", "Z")


@pytest.mark.parametrize("code", [SPREAD, MAP], ids=["spread", "map"])
def test_processes_end_with_the_one_that_began_them(code, tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", code]
    parent = subprocess.Popen(command, cwd=tmp_path, env=environment)
    numbers = []
    while len(numbers) < min(2, os.cpu_count()):
        assert parent.poll() is None
        time.sleep(0.1)
        texts = map(Path.read_text, tmp_path.glob("*.begun"))
        numbers = [*filter(None, texts)]
    assert all(alive(number) for number in numbers)
    parent.kill()
    parent.wait()
    stop = time.monotonic() + 30
    while any(alive(number) for number in numbers):
        assert time.monotonic() < stop
        time.sleep(0.1)


# The workspace


def test_the_workspace_is_where_a_shell_would_put_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert runtime.workspace("~/a") == tmp_path / "a"
    assert runtime.workspace("$HOME/b c/d") == tmp_path / "b c" / "d"
    assert runtime.workspace("outputs") == Path("outputs")
    # A cell can be run again.
    assert runtime.workspace(runtime.workspace("e")) == Path("e")
    assert sorted(os.listdir()) == ["a", "b c", "e", "outputs"]
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    "place",
    ["taken", "taken/below", "gs://bucket/out", Path("gs://bucket/out"),
     "/proc/nowhere", "/content/drive/MyDrive/out"],
)  # fmt: skip
def test_an_output_folder_that_is_none_is_refused(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    with pytest.raises(ValueError, match="Received: output_dir="):
        runtime.workspace(place)
    assert os.listdir() == ["taken"]


# Data and earlier outputs


@pytest.fixture
def attached(tmp_path, monkeypatch):
    """A host's folder of inputs; none that this machine may have."""
    root = tmp_path / "input"
    monkeypatch.setattr(places, "INPUTS", [str(root)])
    return root


def put(source, *place):
    """Copies a file to where a host would show it."""
    place = Path(*place)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)
    return str(place)


def test_an_explicit_place_is_taken_as_it_is(tmp_path, monkeypatch, attached):
    monkeypatch.setenv("HOME", str(tmp_path))
    put(__file__, attached, "train.tfrecord")
    comma = tmp_path / "shards, v2"
    comma.mkdir()
    for given, expected in {
        "shards v2": "shards v2",
        "gs://bucket/3/frame/*.tfrecord": "gs://bucket/3/frame/*.tfrecord",
        "a, b/*.tfrecord": ["a", "b/*.tfrecord"],
        str(comma): str(comma),
        "~/x,$HOME/y": [f"{tmp_path}/x", f"{tmp_path}/y"],
    }.items():
        assert runtime.find_data(given, tmp_path, 0) == expected
        assert runtime.find_data(expected, tmp_path, 0) == expected
    assert runtime.find_data(comma, tmp_path, 0) == str(comma)


def test_a_sample_is_generated_once(tmp_path, attached, capsys, monkeypatch):
    small = functools.partial(sample.write_sample, num_videos=12)
    monkeypatch.setattr(sample, "write_sample", small)
    folder = runtime.find_data("find", tmp_path, 1005)
    assert folder == str(tmp_path / "sample-1005")
    assert sample.read_card(folder)["seed"] == 1005
    assert "Generating" in capsys.readouterr().out
    assert runtime.find_data("find", tmp_path, 1005) == folder
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "mounts",
    [
        "youtube8m-2019 yt8m two",
        "competitions/youtube8m-2019 datasets/me/yt8m notebooks/me/two/outputs",
    ],
    ids=["old", "new"],
)
def test_what_is_attached_is_found(sample, attached, tmp_path, mounts):
    competition, dataset, notebook = map(attached.joinpath, mounts.split())
    names = ("train", "validate", "test")
    train, validate, test = (Path(sample, f"{s}/{s}00.tfrecord") for s in names)
    excerpts = [
        put(train, competition, "frame-sample/frame", train.name),
        put(validate, competition, "validate-sample/validate", validate.name),
    ]
    table = put(Path(sample, "vocabulary.csv"), competition, "vocabulary.csv")
    # Another's table, an earlier sample, and a second mount of the same data.
    put(__file__, attached, "datasets/other/words/vocabulary.csv")
    shutil.copytree(sample, notebook / "sample-0")
    (attached / "again").symlink_to(competition)
    found = runtime.find_data("find", tmp_path, 0)
    assert found == sorted([*map(os.path.dirname, excerpts), table])
    for split, path in zip(("train", "validate"), excerpts, strict=True):
        assert data.list_shards(found, split) == [path]
    # Beside a whole partition the excerpt of it is left out.
    whole = put(train, dataset, "2/train/trainpj.tfrecord")
    rest = put(test, dataset, "3/test/testaa.tfrecord")
    found = runtime.find_data("find", tmp_path, 0)
    shards = {"train": whole, "validate": excerpts[1], "test": rest}
    for split, path in shards.items():
        assert data.list_shards(found, split) == [path]
    assert table in found and len(found) == 4
    assert len(data.read_classes(found)[1]) == 60


def test_an_earlier_output_is_found_here_then_attached(tmp_path, attached):
    name = "BERTMean/model.keras"
    for mount in ("notebooks/me/three/outputs", "old/outputs", "flat"):
        path = Path(put(__file__, attached, mount, name))
        assert runtime.find_output(tmp_path, name) == path
        assert runtime.find_attached(name) == path
        path.unlink()
    assert runtime.find_attached(name) is None
    put(__file__, attached, "old", name)
    here = put(__file__, tmp_path, name)
    assert runtime.find_output(tmp_path, name) == Path(here)
    for name, notebook in (("a/finetune", 3), ("a/test", 4), ("ensemble", 5)):
        with pytest.raises(ValueError, match=f"made by notebook {notebook}"):
            runtime.find_output(tmp_path, name)


def test_only_kaggle_has_room_that_is_not_saved(monkeypatch):
    for there, folder in {True: Path("/kaggle/temp/a/b"), False: None}.items():
        monkeypatch.setattr(os.path, "isdir", lambda path, there=there: there)
        assert runtime.scratch("a/b") == folder
