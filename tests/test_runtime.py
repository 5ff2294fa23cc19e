import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from kit import runtime, synthetic
from kit.splits import Holdout

NOTEBOOK = "notebooks/02_pretrain.py"


@pytest.fixture
def attached(tmp_path, monkeypatch):
    """A host whose attached inputs lie in the folder that is returned."""
    root = tmp_path / "input"
    root.mkdir()
    monkeypatch.setitem(runtime.INPUTS, "here", [str(root)])
    return root


def run_script(*flags):
    return subprocess.run(
        [sys.executable, NOTEBOOK, *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
    )


def test_a_setting_that_is_none_means_the_small_value_on_the_sample(
    sample, tmp_path
):
    run = runtime.settings(
        needs=("train",),
        paper={"steps": 200_000},
        sample={"steps": 7},
        data_dir=sample,
        output_dir=str(tmp_path),
        seed=0,
        steps=None,
        batch_size=None,
    )
    assert run.is_sample
    assert (run.steps, run.batch_size) == (7, runtime.SAMPLE["batch_size"])
    assert run.holdout == Holdout(runtime.SAMPLE["holdout_fraction"])
    assert set(run.segment_classes) < set(run.names)
    assert max(run.names) < run.num_classes


def test_the_same_setting_means_the_papers_value_on_other_data(
    sample, tmp_path
):
    # The same shards without the card that says they are simulated.
    real = tmp_path / "real"
    real.mkdir()
    for split in ("train", "validate", "test"):
        (real / split).symlink_to(Path(sample, split))
    (real / "segment_label_ids.csv").write_bytes(
        Path(sample, "segment_label_ids.csv").read_bytes()
    )
    run = runtime.settings(
        needs=("train",),
        paper={"steps": 200_000},
        data_dir=str(real),
        output_dir=str(tmp_path),
        seed=0,
        steps=None,
        members=None,
    )
    assert not run.is_sample
    assert (run.steps, run.num_classes) == (200_000, 3862)
    assert len(run.members) == 9
    assert run.holdout == Holdout(300 / 3844)


def test_a_value_that_is_given_wins(sample, tmp_path):
    run = runtime.settings(
        needs=("train",),
        sample={"steps": 7},
        data_dir=sample,
        output_dir=str(tmp_path),
        seed=3,
        steps=11,
        members="BERTMean, GatedNetVLAD",
    )
    assert (run.steps, run.seed) == (11, 3)
    assert run.members == ["BERTMean", "GatedNetVLAD"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"stepps": 3}, "Received: stepps"),
        ({"steps": "many"}, "Received: steps='many'"),
        ({"steps": 0}, "Received: steps=0"),
        ({"steps": True}, "Received: steps=True"),
        ({"learning_rate": -1.0}, "Received: learning_rate=-1.0"),
        ({"members": "BERTMedian"}, "Received: 'BERTMedian'"),
        ({"output_dir": "/proc/nowhere"}, "Received: output_dir"),
    ],
)
def test_a_bad_setting_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        runtime.settings(**{"output_dir": None, **parameters})


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ValueError, match="--output-dir"):
        runtime.workspace(str(tmp_path / "taken"))


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"train\*"):
        runtime.find_data(str(tmp_path), tmp_path, 0, ("train",))


def test_a_folder_without_one_of_the_splits_is_refused(sample, tmp_path):
    (tmp_path / "train").symlink_to(Path(sample, "train"))
    with pytest.raises(ValueError, match=r"test\*"):
        runtime.find_data(str(tmp_path), tmp_path, 0, ("train", "test"))


def test_without_classes_it_says_which_file_is_missing(sample, tmp_path):
    (tmp_path / "train").symlink_to(Path(sample, "train"))
    with pytest.raises(ValueError, match="segment_label_ids.csv"):
        runtime.settings(
            needs=("train",),
            data_dir=str(tmp_path),
            output_dir=str(tmp_path / "out"),
            seed=0,
        )


def test_attached_real_shards_win_over_an_attached_sample(sample, attached):
    (attached / "a" / "sample").parent.mkdir()
    (attached / "a" / "sample").symlink_to(sample)
    # A link into the sample would be found as real shards: copy a shard.
    (attached / "b").mkdir()
    shard = next(Path(sample, "train").iterdir())
    (attached / "b" / "train00.tfrecord").write_bytes(shard.read_bytes())
    found = runtime.find_data(None, attached, 0, ("train",))
    assert found == str(attached)


def test_without_data_a_sample_is_simulated(tmp_path, monkeypatch, capsys):
    made = []

    def write_sample(folder, seed):
        made.append((folder, seed))
        (folder / "train").mkdir(parents=True)
        (folder / "train" / "train00.tfrecord").touch()

    monkeypatch.setattr(synthetic, "write_sample", write_sample)
    found = runtime.find_data(None, tmp_path, 5, ("train",))
    assert made == [(tmp_path / "sample-5", 5)]
    assert found == str(tmp_path / "sample-5")
    assert "simulating" in capsys.readouterr().out


def test_an_earlier_output_is_found_here_then_in_attached_ones(
    tmp_path, attached
):
    name = "BERTMean/model.keras"
    with pytest.raises(ValueError, match="03_finetune"):
        runtime.find_output(tmp_path, name, "03_finetune")
    for mount in ("notebooks/someone/finetune", "old"):
        there = attached / mount / name
        there.parent.mkdir(parents=True)
        there.touch()
        assert runtime.find_output(tmp_path, name, "03_finetune") == there
        there.unlink()
    here = tmp_path / name
    here.parent.mkdir()
    here.touch()
    assert runtime.find_output(tmp_path, name, "03_finetune") == here


def test_help_shows_the_comment_behind_each_parameter():
    done = run_script("--help")
    assert done.returncode == 0
    assert "--learning-rate" in done.stdout
    assert "times 0.9 every 2 M" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "flags", [("--step", "3"), ("--steps", "three"), ("--nonsense",)]
)
def test_a_bad_flag_ends_the_script_at_once(flags):
    done = run_script(*flags)
    assert done.returncode == 2
    assert flags[0] in done.stderr


def test_the_arguments_of_a_kernel_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "x.json"])
    run = runtime.settings(output_dir=str(tmp_path), seed=4)
    assert run.seed == 4


def test_prepare_picks_a_precision_and_takes_a_given_one():
    before = keras.config.dtype_policy()
    try:
        assert "precision: float32" in runtime.prepare(0)
        assert "mixed_bfloat16" in runtime.prepare(0, "mixed_bfloat16")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(before)


def test_prepare_seeds_keras():
    draws = []
    for _ in range(2):
        runtime.prepare(3)
        draws.append(keras.random.normal((4,)))
    assert (draws[0] == draws[1]).numpy().all()
