import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from kit import data, pack, presets, runtime, stages
from kit.splits import Holdout
from kit.stages import cost
from tests.test_survival import same_weights

QUICK = {"steps": 4, "evaluate_every": 2, "batch_size": 16, "workers": 1}


def settings(sample, output, stage="finetune", **more):
    parameters = {"data_dir": sample, "output_dir": str(output)}
    parameters |= {"members": ["Logistic"], "seed": 1, **QUICK, **more}
    return runtime.settings(parameters, **stages.PLANS[stage])


@pytest.fixture(scope="module")
def evaluate(sample, tmp_path_factory):
    return stages.evaluation(settings(sample, tmp_path_factory.mktemp("run")))


def first(batches, interval):
    inputs, targets = next(iter(batches(interval)))
    return inputs["frames"].numpy(), targets.numpy()


def test_an_interval_has_its_own_examples_and_always_the_same(sample, tmp_path):
    run = settings(sample, tmp_path, "pretrain")
    for batches in (
        stages.video_batches(run, "BERTMean"),
        stages.segment_batches(run),
    ):
        frames, targets = first(batches, 3)
        again, same = first(batches, 3)
        np.testing.assert_array_equal(frames, again)
        np.testing.assert_array_equal(targets, same)
        other, _ = first(batches, 4)
        assert (frames != other).any()


def test_a_batch_may_be_larger_than_the_data(sample, tmp_path):
    run = settings(sample, tmp_path, batch_size=3000)
    frames, _ = first(stages.segment_batches(run), 0)
    assert frames.shape[0] == 3000


def test_the_evaluation_looks_at_its_half_of_the_hold_out(
    sample, tmp_path, capsys
):
    run = settings(sample, tmp_path)
    evaluate = stages.evaluation(run)
    ids = np.unique(evaluate.video_ids)
    assert run.holdout.select(ids, "checkpoint").all() and len(ids)
    positive = evaluate.ratings[evaluate.ratings["score"] == 1]
    none = set(run.segment_classes) - set(positive["label"])
    told = "no positive" in capsys.readouterr().out
    assert told == bool(none)


def test_the_half_that_weighs_members_must_have_videos_too(sample, tmp_path):
    """Said before any training, not when it is over."""
    run = settings(sample, tmp_path)
    for seed in range(99):
        run.holdout = Holdout(0.06, seed)
        ids = data.ratings(
            data.list_shards(sample, "validate"), holdout=run.holdout
        )["video_id"]
        halves = [
            run.holdout.select(ids, part).any()
            for part in ("checkpoint", "ensemble")
        ]
        if halves == [True, False]:
            break
    with pytest.raises(ValueError, match="Both halves.*fraction=0.06"):
        stages.evaluation(run)


def test_a_pack_stands_in_for_the_shards(sample, tmp_path):
    shards = data.list_shards(sample, "train")
    pack.pack_snippets(shards[:1], tmp_path / "pack", progress=False)
    run = settings(
        sample, tmp_path, "pretrain", pack_dir=str(tmp_path / "pack")
    )
    frames, targets = first(stages.video_batches(run, "BERTMean"), 0)
    assert frames.shape == (16, 5, 1152)
    assert targets.shape == (16, run.num_classes)
    packed = {
        row.tobytes()
        for inputs, _ in pack.Snippets(tmp_path / "pack").batches(
            num_classes=run.num_classes
        )
        for row in inputs["frames"].numpy()
    }
    assert {row.tobytes() for row in frames} <= packed
    # Twenty frames from anywhere are not in a pack of runs of five.
    frames, _ = first(stages.video_batches(run, "MixNeXtVLAD-60"), 0)
    assert frames.shape == (16, presets.TINY_FRAMES, 1152)


def test_fine_tuning_alone_is_a_way(sample, tmp_path, evaluate):
    run = settings(sample, tmp_path, from_scratch=True)
    histories = stages.train("finetune", run, ["Logistic"], evaluate)
    assert histories["Logistic"]["step"].tolist() == [2, 4]
    assert runtime.finetuned(run, "Logistic").exists()
    with pytest.raises(ValueError, match="02_pretrain"):
        run = settings(sample, tmp_path / "other")
        stages.train("finetune", run, ["Logistic"], evaluate)


