"""The README says what the code says, and all that it shows runs."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kit import data, presets, submission, synthetic
from kit.runtime import kaggle

README = Path("README.md").read_text()
MAKEFILE = Path("Makefile").read_text()
CONTRIBUTING = Path("CONTRIBUTING.md").read_text()
SMALL = "--batch-size 16 --steps 4 --evaluate-every 2 --scale tiny"
SMALL += " --num-classes 100 --holdout-fraction 0.4"
HERE = "tests/test_readme.py::"
KAGGLE = "tests/test_kaggle.py::"
DEMO = HERE + "test_the_demo_makes_a_submission"
REAL = HERE + "test_what_is_said_of_real_data_runs"
OWN = "tests/test_own_features.py::test_the_notebooks_take_the_same_folder"
# Every command that the README shows, and what executes it.
EXECUTED = {
    "make demo": DEMO,
    "make test": ".ci/run",
    ". .venv/bin/activate": REAL,
    "python notebooks/02_pretrain.py --help": REAL,
    "make kaggle OWNER=your-kaggle-name DATA=sample": KAGGLE
    + "test_make_passes_the_names_on",
    "make bench FLAGS=collect-top-k": HERE
    + "test_the_benchmark_that_it_names_runs",
}
# Blocks of commands that a test takes from the README, by how they begin.
EXECUTED_BLOCKS = {
    "make cost": REAL,
    "python -m kit.stages.pack": REAL,
    "make demo SEED=1": DEMO,
    "python -m tests.benchmarks.study_stages": HERE
    + "test_the_study_of_the_stages_runs",
    "own=": OWN,
    # These need an account: they are what `make kaggle` prints, no more.
    "kaggle datasets": HERE
    + "test_the_commands_for_kaggle_are_those_that_the_kit_prints",
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def commands():
    """Shell lines that no test takes as a block, and commands in the text."""
    known = tuple(EXECUTED_BLOCKS)
    for block in blocks("sh"):
        if not block.startswith(known):
            yield from (line.split("  #")[0] for line in block.splitlines())
    text = re.sub(r"^```.*?^```", "", README, flags=re.M | re.S)
    yield from re.findall(r"`((?:make|python) [^`]+)`", text)


def block_with(language, text):
    return next(block for block in blocks(language) if text in block)


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
        assert tuple(map(int, shifts.split(" to "))) == member.shifts
        assert float(weight) == member.weight
        assert float(public) == member.public
        assert float(private) == member.private


def test_every_path_it_names_exists():
    paths = re.findall(r"`((?:kit|tests|notebooks)/[\w/.]+)`", README)
    tree = block_with("text", "kit/spec.py")
    paths += re.findall(r"^((?:kit|tests|notebooks)/\S*)", tree, re.M)
    for path in paths:
        assert Path(path).exists(), path
    rooms = {path.name for path in Path("kit").iterdir()}
    rooms -= {"__init__.py", "__pycache__"}
    named = {path.split("/")[1] for path in paths if path.startswith("kit/")}
    assert named >= rooms


def test_every_link_inside_it_leads_to_a_heading():
    headings = re.findall(r"^#+ (.+)$", README, re.M)
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }
    links = re.findall(r"\]\(#([^)]+)\)", README)
    assert links and set(links) <= anchors


def test_every_make_target_it_names_exists():
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.M))
    named = set(re.findall(r"^make ([\w-]+)", README, re.M))
    named |= set(re.findall(r"`make ([\w-]+)", README + CONTRIBUTING))
    assert named and named <= targets


def test_every_command_is_executed_somewhere():
    shown = [" ".join(command.split()) for command in commands()]
    # `make train` alone, in the text, speaks of it.
    targets = re.findall(r"^(make \w+)", "\n".join(blocks("sh")), re.M)
    assert set(shown) - set(targets) <= set(EXECUTED) <= set(shown)
    for begins in EXECUTED_BLOCKS:
        assert block_with("sh", begins).startswith(begins)
    for command, where in (EXECUTED | EXECUTED_BLOCKS).items():
        if where == ".ci/run":
            assert command in Path(where).read_text().splitlines()
        else:
            file, name = where.split("::")
            assert f"\ndef {name}(" in Path(file).read_text(), where


def test_the_commands_for_kaggle_are_those_that_the_kit_prints(tmp_path):
    kernels = kaggle.pack(
        "your-kaggle-name", ["sample"], tmp_path / "kaggle", lambda folder: None
    )
    printed = kaggle.instructions(kernels).splitlines()
    shown = block_with("sh", "kaggle datasets create").splitlines()
    assert set(shown) <= {line.strip() for line in printed}


def messages():
    """The text of every string in the kit, with gaps where values go."""
    texts = [MAKEFILE]
    for path in Path("kit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", None) for part in node.values)
                texts.append("".join(
                    part if isinstance(part, str) else "\0" for part in parts
                ))  # fmt: skip
    return "\n".join(texts)


def test_every_error_it_explains_is_one_of_the_kit():
    section = README.split("## When something goes wrong")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`+) ?(.+?) ?\1 (.*?)\|", section, re.M)
    ours = [text for _, text, rest in rows if "(" not in rest]
    others = [rest for _, _, rest in rows if "(" in rest]
    known = messages()
    assert len(ours) > 15 and len(others) == 2
    for text in ours:
        assert text in known, text


@pytest.mark.slow
def test_the_api_at_a_glance_runs_line_by_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    block = block_with("python", "write_sample")
    names = {}
    for statement in ast.parse(block).body:
        code = ast.unparse(statement)
        exec(code, names)
    inputs, labels = names["inputs"], names["labels"]
    assert inputs["frames"].shape[1:] == (5, 1152) and labels.shape[1] == 100
    assert set(names["ratings"]) == {"video_id", "start", "label", "score"}
    assert names["search"].weights.sum() == pytest.approx(1)
    assert Path("runs/GatedNetVLAD/config.json").exists()
    found = submission.validate("submission.csv", class_ids=names["classes"])
    assert found["classes"] == len(names["classes"])
    header, *best = capsys.readouterr().out.splitlines()[-4:]
    assert header.split()[-1] == "score"
    scores = [float(line.split()[-1]) for line in best]
    assert scores == sorted(scores, reverse=True) and 0 < scores[-1] < 1


# What makes the long commands short; the rest is as the README shows it.
PYTHON = f"""#!/bin/sh
case "$*" in
  *--members*|*--help*) ;;
  */02_*|*/03_*|*/04_*) set -- "$@" --members BERTMean,GatedNetVLAD;;
