"""The README says what the code says, and all that it shows runs."""

import re
import shutil
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from kit import data, ensemble, presets, submission
from kit.ranking import Ranking
from kit.spec import FrameSpec
from tests import processes
from tests.chain import QUIET, SCRIPTS, parameters

README = Path("README.md").read_text()
CONTRIBUTING = Path("CONTRIBUTING.md").read_text()
MAKEFILE = Path("Makefile").read_text()
PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
OWN = README.split("## Your own features\n")[1].split("\n## ")[0]
MAKE = "tests/test_make.py"
# Where the commands are executed that no test below takes from the README.
ELSEWHERE = {
    "make demo": (MAKE, 'make("demo", *given)'),
    "make test": (".ci/run", "make test FLAGS="),
    ". .venv/bin/activate": ("Makefile", "-m venv $(VENV)"),
    # In two parts, so that it is not found here.
    "python notebooks/02_pretrain.py --help": (__file__, '.py", ' + '"--'),
    "make kaggle OWNER=your-kaggle-name DATA=sample": (MAKE, "kaggle"),
}


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def test_the_table_of_members_is_that_of_the_presets():
    rows = re.findall(r"^\| `(\S+)` \| ([^|]+) \|(.*)\|$", README, re.MULTILINE)
    table = {name: (title, rest.split("|")) for name, title, rest in rows}
    members = {k: v for k, v in table.items() if k in presets.MEMBERS}
    assert list(members) == list(presets.MEMBERS)
    for name, (title, cells) in members.items():
        member = presets.MEMBERS[name]
        frames, shifts, weight, public, private = map(str.strip, cells)
        assert title == member.title
        assert int(frames) == member.num_frames
        first, last = map(int, shifts.split(" to "))
        assert tuple(range(first, last + 1)) == member.shifts
        published = map(float, (weight, public, private))
        assert tuple(published) == member.published


def test_every_path_it_names_exists():
    text = README + CONTRIBUTING
    for path in re.findall(r"`((?:kit|tests|notebooks)/[\w/.]+)`", text):
        assert Path(path).exists(), path


def test_contributing_names_every_room():
    rooms = {path.stem for path in Path("kit").iterdir()}
    rooms -= {"__init__", "__pycache__"}
    table = "".join(re.findall(r"^\| (`.*?) \|", CONTRIBUTING, re.M))
    assert set(re.findall(r"`(\w+)`", table)) == rooms


def test_every_link_inside_it_leads_to_a_heading():
    headings = re.findall(r"^#+ (.+)$", README.lower(), re.M)
    words = [re.sub(r"[^\w -]", "", heading) for heading in headings]
    anchors = {each.replace(" ", "-") for each in words}
    links = re.findall(r"\]\(#([^)]+)\)", README)
    assert links and set(links) <= anchors


def test_every_make_target_it_names_exists():
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.M))
    named = set(re.findall(r"^make ([\w-]+)", README, re.M))
    named |= set(re.findall(r"`make ([\w-]+)", README + CONTRIBUTING))
    assert named and named <= targets


def test_every_flag_it_names_is_a_parameter_of_a_notebook():
    names = set().union(*map(parameters, SCRIPTS))
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", README)) - {"help"}
    assert named and {name.replace("-", "_") for name in named} <= names


def test_every_command_is_executed_somewhere():
    lines = [
        line.split("  #")[0].strip()
        for block in blocks("sh")
        if "--data-dir" not in block  # a test below takes it as a whole
        for line in block.splitlines()
    ]
    assert lines and set(lines) == set(ELSEWHERE)
    for file, text in ELSEWHERE.values():
        assert text in Path(file).read_text(), text


def test_the_constant_that_it_names_gives_the_order_of_the_released_code():
    rng = np.random.default_rng(0)
    scores, weights, w0 = rng.permuted(np.eye(40)[:4], axis=1), [3, 2, 1, 1], 7
    scores += rng.random((4, 40))
    ids = [f"v{number:02}" for number in range(40)]
    members = [
        Ranking.from_scores(row[:, None], [3], ids, [0] * 40) for row in scores
    ]
    fused = ensemble.fuse(members, weights, constant=w0 - 1)
    place = (-scores).argsort(axis=1).argsort(axis=1)  # from 0
    theirs = np.asarray(weights) @ (w0 / (w0 + place))
    order = fused.video_ids[fused.indices(3)].tolist()
    assert order == [ids[row].encode() for row in (-theirs).argsort()]
    assert "`w0 / (w0 + i)`" in README and "`constant = w0 - 1`" in README


def test_the_pythons_that_it_promises_are_those_of_the_project():
    promised = PROJECT["requires-python"]
    oldest, end = map(int, re.findall(r"3\.(\d+)", promised))
    assert promised == f">=3.{oldest},<3.{end}"
    assert f"Python 3.{oldest} to 3.{end - 1} and make" in README


def test_a_script_lists_its_flags():
    done = processes.python("notebooks/02_pretrain.py", "--help")
    assert "--learning-rate" in done.stdout


def run(lines, folder):
    """Runs lines of the README in a folder, with this Python."""
    python = f'python() {{ {sys.executable!r} "$@"; }}\n'
    bash = ["bash", "-e", "-c", python + lines]
    environment = QUIET | {"PYTHONPATH": str(Path.cwd())}
    return processes.run(bash, folder, **environment).stdout


@pytest.mark.slow
def test_features_of_ones_own_go_through_the_notebooks(tmp_path):
    (tmp_path / "notebooks").symlink_to(Path("notebooks").resolve())
    (example,) = blocks("python", OWN)
    (tmp_path / "example.py").write_text(example)
    printed = run("python example.py", tmp_path)
    # The concept of each video is there in its second half alone.
    table = [line.split() for line in printed.splitlines()[-8:]]
    scores = np.array([row[1:] for row in table], float)
    assert scores[:3].max() < scores[5:].max(axis=1).min()
    (notebooks,) = blocks("sh", OWN)
    run(f"{notebooks.rstrip()} --evaluations 12", tmp_path)
    path = tmp_path / "my-results" / "ensemble" / "submission.csv"
    assert submission.validate(path, class_ids=range(4))["segments"] == 4 * 160
    shards = data.list_shards(tmp_path / "my-features", "test")
    assert len(data.ratings(shards, FrameSpec(512, 0), range(4))) == 60


@pytest.mark.slow
def test_what_is_said_of_real_data_runs(sample, tmp_path):
    (tmp_path / "notebooks").symlink_to(Path("notebooks").resolve())
    shutil.copytree(sample, tmp_path / "data")
    for card in (tmp_path / "data").glob("*.json"):  # it says: simulated
        card.unlink()
    (block,) = [b for b in blocks("sh") if "--data-dir data " in b]
    small = " --num-classes 100 --holdout-fraction 0.4"
    one = " --holdout-fraction 0.4 --members GatedNetVLAD"  # the fewest
    training = f"{small}{one} --epochs 1 --steps-per-epoch 2 --batch-size 16"
    more = {"02": f"{training} --scale tiny", "05": " --evaluations 12"}
    more |= {"03": training.replace(small, ""), "01": small, "04": one}
    lines = []
    for line in block.splitlines():
        number = re.search(r"notebooks/(\d\d)", line)
        lines.append(line + more[number[1]] if number else line)
    printed = run("\n".join(lines), tmp_path)
    assert "SIMULATED" not in printed and "Ensemble" in printed