def test_other_pre_trained_weights_are_another_run(sample, tmp_path, evaluate):
    for steps in (2, 4):
        run = settings(sample, tmp_path, "pretrain", steps=steps, restart=True)
        stages.pretrain(run, "Logistic", evaluate)
        run = settings(sample, tmp_path)
        if steps == 2:
            stages.finetune(run, "Logistic", evaluate)
        else:
            with pytest.raises(ValueError, match="pretrained was"):
                stages.finetune(run, "Logistic", evaluate)


def test_other_data_are_another_run(sample, tmp_path, evaluate):
    run = settings(sample, tmp_path, "pretrain")
    stages.pretrain(run, "Logistic", evaluate)
    place = tmp_path / "more" / "train99.tfrecord"
    place.parent.mkdir()
    shutil.copyfile(data.list_shards(sample, "test")[0], place)
    run.data_dir = [sample, str(place)]
    with pytest.raises(ValueError, match="data was '.* shards"):
        stages.pretrain(run, "Logistic", evaluate)


def test_a_stage_under_way_knows_what_it_began_with(
    sample, tmp_path, evaluate, monkeypatch
):
    run = settings(sample, tmp_path, from_scratch=True)
    calls = []

    def stopped(model):
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(model)

    with pytest.raises(KeyboardInterrupt):
        stages.finetune(run, "Logistic", stopped)
    history = runtime.stage(run, "Logistic", "finetune").history()
    assert 0 < history["start_map"].iloc[0] < 1
    assert not history.attrs["finished"]


def test_each_host_has_examples_of_its_own(sample, tmp_path, monkeypatch):
    run = settings(sample, tmp_path, "pretrain")
    seen = []
    for number in range(2):
        monkeypatch.setattr(
            "kit.training.hosts.host", lambda number=number: (number, 2)
        )
        for interval in range(2):
            frames, _ = first(stages.video_batches(run, "BERTMean"), interval)
            assert len(frames) == QUICK["batch_size"] // 2
            seen.append(frames.tobytes())
    assert len(set(seen)) == 4
    run.batch_size = 15
    with pytest.raises(ValueError, match="batch_size=15 for 2 hosts"):
        stages.video_batches(run, "BERTMean")


def test_the_table_says_where_each_member_stands(sample, tmp_path, evaluate):
    run = settings(sample, tmp_path, from_scratch=True)
    names = ["Logistic", "BERTMean"]
    stages.finetune(run, "Logistic", evaluate)
    table = stages.table(run, ["pretrain", "finetune"], names)
    assert table["state"].to_dict() == {
        ("Logistic", "pretrain"): "waiting",
        ("Logistic", "finetune"): "finished",
        ("BERTMean", "pretrain"): "waiting",
        ("BERTMean", "finetune"): "waiting",
    }
    assert table.loc[("Logistic", "finetune"), "step"] == 4


def test_shards_without_ratings_cannot_be_fine_tuned_on(sample, tmp_path):
    from tests.shards import Record, write

    write(
        tmp_path / "data" / "validate0000.tfrecord",
        [
            Record(
                video_id=f"v{at}".encode(),
                rgb=[bytes(1024)] * 9,
                audio=[bytes(128)] * 9,
                labels=[1],
            )
            for at in range(40)
        ],
    )
    run = settings(sample, tmp_path)
    run.data_dir = str(tmp_path / "data")
    with pytest.raises(Exception, match="hold nothing to read"):
        stages.evaluation(run)


def test_a_worker_is_given_a_gpu_and_all_are_used(
    sample, tmp_path, monkeypatch
):
    run = settings(sample, tmp_path, workers=None)
    assert stages.queue.slots(run) == [{}]
    monkeypatch.setattr(runtime, "count_gpus", lambda: 2)
    assert stages.queue.slots(run) == [
        {"CUDA_VISIBLE_DEVICES": "0"},
        {"CUDA_VISIBLE_DEVICES": "1"},
    ]
    run.devices = "all"
    assert stages.queue.slots(run) == [{}]


def test_the_cost_is_what_the_slower_of_reading_and_computing_takes(
    sample, tmp_path, monkeypatch, capsys
):
    run = settings(sample, tmp_path, "pretrain")
    speeds = {"Logistic": (10, 50.0), "BERTMean": (20, 2e9)}
    monkeypatch.setattr(cost, "computing", lambda run, name, _: speeds[name])
    monkeypatch.setattr(cost, "reading", lambda batches: 1000.0)
    table = cost.cost_table(run, list(speeds))
    assert table["limit"].to_dict() == {
        "Logistic": "computing",
        "BERTMean": "reading",
    }
    examples = 128 * 220_000
    assert table["hours"].tolist() == pytest.approx(
        [examples / 50 / 3600, examples / 1000 / 3600], abs=0.05
    )


