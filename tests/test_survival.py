"""Whatever happens to a stage, the same command goes on with it."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd
import pytest

from kit import models, presets, training

CLASSES = [3, 7, 8, 20, 21]
CLOCK = ["examples_per_second", "seconds"]


@pytest.fixture(autouse=True)
def with_a_checkpoint_each_interval(monkeypatch):
    """Also where the disk is slow and the stage is not."""
    monkeypatch.setattr("kit.training.intervals.CHECKPOINT_SHARE", 0)


def batches(interval):
    """Random batches that depend on the number of the interval alone."""
    import tensorflow as tf

    rng = np.random.default_rng(interval)

    def batch():
        while True:
            yield (
                {
                    "frames": rng.integers(256, size=(8, 5, 1152), dtype="u1"),
                    "mask": np.ones((8, 5), bool),
                },
                rng.integers(-1, 2, (8, len(CLASSES)), dtype="i1"),
            )

    signature = (
        {
            "frames": tf.TensorSpec((8, 5, 1152), tf.uint8),
            "mask": tf.TensorSpec((8, 5), tf.bool),
        },
        tf.TensorSpec((8, len(CLASSES)), tf.int8),
    )
    return tf.data.Dataset.from_generator(batch, output_signature=signature)


def score(model):
    """Some number that depends on every weight."""
    return float(np.mean([np.abs(w).mean() for w in model.get_weights()]))


def fit(stage, name="Logistic", evaluate=score, **options):
    model = presets.build(name, class_ids=CLASSES, scale="tiny", seed=4)
    options = {"steps": 8, "evaluate_every": 2} | options
    table = training.fit(
        model,
        options.pop("batches", batches),
        stage=stage,
        batch_size=8,
        learning_rate=options.pop("learning_rate", 1e-3),
        evaluate=evaluate,
        **options,
    )
    return model, table


class Killed(BaseException):
    """As sudden as a signal, but within this process."""


def killed_at(count):
    calls = []

    def evaluate(model):
        calls.append(0)
        if len(calls) == count:
            raise Killed
        return score(model)

    return evaluate


def same(one, two):
    for a, b in zip(one.variables, two.variables, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), a.path
        )


def same_weights(one, two):
    """Of two files, which hold the time they were written as well."""
    found = []
    for path in (one, two):
        values = {}

        def take(name, item, values=values):
            if isinstance(item, h5py.Dataset):
                values[name] = item[()]

        with h5py.File(path) as file:
            file.visititems(take)
        found.append(values)
    assert found[0].keys() == found[1].keys() and found[0]
    for name, value in found[0].items():
        np.testing.assert_array_equal(value, found[1][name], name)


def same_history(one, two):
    pd.testing.assert_frame_equal(
        one.drop(columns=CLOCK), two.drop(columns=CLOCK), check_exact=True
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("BERTMean", {}),  # dropout, whose random state must come back
        ("GatedNetVLAD", {"keep": "last"}),  # batch normalisation
        ("Logistic", {"averaging": 0.5, "warmup_steps": 5}),
        ("Logistic", {"patience": 1, "keep": "last"}),
    ],
)
def test_a_stage_cut_off_ends_as_one_that_was_not(name, options, tmp_path):
    whole, expected = fit(training.Stage(tmp_path / "whole"), name, **options)
    for count in (2, 3, 3):  # call 1 scores what the stage begins with
        with pytest.raises(Killed):
            fit(
                training.Stage(tmp_path / "cut"),
                name,
                killed_at(count),
                **options,
            )
    model, table = fit(training.Stage(tmp_path / "cut"), name, **options)
    same_history(table, expected)
    assert table.attrs == expected.attrs
    for one, two in zip(whole.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, two)
    names = {"stage.weights.h5", "history.csv", "config.json"}
    assert {path.name for path in (tmp_path / "cut").iterdir()} == names


def test_all_that_training_needs_comes_back(tmp_path):
    with pytest.raises(Killed):
        fit(training.Stage(tmp_path), "BERTMean", killed_at(3))
    with np.load(training.Stage(tmp_path).checkpoints()[0]) as arrays:
        names = set(arrays)
    states = [name for name in names if name.startswith("optimizer")]
    model = presets.build("BERTMean", class_ids=CLASSES, scale="tiny")
    weights = len(model.trainable_variables)
    # Adam: the number of steps, and two moments a weight.
    assert len(states) == 1 + 2 * weights
    assert sum(name.startswith("model") for name in names) == len(
        model.variables
    )
    assert len(model.variables) > len(model.weights)  # the seeds of dropout


def stop():
    raise Killed


def test_a_finished_stage_is_not_trained_again(tmp_path):
    model, table = fit(training.Stage(tmp_path))
    again, same_table = fit(
        training.Stage(tmp_path), batches=lambda interval: stop()
    )
    same_history(table, same_table)
    assert same_table.attrs["finished"]
    for one, two in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_stage_begins_anew_where_asked(tmp_path):
    fit(training.Stage(tmp_path), steps=4)
    _, table = fit(training.Stage(tmp_path), steps=6, restart=True)
    assert table["step"].tolist() == [2, 4, 6]


@pytest.mark.parametrize(
    "options",
    [{"steps": 10}, {"name": "BERTFirst"}, {"facts": {"spec": {"rgb": 9}}}],
)
@pytest.mark.parametrize("finished", [True, False])
def test_what_differs_from_the_run_before_is_named(options, finished, tmp_path):
    begin = {"facts": {"spec": {"rgb": 1024}, "member": "BERTMean"}}
    if finished:
        fit(training.Stage(tmp_path), **begin)
    else:
        with pytest.raises(Killed):
            fit(training.Stage(tmp_path), evaluate=killed_at(3), **begin)
    options = begin | options
    if "name" in options:
        options["facts"] = begin["facts"] | {"member": "BERTFirst"}
    wanted = {
        "steps": "steps was 8 and is 10",
        "name": "member was 'BERTMean' and is 'BERTFirst'",
        "facts": "spec was {'rgb': 1024} and is {'rgb': 9}",
    }[next(k for k in ("steps", "name", "facts") if k in options)]
    with pytest.raises(ValueError, match="goes on only with") as error:
        fit(training.Stage(tmp_path), **options)
    assert wanted in str(error.value)


def cut_off(folder, **options):
    """A stage with two checkpoints."""
    with pytest.raises(Killed):
        fit(training.Stage(folder), evaluate=killed_at(4), **options)
    found = training.Stage(folder).checkpoints()
    assert [path.name for path in found] == [
        "checkpoint-000002.npz",
        "checkpoint-000001.npz",
    ]
    return found


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_checkpoint_costs_an_interval(damage, tmp_path, capsys):
    whole, expected = fit(training.Stage(tmp_path / "whole"))
    newest, _ = cut_off(tmp_path / "cut")
    content = bytearray(newest.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 3] ^= 1  # in the middle of an array
    elif damage == "empty":
        content = b""
    else:
        content = b"not ours"
    newest.write_bytes(content)
    capsys.readouterr()
    model, table = fit(training.Stage(tmp_path / "cut"))
    printed = capsys.readouterr().out
    assert f"{newest} is damaged" in printed and "after step 2" in printed
    same_history(table, expected)
    for one, two in zip(whole.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_without_a_whole_checkpoint_it_asks_to_begin_anew(tmp_path):
    for path in cut_off(tmp_path):
        path.write_bytes(b"not ours")
    with pytest.raises(ValueError, match="--restart yes"):
        fit(training.Stage(tmp_path))
    _, table = fit(training.Stage(tmp_path), restart=True)
    assert table.attrs["finished"]


def test_a_damaged_attached_checkpoint_hides_no_whole_one(tmp_path, capsys):
    """Nor is it what is kept for the session after this."""
    attached, here = tmp_path / "attached", tmp_path / "here"
    _, expected = fit(training.Stage(tmp_path / "whole"))
    newest, _ = cut_off(attached)
    newest.write_bytes(b"not ours")
    stage = training.Stage(here, earlier=[attached])
    _, table = fit(stage, deadline=time.time() - 1)
    assert "after step 2" in capsys.readouterr().out
    assert table["step"].tolist() == [2] and not table.attrs["finished"]
    kept = [path.name for path in here.glob("*.npz")]
    assert kept == ["checkpoint-000001.npz"]
    _, table = fit(training.Stage(here, earlier=[attached]))
    same_history(table, expected)


def test_a_checkpoint_written_where_a_damaged_one_was_counts(tmp_path, capsys):
    stage = training.Stage(tmp_path)
    record = {"plan": {}, "format": 2}
    for interval in (1, 2):
        stage.save(interval, record, [("a", np.arange(9.0))])
    newest, before = stage.checkpoints()
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    stage = training.Stage(tmp_path)
    stage.load({}, lambda record, arrays: arrays["a"])
    assert stage.checkpoints() == [before]
    for interval in (2, 3, 4):
        stage.save(interval, record, [("a", np.arange(9.0))])
        assert stage.checkpoints()[0].name == f"checkpoint-00000{interval}.npz"
    assert len(list(tmp_path.glob("*.npz"))) == 2


def test_a_disk_that_does_not_answer_loses_no_checkpoint(
    tmp_path, monkeypatch, capsys
):
    stage = training.Stage(tmp_path)
    for interval in (1, 2):
        stage.save(interval, {"plan": {}, "format": 2}, [])
    newest, before = stage.checkpoints()
    load = np.load

    def failing(file):
        if file.name == str(newest):
            raise OSError(errno.EIO, "Input/output error")
        return load(file)

    monkeypatch.setattr(np, "load", failing)
    assert stage.load({}, lambda record, arrays: None)
    assert "falling back" in capsys.readouterr().out
    assert newest.exists() and stage.checkpoints() == [before]


def test_damaged_checkpoints_of_ours_do_not_hide_attached_ones(tmp_path):
    attached, here = tmp_path / "attached", tmp_path / "here"
    _, expected = fit(training.Stage(tmp_path / "whole"))
    cut_off(attached)
    for path in cut_off(here):
        path.write_bytes(path.read_bytes()[:-99])
    _, table = fit(training.Stage(here, earlier=[attached]))
    same_history(table, expected)


def test_any_flipped_bit_of_a_checkpoint_is_harmless_or_noticed(
    tmp_path, capsys
):
    """Whatever it makes of the zip file: another version, a password."""
    stage = training.Stage(tmp_path)
    arrays = [("a", np.arange(7.0)), ("b", np.ones((2, 2), np.float32))]
    stage.save(1, {"plan": {"steps": 3}, "format": 2}, arrays)
    [path] = stage.checkpoints()
    content = path.read_bytes()
    noticed = 0
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        taken = []

        def take(record, found, taken=taken):
            taken += [found["a"].tolist(), found["b"].tolist()]

        try:
            training.Stage(tmp_path).load({"steps": 3}, take)
        except ValueError as error:
            assert "none of this stage is" in str(error), bit
            noticed += 1
        else:
            assert taken == [arrays[0][1].tolist(), [[1, 1], [1, 1]]], bit
    assert noticed > 4 * len(content)
    capsys.readouterr()


def test_checkpoints_of_another_version_are_not_taken(tmp_path):
    stage = training.Stage(tmp_path)
    stage.save(1, {"plan": {}, "format": 99}, [])
    with pytest.raises(ValueError, match="format was 99 and is 2"):
        stage.load({}, None)


def test_a_finished_stage_that_cannot_be_read_is_named(tmp_path):
    fit(training.Stage(tmp_path))
    config = tmp_path / "config.json"
    config.write_text(config.read_text()[:-20])
    with pytest.raises(ValueError, match="whole config.json.*Received"):
        fit(training.Stage(tmp_path))


def test_what_a_kill_leaves_in_the_last_moment_is_removed(tmp_path):
    """Of a stage that says that it is finished and still has checkpoints."""
    for path in cut_off(tmp_path / "other"):
        content = path.read_bytes()
    fit(training.Stage(tmp_path / "here"))
    for name in ("checkpoint-000004.npz", "partial-checkpoint-000003.npz"):
        (tmp_path / "here" / name).write_bytes(content)
    fit(training.Stage(tmp_path / "here"))
    assert not list((tmp_path / "here").glob("*.npz"))


def test_a_history_whose_checkpoint_is_gone_hides_no_other(tmp_path):
    """As where a host keeps a folder and not the scratch."""
    attached, here = tmp_path / "attached", tmp_path / "here"
    _, expected = fit(training.Stage(tmp_path / "whole"))
    cut_off(attached)
    here.mkdir()
    (here / "history.csv").write_bytes((attached / "history.csv").read_bytes())
    stage = training.Stage(here, earlier=[attached])
    assert len(stage.history()) == 2
    calls = []
    _, table = fit(
        stage, evaluate=lambda model: calls.append(0) or score(model)
    )
    same_history(table, expected)
    assert len(calls) == 2  # of four: it went on from the attached one


def test_a_run_goes_on_from_an_attached_output(tmp_path):
    attached, here = tmp_path / "attached", tmp_path / "here"
    whole, expected = fit(training.Stage(tmp_path / "whole"))
    cut_off(attached)
    before = {p: p.stat().st_mtime_ns for p in attached.iterdir()}
    _, table = fit(training.Stage(here, earlier=[attached]))
    same_history(table, expected)
    assert {p: p.stat().st_mtime_ns for p in attached.iterdir()} == before
    # And is known to be finished from there on.
    _, table = fit(
        training.Stage(tmp_path / "third", earlier=[attached, here]),
        batches=lambda interval: stop(),
    )
    same_history(table, expected)


def test_time_is_up_between_intervals_and_everything_is_saved(tmp_path, capsys):
    _, expected = fit(training.Stage(tmp_path / "whole"))
    stage = training.Stage(tmp_path / "limited", tmp_path / "scratch")

    def slow(model):
        time.sleep(0.5)
        return score(model)

    sessions = 0
    while True:
        _, table = fit(stage, evaluate=slow, deadline=time.time() + 4)
        sessions += 1
        if table.attrs["finished"]:
            break
        assert "the same command goes on" in capsys.readouterr().out
        # The next session has another scratch.
        for path in (tmp_path / "scratch").iterdir():
            path.unlink()
        assert sessions < 9
    same_history(table, expected)


def test_without_any_time_nothing_is_begun(tmp_path):
    _, table = fit(training.Stage(tmp_path), deadline=time.time() - 1)
    assert not len(table) and not table.attrs["finished"]


def test_a_time_limit_that_fits_no_interval_says_so(tmp_path, capsys):
    _, table = fit(
        training.Stage(tmp_path),
        steps=4000,
        evaluate_every=2000,
        deadline=time.time() + 3,
    )
    assert not table.attrs["finished"] and not len(table)
    assert "Not one interval fitted" in capsys.readouterr().out


def test_checkpoints_go_to_scratch_and_leave_nothing(tmp_path):
    stage = training.Stage(tmp_path / "kept", tmp_path / "scratch")
    seen = []

    def look(model):
        seen.append({path.name for path in stage.folder.glob("*")})
        return score(model)

    with pytest.raises(ValueError, match="no batch"):
        fit(stage, evaluate=look, batches=only(2))
    # In the scratch while all is well, and kept when the session fails.
    assert seen[-1] == {"history.csv"}
    assert (tmp_path / "kept" / "checkpoint-000002.npz").exists()
    _, table = fit(stage)
    assert table["step"].tolist() == [2, 4, 6, 8]
    assert not list((tmp_path / "scratch").iterdir())
    assert not list((tmp_path / "kept").glob("checkpoint-*"))


def only(count):
    """Batches that fail after so many intervals."""

    def failing(interval):
        if interval >= count:
            raise ValueError("no batch")
        return batches(interval)

    return failing


@pytest.mark.parametrize("finished", [False, True])
def test_what_was_begun_anew_wins_over_what_it_replaced(finished, tmp_path):
    old, here = tmp_path / "old", tmp_path / "here"
    if finished:
        fit(training.Stage(old), learning_rate=1e-2)
    else:
        with pytest.raises(Killed):
            fit(training.Stage(old), evaluate=killed_at(4), learning_rate=1e-2)
    _, expected = fit(training.Stage(tmp_path / "whole"))
    with pytest.raises(Killed):
        fit(
            training.Stage(here, earlier=[old]),
            evaluate=killed_at(3),
            restart=True,
        )
    _, table = fit(training.Stage(here, earlier=[old]))
    same_history(table, expected)
    # Also in a third session that has both attached.
    third = training.Stage(tmp_path / "third", earlier=[old, here])
    _, table = fit(third, batches=lambda interval: stop())
    same_history(table, expected)
    assert (third.folder / "config.json").exists()


def test_what_an_interval_left_half_done_is_never_saved(tmp_path, monkeypatch):
    whole, expected = fit(training.Stage(tmp_path / "whole"), steps=16)
    monkeypatch.setattr("kit.training.intervals.CHECKPOINT_SHARE", 1e9)

    def slow_third(interval):
        found = batches(interval)
        if interval != 2 or session:
            return found

        def wait(step, batch):
            import tensorflow as tf

            def sleep(step):
                time.sleep(9 if step else 0)
                return step

            waited = tf.numpy_function(sleep, [step], step.dtype)
            with tf.control_dependencies([waited]):
                return tf.nest.map_structure(tf.identity, batch)

        return found.enumerate().map(wait)

    session = 0
    stage = training.Stage(tmp_path / "cut")
    _, table = fit(
        stage, steps=16, deadline=time.time() + 8, batches=slow_third
    )
    assert not table.attrs["finished"]
    session = 1
    model, table = fit(stage, steps=16, batches=slow_third)
    same_history(table, expected)
    for one, two in zip(whole.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_one_process_at_a_time_trains_a_stage(tmp_path):
    def meanwhile(model):
        with pytest.raises(ValueError, match="One process trains a stage"):
            fit(training.Stage(tmp_path))
        return score(model)

    fit(training.Stage(tmp_path), evaluate=meanwhile, steps=2)


def test_a_damaged_checkpoint_is_never_the_only_one_left(tmp_path):
    newest, older = cut_off(tmp_path)
    newest.write_bytes(b"not ours")
    with pytest.raises(Killed):
        fit(training.Stage(tmp_path), batches=lambda interval: stop())
    assert training.Stage(tmp_path).checkpoints() == [older]


def test_weights_that_are_no_numbers_are_never_scored(tmp_path):
    def poisoned(interval):
        model = seen[-1]
        if interval == 1:
            model.weights[0].assign(np.nan * model.weights[0])
        return batches(interval)

    seen = []

    def remember(model):
        seen.append(model)
        return score(model)

    with pytest.raises(ValueError, match="no longer a number.*step="):
        fit(training.Stage(tmp_path), evaluate=remember, batches=poisoned)
    assert (tmp_path / "stage.weights.h5").exists()


def test_a_disk_without_room_is_told_before(tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(ValueError, match="0.0 GB free"):
        fit(training.Stage(tmp_path))


def test_a_disk_that_fills_up_costs_no_checkpoint(tmp_path, monkeypatch):
    write, calls = np.lib.format.write_array, []

    def full(file, array, *more):
        calls.append(0)
        if len(calls) > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, array, *more)

    monkeypatch.setattr("numpy.lib.format.write_array", full)
    with pytest.raises(ValueError, match="The disk is full"):
        fit(training.Stage(tmp_path))
    monkeypatch.undo()
    assert not list(tmp_path.glob("partial-*"))
    assert training.Stage(tmp_path).checkpoints()
    _, table = fit(training.Stage(tmp_path))
    assert table.attrs["finished"]


@pytest.mark.parametrize("begun_in", ["mixed_float16", "mixed_bfloat16"])
def test_a_resumed_run_keeps_its_precision(begun_in, tmp_path, capsys):
    def begin(policy, *more, **options):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            return fit(*more, **options)
        finally:
            keras.config.set_dtype_policy(before)

    whole, expected = begin(begun_in, training.Stage(tmp_path / "whole"))
    with pytest.raises(Killed):
        begin(begun_in, training.Stage(tmp_path / "cut"),
              evaluate=killed_at(3))  # fmt: skip
    capsys.readouterr()
    model, table = fit(training.Stage(tmp_path / "cut"))
    assert f"in {begun_in}" in capsys.readouterr().out
    assert models.precision(model) == "float32"
    same_history(table, expected)
    for one, two in zip(whole.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, two)
    config = json.loads((tmp_path / "cut" / "config.json").read_text())
    assert config["precision"] == begun_in


def test_averaged_weights_are_the_mean_that_was_asked_for(tmp_path):
    share, seen = 0.75, []

    def remember(model):
        seen.append([np.array(w) for w in model.get_weights()])
        return 0.0

    plain, _ = fit(training.Stage(tmp_path / "plain"), "GatedNetVLAD",
                   remember, keep="last")  # fmt: skip
    raw = seen[1:]
    seen = []
    model, _ = fit(training.Stage(tmp_path / "mean"), "GatedNetVLAD",
                   remember, keep="last", averaging=share)  # fmt: skip
    expected = raw[0]
    for later in raw[1:]:
        expected = [
            share * old + (1 - share) * new
            for old, new in zip(expected, later, strict=True)
        ]
    for weight, value in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-4, atol=1e-6)
    moved = [
        weight
        for variable, weight in zip(
            model.weights, model.get_weights(), strict=True
        )
        if "moving_variance" in variable.path
    ]
    assert moved and all((value > 0).all() for value in moved)


def test_the_learning_rate_rises_and_then_follows_the_stairs():
    plain = training.learning_rate_schedule(1e-3, 1000)
    rising = training.learning_rate_schedule(1e-3, 1000, warmup_steps=10)
    assert float(rising(0)) == pytest.approx(1e-4)
    assert float(rising(4)) == pytest.approx(5e-4)
    for step in (9, 1999, 2000, 4000):
        assert float(rising(step)) == pytest.approx(float(plain(step)))
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(rising)
    )
    assert float(again(4)) == float(rising(4))
    with pytest.raises(ValueError, match="warmup_steps=0"):
        training.LinearWarmUp(plain, 0)


@pytest.mark.parametrize("option", ["steps", "evaluate_every"])
def test_there_must_be_something_to_do(option, tmp_path):
    with pytest.raises(ValueError, match=f"{option}=0"):
        fit(training.Stage(tmp_path), **{option: 0})
    with pytest.raises(ValueError, match="averaging=1"):
        fit(training.Stage(tmp_path), averaging=1)


@pytest.mark.slow
def test_a_command_killed_by_a_signal_goes_on_to_the_same_bits(
    sample, tmp_path
):
    def command(output):
        return [
            *(sys.executable, "-m", "kit.stages", "--data-dir", sample),
            *("--output-dir", str(output), "--members", "BERTMean"),
            *("--steps", "24", "--evaluate-every", "4", "--batch-size", "16"),
        ]

    done = subprocess.run(
        command(tmp_path / "whole"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # In the first interval, in the middle, after the first stage, at the end.
    kills = ["step  4/24", "step 16/24", "finished in", "step  8/24"]
    for mark in kills:
        worker = subprocess.Popen(
            command(tmp_path / "cut"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for line in worker.stdout:
            if mark in line:
                break
        os.kill(worker.pid, signal.SIGKILL)
        assert worker.wait() == -signal.SIGKILL, f"no {mark!r} was printed"
        worker.stdout.close()
    done = subprocess.run(
        command(tmp_path / "cut"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "goes on" in done.stdout or "finished before" in done.stdout
    for inside in ("pretrain", "finetune"):
        for name in ("BERTMean", "Logistic"):
            one, two = (
                tmp_path / run / name / inside for run in ("whole", "cut")
            )
            same_history(
                pd.read_csv(one / "history.csv"),
                pd.read_csv(two / "history.csv"),
            )
            same_weights(one / "stage.weights.h5", two / "stage.weights.h5")
    assert not list(Path(tmp_path, "cut").rglob("checkpoint-*"))


def test_steps_are_whole_intervals_and_that_is_said(tmp_path, capsys):
    _, table = fit(training.Stage(tmp_path), steps=7, evaluate_every=3)
    printed = capsys.readouterr().out
    assert table["step"].tolist() == [3, 6]
    assert "6 steps (7, in whole intervals)" in printed
    assert "step 6/6" in printed


def test_batches_that_end_before_the_interval_are_refused(tmp_path):
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="1 batch"):
        fit(
            training.Stage(tmp_path),
            batches=lambda interval: batches(interval).take(1),
        )


def test_a_score_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must return a number"):
        fit(training.Stage(tmp_path), evaluate=lambda model: float("nan"))


def test_numbers_of_numpy_are_numbers(tmp_path):
    _, table = fit(
        training.Stage(tmp_path),
        steps=np.int64(4),
        evaluate_every=np.int32(2),
        learning_rate=np.float32(1e-3),
        averaging=np.float64(0.5),
    )
    assert table.attrs["finished"]
