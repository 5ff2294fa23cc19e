"""The README says what the code says, and all that it shows runs."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

from kit import data, ensemble, presets, runtime, stages, submission, synthetic
from kit.ranking import Ranking
from kit.runtime import kaggle

README = Path("README.md").read_text()
MAKEFILE = Path("Makefile").read_text()
CONTRIBUTING = Path("CONTRIBUTING.md").read_text()
PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
SMALL = "--batch-size 16 --steps 4 --evaluate-every 2 --scale tiny"
SMALL += " --num-classes 100 --holdout-fraction 0.4"
HERE = "tests/test_readme.py::"
KAGGLE = "tests/test_kaggle.py::"
DEMO = HERE + "test_the_demo_makes_a_submission"
REAL = HERE + "test_what_is_said_of_real_data_runs"
CLEAN = HERE + "test_cleaning_leaves_what_was_trained_until_asked"
OWN = "tests/test_own_features.py::test_the_notebooks_take_the_same_folder"
# Every command that the README shows, and what executes it.
EXECUTED = {
    "make demo": DEMO,
    "make test": ".ci/run",
    "make clean": CLEAN,
    "make clean-outputs": CLEAN,
    "make lab": HERE + "test_the_lab_opens_the_notebooks",
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


def test_every_flag_it_names_is_a_setting():
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", README))
    others = {"help", "dir-mode", "timeout"}
    assert others < named
    assert {flag.replace("-", "_") for flag in named - others} <= set(
        runtime.SETTINGS
    )


def test_what_it_says_of_fine_tuning_is_what_runs():
    plan = stages.PLANS["finetune"]["paper"]
    looks, apart, steps = map(plan.get, ("patience", "evaluate_every", "steps"))
    assert f"{looks} looks at the hold-out, {apart} steps apart" in README
    assert f"{looks} looks, {looks * apart:,} steps, that" in README
    # As many as there are: none of them can be waited for in vain.
    assert README.count(f"`--patience {steps // apart}`") == 1
    assert f'FLAGS="--patience {steps // apart}"' in README


def test_the_constant_that_it_names_gives_the_order_of_the_released_code():
    rng = np.random.default_rng(0)
    scores, weights, w0 = rng.permuted(np.eye(40)[:4], axis=1), [3, 2, 1, 1], 7
    scores += rng.random((4, 40))
    ids = [f"v{at:02}" for at in range(40)]
    members = [
        Ranking.from_scores(row[:, None], [3], ids, [0] * 40) for row in scores
    ]
    fused = ensemble.fuse(members, weights, constant=w0 - 1)
    place = (-scores).argsort(axis=1).argsort(axis=1)  # from 0
    theirs = np.asarray(weights) @ (w0 / (w0 + place))
    order = fused.video_ids[fused.indices(3)].tolist()
    assert order == [ids[at].encode() for at in (-theirs).argsort()]
    assert "`w0 / (w0 + i)`" in README and "`constant = w0 - 1`" in README


def test_the_measure_is_spelled_out_where_it_is_first_named():
    assert README[: README.index("MAP")].endswith("Mean average precision (")


def make(folder, *arguments):
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        env={**os.environ, "MAKEFLAGS": "", "MAKEOVERRIDES": ""},
        capture_output=True,
        text=True,
    )


# Says that it is another Python, and makes no environment.
OTHER_PYTHON = """#!/bin/sh
case $1 in
  -c) exec {python} -c "import sys; sys.version_info = (3, {minor}, 1)
$2";;
  --version) echo Python 3.{minor}.1;;
  *) echo "asked for $*"; exit 1;;
esac
"""


def test_the_pythons_that_it_promises_are_those_that_make_takes(tmp_path):
    promised = PROJECT["requires-python"]
    oldest, end = map(int, re.findall(r"3\.(\d+)", promised))
    assert promised == f">=3.{oldest},<3.{end}"
    range_ = f"3.{oldest} to 3.{end - 1}"
    assert f"Python {range_} and make" in README
    for minor in range(oldest - 2, end + 2):
        python = tmp_path / f"python3.{minor}"
        text = OTHER_PYTHON.format(python=sys.executable, minor=minor)
        python.write_text(text)
        python.chmod(0o755)
        folder = tmp_path / "environment"
        where = f"PYTHON={python}", f"VENV={folder}"
        done = make(".", *where, f"{folder}/ready")
        assert done.returncode and not folder.exists()
        taken = oldest <= minor < end
        assert ("asked for -m venv" in done.stdout) == taken
        told = f"{range_}: make PYTHON=/path/to/one. Received: PYTHON={python}"
        assert (told in done.stdout) != taken


def test_the_lab_opens_the_notebooks():
    done = make(".", "--dry-run", "--always-make", "lab")
    assert done.stdout.endswith("python -m jupyterlab notebooks\n")
    assert re.search("pip install .* -r .venv/lab.txt", done.stdout)
    (lab,) = PROJECT["optional-dependencies"]["lab"]
    assert lab.startswith("jupyterlab")


def test_cleaning_leaves_what_was_trained_until_asked(tmp_path):
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(name, tmp_path)
    before = set(os.listdir(tmp_path))
    for place in (".venv", ".venv-floor", "build", "outputs"):
        (tmp_path / place).mkdir()
    (tmp_path / "notebooks" / "outputs").mkdir(parents=True)
    assert make(tmp_path, "clean").returncode == 0
    assert set(os.listdir(tmp_path)) == before | {"outputs", "notebooks"}
    assert os.listdir(tmp_path / "notebooks") == ["outputs"]
    assert make(tmp_path, "clean-outputs").returncode == 0
    assert set(os.listdir(tmp_path)) == before | {"notebooks"}
    assert os.listdir(tmp_path / "notebooks") == []


@pytest.mark.slow
def test_the_api_at_a_glance_runs_line_by_line(tmp_path, monkeypatch):
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
    table = names["table"]
    assert {"start", "end", "score"} <= set(table) and len(table) > 20
    assert table["score"].between(0, 1).all()
    assert Path("timeline.png").stat().st_size > 10_000


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


def open_in_jupyter(path, settings):
    """Runs a notebook as Jupyter does, in its own folder; what it printed."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source += f"\n{settings}"
    here = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=here).execute()
    outputs = (o for c in notebook.cells for o in c.get("outputs", ()))
    return "".join(output.get("text", "") for output in outputs)


@pytest.mark.slow
def test_the_demo_makes_a_submission(clone):
    place = clone / "outputs" / "sample-0"
    synthetic.write_sample(place, seed=1000, num_videos=90)
    printed = run(clone, "make demo")
    assert "SIMULATED" in printed and "Ensemble" in printed
    path = clone / "outputs" / "ensemble" / "submission.csv"
    assert submission.validate(path, class_ids=data.read_segment_classes(place))
    # Opened in Jupyter, the notebooks find what the demo left.
    setting = 'output_dir = "../outputs"'
    assert f"`{setting}`" in README
    notebooks = clone / "notebooks"
    printed = open_in_jupyter(notebooks / "01_explore_data.ipynb", setting)
    assert "SIMULATED" in printed and "simulating" not in printed
    setting += "\nevaluations = 12"
    printed = open_in_jupyter(notebooks / "05_ensemble.ipynb", setting)
    assert "submission: ../outputs/ensemble/submission.csv" in printed
    assert not (notebooks / "outputs").exists()
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
    script = block_with("sh", "--help")
    assert "--learning-rate" in run(clone, *script.splitlines())
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