def test_what_the_cost_is_made_of_is_measured(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "SECONDS", 0.2)
    run = settings(sample, tmp_path, "pretrain")
    batches = stages.video_batches(run, "Logistic")(0)
    count, trains = cost.computing(run, "Logistic", next(iter(batches)))
    assert count == presets.build("Logistic", run.num_classes).count_params()
    assert trains > 10 and cost.reading(batches) > 10


def test_what_was_begun_anew_here_is_what_is_fine_tuned(
    sample, tmp_path, evaluate
):
    """And not the finished one of an attached output that it replaces."""
    old = settings(sample, tmp_path / "old", "pretrain")
    stages.pretrain(old, "Logistic", evaluate)
    run = settings(sample, tmp_path / "new", "pretrain")
    attached = runtime.stage(old, "Logistic", "pretrain").folder
    place = runtime.stage(run, "Logistic", "pretrain")
    place.places.append(attached)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kit.runtime.members.stage", lambda *_: place)
        assert runtime.pretrained(run, "Logistic") == attached
        place.clear()
        with pytest.raises(ValueError, match="must be finished"):
            runtime.pretrained(run, "Logistic")


def test_all_stages_that_are_begun_anew_are_cleared_at_once(
    sample, tmp_path, evaluate
):
    run = settings(sample, tmp_path, from_scratch=True)
    stages.finetune(run, "Logistic", evaluate)
    stages.begin_anew(run, ["pretrain", "finetune"], ["Logistic"])
    for stage in ("pretrain", "finetune"):
        place = runtime.stage(run, "Logistic", stage)
        assert not len(place.history())
        assert place.sources() == [place.folder]
    with pytest.raises(ValueError, match="03_finetune"):
        runtime.finetuned(run, "Logistic")


def test_a_pack_needs_no_training_shards(sample, tmp_path):
    shards = data.list_shards(sample, "train")
    pack.pack_snippets(shards[:1], tmp_path / "pack", progress=False)
    less = tmp_path / "less"
    shutil.copytree(sample, less)
    for path in data.list_shards(str(less), "train"):
        os.remove(path)
    options = {"pack_dir": str(tmp_path / "pack")}
    run = settings(str(less), tmp_path / "run", "pretrain", **options)
    frames, _ = first(stages.video_batches(run, "BERTMean"), 0)
    assert len(frames) == 16
    with pytest.raises(ValueError, match="train"):
        stages.video_batches(run, "MixNeXtVLAD-60")
    # Before the first member is trained, not when its turn has come.
    with pytest.raises(ValueError, match="train"):
        stages.train("pretrain", run, ["Logistic", "MixNeXtVLAD-60"], None)
    with pytest.raises(ValueError, match="train"):
        settings(str(less), tmp_path / "run", "pretrain")


