"""The five notebooks as scripts, in order, at a size that only smokes."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest

from kit import data, submission
from kit.sample import features
from tests import chain
from tests.processes import python


@pytest.fixture(scope="module")
def finished(sample, tmp_path_factory):
    """The workspace of a run, what it printed, and how long it took.

    One run serves all that looks at its results.
    """
    output, started = tmp_path_factory.mktemp("chain"), time.monotonic()
    done = chain.run(sample, output)
    return output, done, time.monotonic() - started


def test_it_leaves_a_valid_submission(finished, sample):
    output, done, _ = finished
    class_ids, _ = data.read_classes(sample)
    path = output / "ensemble" / "submission.csv"
    counts = submission.validate(path, class_ids)
    assert counts["classes"] == len(class_ids)
    assert counts["segments"] > 100 * len(class_ids)
    assert str(path) in done.stdout


def test_it_leaves_the_workspace_of_the_design(finished):
    output, _, _ = finished
    for name in (*chain.MEMBERS, "Logistic"):
        for stage in ("pretrain", "finetune"):
            for left in ("model.weights.h5", "about.json", "history.csv"):
                assert (output / name / stage / left).stat().st_size
        assert (output / name / "model.keras").stat().st_size
        for split in ("holdout", "test"):
            assert (output / name / split / "tta").is_dir()
    figures = {path.stem[:2] for path in (output / "figures").glob("*.png")}
    assert figures == {"01", "02", "03", "04", "05"}
    names = {path.name for path in output.rglob("*")}
    left = ("checkpoint", "new-", "old-")
    assert not [n for n in names if n.startswith(left) or ".tmp" in n]


def test_it_ends_with_a_table_of_all_and_prints_no_warning(finished):
    output, done, _ = finished
    table = done.stdout.split("== 05_ensemble")[1]
    others = ("Logistic", "Oracle", "Ensemble", "test truth")
    for word in (*chain.MEMBERS, *others):
        assert word in table
    assert done.stdout.count("SIMULATED") == 5
    about = json.loads((output / "BERTMean/finetune/about.json").read_text())
    assert about["member"] == "BERTMean" and about["seed"] == 3
    assert not [x for x in done.stderr.splitlines() if "arning" in x]


@pytest.mark.slow
def test_killed_at_any_moment_it_submits_the_same(finished, sample, tmp_path):
    """With SIGKILL, and at the end with each cell run twice."""
    output, _, seconds = finished
    names = list(chain.FLAGS)[1:]
    moment = random.Random(os.getpid())
    command = [sys.executable, "-m", "tests.chain", sample, tmp_path, *names]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | chain.QUIET
    for _ in range(2):
        process = subprocess.Popen(command, env=environment, **silent)
        wait = moment.uniform(0.1, 0.6) * seconds
        print(f"killed after {wait:.1f} s of some {seconds:.1f}")
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    chain.run("--twice", sample, tmp_path, *names)
    paths = list(output.rglob("submission.csv"))
    assert len(paths) == 2
    for path in paths:
        again = tmp_path / path.relative_to(output)
        assert again.read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_it_goes_on_elsewhere_from_a_read_only_copy(finished, sample, tmp_path):
    output, _, _ = finished
    attached = tmp_path / "input" / "notebooks" / "me" / "before" / "outputs"
    left_out = shutil.ignore_patterns("ensemble", "figures")
    shutil.copytree(output, attached, ignore=left_out)
    for path in attached.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    code = (
        "from kit.runtime import places; from tests import chain;"
        f"places.INPUTS[:] = [{str(tmp_path / 'input')!r}];"
        f"chain.main({str(sample)!r}, {str(tmp_path / 'mine')!r},"
        "'03_finetune', '04_tta_inference', '05_ensemble')"
    )
    python("-c", code, **chain.QUIET)
    path = "ensemble/submission.csv"
    again = (tmp_path / "mine" / path).read_bytes()
    assert again == (output / path).read_bytes()


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        ("03_finetune", [], "made by notebook 2"),
        ("04_tta_inference", [], "made by notebook 3"),
        ("05_ensemble", [], "made by notebook 4"),
        ("01_explore_data", ["--num-classes=50"], "must lie in 0 to 49"),
        ("03_finetune", ["--holdout-fraction=0.2"], "holdout was"),
    ],
)
def test_a_notebook_refuses_what_does_not_fit(
    name, flags, words, finished, sample, tmp_path, monkeypatch, capsys
):
    for module, changed in ((sys, "argv"), (sys, "path"), (features, "TAUGHT")):
        monkeypatch.setattr(module, changed, list(getattr(module, changed)))
    monkeypatch.setitem(chain.FLAGS, name, [*chain.FLAGS[name], *flags])
    with pytest.raises(ValueError) as refused:
        chain.main(sample, finished[0] if flags else tmp_path, name)
    assert words in capsys.readouterr().out + str(refused.value)
