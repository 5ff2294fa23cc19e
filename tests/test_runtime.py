import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from kit import data, presets, runtime, stages, synthetic
from kit.spec import FrameSpec
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
    parameters = dict(
        data_dir=sample,
        output_dir=str(tmp_path),
        seed=0,
        steps=None,
        batch_size=None,
        other="is no setting",
    )
    run = runtime.settings(
        parameters,
        needs=("train",),
        paper={"steps": 200_000},
        sample={"steps": 7},
    )
    assert run.is_sample and not hasattr(run, "other")
    assert (run.steps, run.batch_size) == (7, runtime.SAMPLE["batch_size"])
    assert run.holdout == Holdout(runtime.SAMPLE["holdout_fraction"])
    assert set(run.segment_classes) < set(run.names)
    assert max(run.names) < run.num_classes


@pytest.fixture
def real(sample, tmp_path):
    """The same shards without the card that says they are simulated."""
    folder = tmp_path / "real"
    shutil.copytree(sample, folder)
    (folder / synthetic.CARD).unlink()
    return folder


@pytest.mark.parametrize(
    "form", ["{0}", "{0}/*/*.tfrecord", "{0}/train,{0}/validate"]
)
def test_the_same_setting_means_the_papers_value_on_other_data(
    real, tmp_path, form
):
    parameters = dict(
        data_dir=form.format(real),
        output_dir=str(tmp_path),
        seed=0,
        steps=None,
        members=None,
    )
    run = runtime.settings(
        parameters, needs=("train", "validate"), paper={"steps": 200_000}
    )
    assert not run.is_sample
    assert (run.steps, run.num_classes) == (200_000, 3862)
    assert len(run.members) == 9
    assert run.holdout == Holdout(300 / 3844)
    # The classes are found beside the shards, however these are named.
    assert len(run.segment_classes) == 20
    assert len(data.list_shards(run.data_dir, "train")) == 1


def test_a_sample_is_known_by_its_shards_however_they_are_named(
    sample, tmp_path
):
    for form in ("{0}/*/*.tfrecord", "{0}/train,{0}/validate"):
        run = runtime.settings(
            dict(
                data_dir=form.format(sample), output_dir=str(tmp_path), seed=0
            ),
            needs=("train",),
        )
        assert run.is_sample and run.data_dir == sample


def test_simulated_shards_are_not_mixed_with_others(sample, real, tmp_path):
    with pytest.raises(ValueError, match="cannot be mixed"):
        runtime.find_data([sample, str(real)], tmp_path, 0, ("train",))


def test_a_value_that_is_given_wins(sample, tmp_path):
    run = runtime.settings(
        dict(
            data_dir=sample,
            output_dir=str(tmp_path),
            seed=3,
            steps=11,
            members="BERTMean, GatedNetVLAD",
        ),
        needs=("train",),
        sample={"steps": 7},
    )
    assert (run.steps, run.seed) == (11, 3)
    assert run.members == ["BERTMean", "GatedNetVLAD"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"steps": "many"}, "Received: steps='many'"),
        ({"steps": 0}, "Received: steps=0"),
        ({"steps": True}, "Received: steps=True"),
        ({"learning_rate": -1.0}, "Received: learning_rate=-1.0"),
        ({"seed": -1}, "Received: seed=-1"),
        ({"members": "BERTMedian"}, "Received: 'BERTMedian'"),
        ({"members": "BERTMean,BERTMean"}, "each member once"),
        ({"scale": "huge"}, "Received: scale='huge'"),
        ({"averaging": "median"}, "Received: averaging='median'"),
        ({"part": "3/2"}, "Received: part='3/2'"),
        ({"leave_out_edges": "yes"}, "Received: leave_out_edges='yes'"),
        ({"output_dir": "/proc/nowhere"}, "Received: output_dir"),
    ],
)
def test_a_bad_setting_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        runtime.settings({"output_dir": None, **parameters})


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


def test_without_classes_it_says_which_file_is_missing(real, tmp_path):
    for name in ("segment_label_ids.csv", "vocabulary.csv"):
        (real / name).unlink()
    with pytest.raises(ValueError, match="segment_label_ids.csv"):
        runtime.settings(
            dict(data_dir=str(real), output_dir=str(tmp_path / "o"), seed=0),
            needs=("train",),
        )


def test_attached_real_shards_win_over_an_attached_sample(
    sample, real, attached
):
    shutil.copytree(sample, attached / "notebooks/me/explore/sample-0")
    shutil.copytree(real / "train", attached / "datasets/me/yt8m/train")
    (attached / "competitions/yt8m").mkdir(parents=True)
    shutil.copy(real / "vocabulary.csv", attached / "competitions/yt8m")
    found, is_sample = runtime.find_data(None, attached, 0, ("train",))
    assert not is_sample
    shards = data.list_shards(found, "train")
    assert [Path(shard).parent.parent.name for shard in shards] == ["yt8m"]
    assert len(data.read_vocabulary(found)) == 60