def command(sample, output, *flags):
    return [
        *(sys.executable, "-m", "kit.stages", "--data-dir", sample),
        *("--output-dir", str(output), "--batch-size", "16", *flags),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_time_that_is_up_before_a_first_look_is_no_error(
    sample, tmp_path, workers
):
    done = subprocess.run(
        command(
            *(sample, tmp_path, "--members", "Logistic,BERTMean"),
            *("--baseline", "no", "--workers", workers),
            *("--time-limit", "0.000001"),
        ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("waiting") >= 4  # in the table


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_beginning_anew_leaves_no_old_result(
    sample, tmp_path, evaluate, workers
):
    """Not even of members whose turn does not come."""
    for name in ("Logistic", "BERTMean"):
        run = settings(sample, tmp_path, from_scratch=True, seed=0)
        stages.finetune(run, name, evaluate)
    done = subprocess.run(
        command(
            *(sample, tmp_path, "--members", "Logistic,BERTMean"),
            *("--baseline", "no", "--workers", workers, "--restart", "yes"),
            *("--from-scratch", "yes", "--time-limit", "0.000001"),
        ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = stages.table(run, ["finetune"], ["Logistic", "BERTMean"])
    assert (table["state"] == "waiting").all()


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_beginning_anew_without_data_keeps_the_old_result(
    sample, tmp_path, evaluate, workers
):
    run = settings(sample, tmp_path, "pretrain", seed=0)
    stages.pretrain(run, "Logistic", evaluate)
    before = contents(tmp_path / "Logistic" / "pretrain")
    done = subprocess.run(
        command(
            *(sample, tmp_path, "--members", "Logistic", "--only", "pretrain"),
            *("--baseline", "no", "--workers", workers, "--restart", "yes"),
            *("--pack-dir", str(tmp_path / "gone")),
        ),
        capture_output=True,
        text=True,
    )
    assert done.returncode and "gone" in done.stderr
    assert contents(tmp_path / "Logistic" / "pretrain") == before


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_workers_end_with_a_queue_that_is_killed(sample, tmp_path):
    flags = ("--members", "Logistic,BERTMean", "--baseline", "no")
    many = ("--steps", "90000", "--evaluate-every", "2", "--workers", "2")
    first = subprocess.Popen(
        command(sample, tmp_path, *flags, *many),
        stdout=subprocess.PIPE,
        text=True,
    )
    logs = [tmp_path / name / "train.log" for name in flags[1].split(",")]

    def begun():
        return all(
            path.exists() and "step" in path.read_text() for path in logs
        )

    wait(begun, 120)
    first.kill()
    first.communicate()

    def idle():
        places = [path.parent / "pretrain" / "lock" for path in logs]
        return not any(place.exists() for place in places)

    wait(idle, 60)
    assert "Error" not in logs[0].read_text()


def wait(condition, seconds):
    until = time.time() + seconds
    while not condition():
        assert time.time() < until
        time.sleep(0.2)


def test_the_error_of_a_worker_is_that_of_this_time(tmp_path):
    log = tmp_path / "train.log"
    log.write_text("ValueError: an old one\n")
    begins = log.stat().st_size
    worker = subprocess.CompletedProcess([], 1)
    with log.open("a") as file:
        file.write("Traceback ...\nValueError: the one\n  [=] step 3/9\n")
    why = stages.queue._why(log, worker, begins)
    assert why == f"ValueError: the one ({log})"
    worker.returncode = -9
    assert "signal 9" in stages.queue._why(log, worker, begins)


def packing(sample, output):
    return subprocess.run(
        [
            *(sys.executable, "-m", "kit.stages.pack", "--data-dir", sample),
            *("--output-dir", str(output), "--snippets", "2"),
        ],
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_command_packs_what_may_be_trained_on(sample, tmp_path):
    done = packing(sample, tmp_path)
    assert done.returncode == 0, done.stderr
    found = pack.Snippets(tmp_path / "snippets")
    run = settings(sample, tmp_path, "pretrain")
    ids = found.entries["id"]
    assert len(found) == 2 * len(ids)
    assert run.holdout.select(ids, "training").all()
    assert "--pack-dir" in done.stdout


@pytest.mark.slow
def test_the_queue_works_off_members_side_by_side(sample, tmp_path, capsys):
    run = settings(sample, tmp_path, "pretrain", workers=2)
    (tmp_path / "BERTMean").mkdir()
    # A worker that cannot write fails, and must not take others with it.
    (tmp_path / "BERTMean" / "pretrain").write_text("in the way")
    names, places = ["BERTMean", "Logistic"], [{}, {}]
    with pytest.raises(ValueError, match="BERTMean/train.log"):
        stages.queue.work(run, ["pretrain", "finetune"], names, places)
    table = stages.table(run, ["pretrain", "finetune"], names)
    assert (table.loc["Logistic", "state"] == "finished").all()
    (tmp_path / "BERTMean" / "pretrain").unlink()
    stages.queue.work(run, ["pretrain", "finetune"], names, places)
    table = stages.table(run, ["pretrain", "finetune"], names)
    assert (table["state"] == "finished").all()
    log = (tmp_path / "Logistic" / "train.log").read_text()
    assert log.count("finished before") == 2
    assert "waiting" in capsys.readouterr().out
    # One after the other, in one process, gives the same bits.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "kit.stages", "--members", "BERTMean"),
            *("--data-dir", sample, "--output-dir", str(tmp_path / "alone")),
            *("--steps", "4", "--evaluate-every", "2", "--batch-size", "16"),
            *("--seed", "1"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for stage in ("pretrain", "finetune"):
        inside = f"BERTMean/{stage}/stage.weights.h5"
        same_weights(tmp_path / inside, tmp_path / "alone" / inside)
