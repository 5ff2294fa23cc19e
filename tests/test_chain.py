"""The five notebooks as scripts, in order, at a size that only smokes."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from kit import data, submission

MEMBERS = ("BERTMean", "GatedNetVLAD")
QUICK = {
    "01_explore_data": (),
    "02_pretrain": (
        *("--steps", "6", "--batch-size", "16", "--evaluate-every", "3"),
        *("--members", ",".join(MEMBERS)),
    ),
    "03_finetune": (
        *("--steps", "6", "--batch-size", "16", "--evaluate-every", "2"),
        *("--members", ",".join(MEMBERS)),
    ),
    "04_tta_inference": (
        *("--members", ",".join(MEMBERS), "--submissions", "all"),
    ),
    "05_ensemble": ("--evaluations", "12"),
}


def run(name, output, *flags):
    return subprocess.run(
        [
            *(sys.executable, f"notebooks/{name}.py"),
            *("--output-dir", str(output), "--seed", "3", *flags),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )


def run_all(sample, output, names):
    printed = {}
    for name in names:
        source = () if name == "05_ensemble" else ("--data-dir", sample)
        done = run(name, output, *source, *QUICK[name])
        assert done.returncode == 0, f"{name}\n{done.stdout}\n{done.stderr}"
        printed[name] = done.stdout
    return printed


@pytest.fixture(scope="module")
def chain(sample, tmp_path_factory):
    output = tmp_path_factory.mktemp("chain")
    return output, run_all(sample, output, QUICK)


@pytest.mark.slow
def test_the_chain_leaves_a_valid_submission(chain, sample):
    output, printed = chain
    classes = data.read_segment_classes(sample)
    path = output / "ensemble" / "submission.csv"
    found = submission.validate(path, class_ids=classes)
    assert found["classes"] == len(classes)
    assert found["segments"] > 100 * len(classes)
    assert str(path) in printed["05_ensemble"]


@pytest.mark.slow
def test_the_chain_leaves_the_workspace_of_the_design(chain):
    output, _ = chain
    for name in (*MEMBERS, "Logistic"):
        for left in (
            "pretrain/stage.weights.h5",
            "pretrain/config.json",
            "pretrain/history.csv",
            "finetune/stage.weights.h5",
            "finetune/config.json",
            "finetune/history.csv",
            "model.keras",
            "holdout.npz",
            "test.npz",
            "submission.csv",
        ):
            assert (output / name / left).stat().st_size
    figures = {path.stem for path in (output / "figures").glob("*.png")}
    assert {name[:2] for name in figures} == {"01", "02", "03", "04", "05"}
    assert not list(output.rglob("partial-*"))


@pytest.mark.slow
def test_the_chain_ends_with_a_table_of_every_member_and_measure(chain):
    output, printed = chain
    table = printed["05_ensemble"]
    for word in (*MEMBERS, "Logistic", "Oracle", "Ensemble", "test truth"):
        assert word in table
    assert "SIMULATED" in printed["02_pretrain"]
    config = json.loads((output / "BERTMean/finetune/config.json").read_text())
    assert config["simulated"] and config["seed"] == 3


@pytest.mark.slow
def test_the_same_seed_gives_the_same_submission(chain, sample, tmp_path):
    output, _ = chain
    run_all(sample, tmp_path, list(QUICK)[1:])
    for name in (*MEMBERS, "ensemble"):
        one, two = (
            folder / name / "submission.csv" for folder in (output, tmp_path)
        )
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("03_finetune", "02_pretrain"),
        ("04_tta_inference", "03_finetune"),
        ("05_ensemble", "04_tta_inference"),
    ],
)
def test_a_stage_before_the_one_it_needs_says_which(
    name, missing, sample, tmp_path
):
    source = () if name == "05_ensemble" else ("--data-dir", sample)
    done = run(name, tmp_path, *source)
    assert done.returncode == 1
    assert missing in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_the_ensemble_finds_an_attached_output(chain, tmp_path):
    output, _ = chain
    attached = tmp_path / "input" / "notebooks" / "me" / "inference"
    attached.parent.mkdir(parents=True)
    attached.symlink_to(output)
    code = (
        "import runpy, sys; from kit import runtime;"
        f"runtime.INPUTS['here'] = [{str(tmp_path / 'input')!r}];"
        f"sys.argv = ['05_ensemble.py', '--output-dir', {str(tmp_path)!r},"
        "'--evaluations', '12', '--seed', '3'];"
        "runpy.run_path('notebooks/05_ensemble.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    one, two = (
        folder / "ensemble" / "submission.csv" for folder in (output, tmp_path)
    )
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.slow
def test_inference_goes_on_from_what_is_ranked_and_takes_options(
    chain, sample, tmp_path
):
    output = shutil.copytree(chain[0], tmp_path / "copy")
    left = {p: p.stat().st_mtime_ns for p in output.glob("*/*.npz")}
    flags = ("--data-dir", sample, *QUICK["04_tta_inference"])
    again = run("04_tta_inference", output, *flags)
    assert again.returncode == 0, again.stderr
    assert left == {p: p.stat().st_mtime_ns for p in output.glob("*/*.npz")}
    few = run("04_tta_inference", output, *flags, "--top-classes", "3")
    assert few.returncode == 0, few.stderr
    classes = data.read_segment_classes(sample)
    changed = []
    for name in MEMBERS:
        path = output / name / "submission.csv"
        assert submission.validate(path, classes)["classes"] == len(classes)
        before = chain[0] / name / path.name
        changed.append(path.read_bytes() != before.read_bytes())
    assert any(changed)  # not where all videos have the same best classes


@pytest.mark.slow
def test_a_second_run_in_the_same_workspace_starts_anew(chain):
    output, _ = chain
    done = run("05_ensemble", output, "--evaluations", "13")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_another_hold_out_than_that_of_pre_training_is_refused(chain, sample):
    output, _ = chain
    flags = ("--data-dir", sample, "--holdout-fraction", "0.2")
    done = run("03_finetune", output, *flags, *QUICK["03_finetune"])
    assert done.returncode == 1
    assert "same videos" in done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["02_pretrain", "03_finetune"])
def test_a_hold_out_that_took_no_video_is_called_that(name, sample, tmp_path):
    flags = ("--data-dir", sample, "--holdout-fraction", "0.0001")
    done = run(name, tmp_path, *flags, *QUICK[name])
    assert done.returncode == 1
    assert "nothing for this part of the hold-out" in done.stderr
    assert "--holdout-fraction 0.4" in done.stderr
    assert "rated ones" not in done.stderr