esac
case "$*" in
  *--help*) ;;
  *kit.stages.cost*) set -- "$@" --scale tiny --batch-size 16;;
  *kit.stages.pack*|*/04_*) set -- "$@" --holdout-fraction 0.4;;
  *kit.stages*|*/02_*|*/03_*) set -- "$@" {SMALL};;
  */05_*) set -- "$@" --evaluations 12;;
  *benchmarks.study\\ *) set -- "$@" --samples 10;;
  *collect-top-k*) set -- "$@" --segments 9000 --classes 9 --k 99 --slice 99;;
esac
exec {sys.executable} "$@"
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The project as one finds it, but for a `.venv` that is ready."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("kit", "notebooks", "tests"):
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(name, folder / name, ignore=leave)
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(name, folder)
    place = folder / ".venv" / "bin"
    place.mkdir(parents=True)
    (place / "python").write_text(PYTHON)
    (place / "python").chmod(0o755)
    (place / "activate").write_text('PATH="$PWD/.venv/bin:$PATH"\n')
    for name in ("ready", "ready-test"):
        (folder / ".venv" / name).touch()
    return folder


def run(folder, *lines):
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join([". .venv/bin/activate", *lines])],
        cwd=folder,
        env={
            **os.environ,
            "MPLBACKEND": "Agg",
            "PYTHONPATH": str(folder),
            # Without these, a make that runs the tests would tell ours.
            "MAKEFLAGS": "",
            "MAKEOVERRIDES": "",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_demo_makes_a_submission(clone):
    place = clone / "outputs" / "sample-0"
    synthetic.write_sample(place, seed=1000, num_videos=90)
    printed = run(clone, "make demo")
    assert "SIMULATED" in printed and "Ensemble" in printed
    path = clone / "outputs" / "ensemble" / "submission.csv"
    assert submission.validate(path, class_ids=data.read_segment_classes(place))
    # Another seed is the same recipe, whose outcome stands in for three.
    demo, study = block_with("sh", "benchmarks.study").splitlines()
    recipe = run(clone, demo.replace("make", "make --dry-run"))
    assert "--output-dir outputs/1 --seed 1 " in recipe
    for seed in "123":
        shutil.copytree(clone / "outputs", clone / "three" / seed)
    for seed in "123":
        (clone / "three" / seed).rename(clone / "outputs" / seed)
    assert "fine-tuned less pre-trained" in run(clone, study)


@pytest.mark.slow
def test_what_is_said_of_real_data_runs(clone, sample):
    shutil.copytree(sample, clone / "data")
    (clone / "data" / synthetic.CARD).unlink()
    assert "--learning-rate" in run(clone, *blocks("sh")[1].splitlines())
    first, *rest = block_with("sh", "make cost").splitlines()
    assert "snippets read/s" in run(clone, first)
    printed = run(clone, *rest)
    assert "SIMULATED" not in printed and "Ensemble" in printed
    for name in ("BERTMean", "GatedNetVLAD"):
        assert (clone / "results" / name / "test.npz").exists()
    run(clone, *block_with("sh", "kit.stages.pack").splitlines())
    assert (clone / "packed" / "BERTFirst" / "model.keras").exists()


@pytest.mark.slow
def test_the_benchmark_that_it_names_runs(clone):
    assert "ratio:" in run(clone, "make bench FLAGS=collect-top-k")


@pytest.mark.slow
def test_the_study_of_the_stages_runs(clone):
    command = block_with("sh", "study_stages").strip()
    quick = " --members Logistic --steps 4 --samples 20"
    printed = run(clone, command.replace(" 5 6", "") + quick)
    for measure in ("ratings", "truth"):
        assert f"4\t{measure}\tboth less fine-tuning alone" in printed