def test_an_attached_sample_is_used_where_there_is_nothing_else(
    sample, attached
):
    there = attached / "notebooks/me/explore/sample-0"
    shutil.copytree(sample, there)
    found = runtime.find_data(None, attached, 0, ("train",))
    assert found == (str(there), True)


def test_without_data_a_sample_is_simulated(
    sample, tmp_path, monkeypatch, capsys
):
    made = []

    def write_sample(folder, seed):
        made.append((folder, seed))
        shutil.copytree(sample, folder)

    monkeypatch.setattr(synthetic, "write_sample", write_sample)
    found = runtime.find_data(None, tmp_path, 5, ("train",))
    assert made == [(str(tmp_path / "sample-5"), 5)]
    assert found == (str(tmp_path / "sample-5"), True)
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
    kernel = {"__name__": "__main__", "output_dir": str(tmp_path), "seed": 4}
    assert runtime.settings(kernel).seed == 4


def test_prepare_picks_a_precision_and_takes_a_given_one(monkeypatch):
    before = keras.config.dtype_policy()
    monkeypatch.setattr(runtime.device, "_device", lambda: ("T4", "float32"))
    try:
        assert "T4" in (line := runtime.prepare(0))
        assert "precision: float32" in line
        assert "mixed_bfloat16" in runtime.prepare(0, "mixed_bfloat16")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(before)


def a_run(sample, tmp_path, **changed):
    parameters = dict(data_dir=sample, output_dir=str(tmp_path), seed=0)
    run = runtime.settings(parameters, needs=("train",))
    for name, value in changed.items():
        setattr(run, name, value)
    return run


def test_a_model_for_other_data_is_refused_before_anything_is_ranked(
    sample, tmp_path
):
    run = a_run(sample, tmp_path)
    model = presets.build("Logistic", class_ids=run.segment_classes)
    left = stages.facts(run, model, "Logistic", "tiny", "some shards")
    for stage in ("pretrain", "finetune"):
        folder = tmp_path / "Logistic" / stage
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(left))
    (tmp_path / "Logistic" / "model.keras").touch()
    assert runtime.finetuned(run, "Logistic").name == "model.keras"
    assert runtime.pretrained(run, "Logistic").name == "pretrain"
    for changed, message in (
        (dict(segment_classes=[1, 2]), "class_ids"),
        (dict(is_sample=False), "simulated"),
        (dict(spec=FrameSpec(rgb=512, audio=0)), "spec"),
        (dict(holdout=Holdout(0.1)), "same videos"),
    ):
        with pytest.raises(ValueError, match=message):
            runtime.finetuned(a_run(sample, tmp_path, **changed), "Logistic")
    for changed, message in (
        (dict(segment_classes=[3_000]), "lacks classes"),
        (dict(holdout=Holdout(0.1)), "same videos"),
    ):
        with pytest.raises(ValueError, match=message):
            runtime.pretrained(a_run(sample, tmp_path, **changed), "Logistic")


def test_the_options_of_inference_follow_the_settings(sample, tmp_path):
    model = presets.build("BERTMean", class_ids=[1, 2], scale="tiny")
    off = dict(
        averaging="mean",
        leave_out_edges=False,
        video_level=False,
        top_classes=None,
    )
    plain = runtime.scoring(a_run(sample, tmp_path, **off), "BERTMean", model)
    assert plain["shifts"] == (-2, 1) and plain["video_level"] is None
    assert plain["leave_out"] == (0, 0)
    on = off | dict(leave_out_edges=True, top_classes=20)
    run = a_run(sample, tmp_path, **on)
    options = runtime.scoring(run, "BERTMean", model)
    assert options["leave_out"] == (6, 2) and options["top_classes"] == 20
    assert callable(options["video_level"])


def test_prepare_seeds_keras():
    draws = []
    for _ in range(2):
        runtime.prepare(3)
        draws.append(keras.random.normal((4,)))
    assert (draws[0] == draws[1]).numpy().all()


def test_a_run_ends_before_its_host_does(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("TPU_")]:
        monkeypatch.delenv(name)
    parameters = {"output_dir": str(tmp_path)}
    assert runtime.settings(parameters).deadline is None
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    begun = runtime.settings(parameters).deadline - 11.5 * 3600
    monkeypatch.setenv("TPU_NAME", "local")
    assert runtime.settings(parameters).deadline == begun + 8.5 * 3600
    asked = runtime.settings(parameters | {"time_limit": 2})
    assert asked.deadline == begun + 2 * 3600
    # What a session needs and does not keep lies outside its output.
    stage = runtime.stage(asked, "BERTMean", "pretrain")
    assert stage.scratch != stage.folder == tmp_path / "BERTMean/pretrain"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("members", "", "must name something"),
        ("frame_spec", "abc", "whole numbers"),
        ("frame_spec", "512,-1", "whole numbers"),
    ],
)
def test_a_list_that_says_nothing_is_refused(name, value, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        runtime.settings({"output_dir": str(tmp_path), name: value})
