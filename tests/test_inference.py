import contextlib
import dataclasses
import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import inference, presets
from kit.ranking import Ranking, TopK
from kit.spec import FrameSpec
from tests.refusals import refused

SPEC = FrameSpec(rgb=6, audio=2, max_frames=40)
CLASS_IDS = [2, 5, 11]


def build(seed=0, name="GatedNetVLAD"):
    options = {"spec": SPEC, "scale": "tiny", "seed": seed}
    return presets.build(name, class_ids=CLASS_IDS, **options)


@pytest.fixture(scope="module")
def model():
    return build()


def batch(lengths, seed=0, width=None):
    """Videos of these lengths, padded to the longest or to `width`."""
    rng = np.random.default_rng(seed)
    shape = (len(lengths), width or max(lengths))
    mask = np.arange(shape[1]) < np.array(lengths)[:, None]
    frames = rng.integers(0, 256, (*shape, SPEC.dim), np.uint8)
    return {"frames": frames, "mask": mask}


# Windows


def slow_window(video, start, shift, context):
    """One window, frame by frame, as section 5 describes it."""
    length = 5 + 2 * context
    frames = np.zeros((length, video.shape[1]), np.uint8)
    real = np.zeros(length, bool)
    for place in range(length):
        frame = start + shift + place - context
        if 0 <= frame < len(video):
            frames[place], real[place] = video[frame], True
    seen = real[context : context + 5].any()
    return (frames, real) if seen else slow_window(video, start, 0, context)


@settings(max_examples=80, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    shifts=st.lists(st.integers(-5, 5), min_size=1, max_size=4),
    edges=st.tuples(st.integers(0, 7), st.integers(0, 3)),
    context=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_windows_equal_slices_cut_one_by_one(
    lengths, shifts, edges, context, seed
):
    inputs = batch(lengths, seed, width=40)
    cut = inference.shifted_windows(inputs, SPEC, shifts, edges, context)
    windows, rows, starts = cut
    expected = [
        (row, start)
        for row, length in enumerate(lengths)
        for number, start in enumerate(range(0, length, 5))
        if edges[0] <= number < -(-length // 5) - edges[1]
    ]
    assert list(zip(rows, starts, strict=True)) == expected
    shape = len(shifts), len(rows), 5 + 2 * context, SPEC.dim
    assert windows["frames"].shape == shape
    assert windows["frames"].dtype == np.uint8
    for s, shift in enumerate(shifts):
        for n, (row, start) in enumerate(expected):
            video = inputs["frames"][row, : lengths[row]]
            frames, real = slow_window(video, start, shift, context)
            np.testing.assert_array_equal(windows["frames"][s, n], frames)
            np.testing.assert_array_equal(windows["mask"][s, n], real)


def test_every_array_of_the_inputs_is_cut_whatever_its_key_and_shape():
    numbers = np.arange(1, 13)[None]
    inputs = batch([12]) | {"number": numbers, "mask": [[1] * 12]}
    windows, _, starts = inference.shifted_windows(inputs, SPEC, (-1, 4))
    assert starts.tolist() == [0, 5, 10]
    assert windows["mask"].dtype == bool  # of a mask of integers
    assert windows["number"].tolist() == [
        [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 0, 0]],
        # The last window would be empty, and is not moved.
        [[5, 6, 7, 8, 9], [10, 11, 12, 0, 0], [11, 12, 0, 0, 0]],
    ]


def test_a_segment_in_a_gap_of_the_mask_is_no_segment():
    inputs = batch([20])
    inputs["mask"][0, 5:10] = False
    _, rows, starts = inference.shifted_windows(inputs, SPEC)
    assert rows.tolist() == [0, 0, 0] and starts.tolist() == [0, 10, 15]


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ({}, {"shifts": (0, 6)}, r"no longer than a segment.*\(0, 6\)"),
        ({}, {"shifts": (0.5,)}, "whole frames"),
        ({}, {"shifts": ()}, "shifts"),
        ({}, {"edges": (-1, 2)}, "edges=.-1, 2"),
        ({}, {"edges": (1,)}, "edges"),
        ({"mask": np.ones((1, 7), bool)}, {}, "shapes=.*7"),
        ({"mask": np.ones(8, bool)}, {}, "shapes=.*8"),
    ],
)
def test_what_cannot_be_cut_is_refused(inputs, options, message):
    with pytest.raises(ValueError, match=message):
        inference.shifted_windows(batch([8]) | inputs, SPEC, **options)


# Predictions


@pytest.mark.parametrize("block", [4, 7, 256])
def test_predictions_are_those_of_each_window_alone(model, block):
    inputs = batch([23, 9, 12], width=40)
    windows, rows, _ = inference.shifted_windows(inputs, SPEC, (-1, 0, 2))
    scores = inference.predict(model, windows, block)
    assert scores.shape == (3, len(rows), 3) and scores.dtype == np.float32
    for s, n in np.ndindex(3, len(rows)):
        window = {key: value[s, n][None] for key, value in windows.items()}
        alone = model.predict_on_batch(window)[0]
        np.testing.assert_allclose(scores[s, n], alone, atol=1e-6)


def test_nothing_to_predict_is_no_prediction(model):
    windows, *_ = inference.shifted_windows(batch([4]), SPEC, edges=(6, 2))
    assert inference.predict(model, windows).shape == (1, 0, 3)


def test_a_model_is_given_bytes_in_blocks_of_one_size(model, monkeypatch):
    batches = []

    def first_bytes(inputs):
        batches.append(inputs)
        return inputs["frames"][:, 0, :3].astype(np.float32)

    monkeypatch.setattr(model, "predict_on_batch", first_bytes)
    windows, *_ = inference.shifted_windows(batch([33, 21]), SPEC, (0, 1))
    scores = inference.predict(model, windows, block=5)
    np.testing.assert_array_equal(scores, windows["frames"][:, :, 0, :3])
    assert len(batches) == 5  # 2 x 12 windows
    expected = {"frames": ((5, 5, SPEC.dim), "uint8"), "mask": ((5, 5), "bool")}
    for inputs in batches:
        given = {k: (v.shape, v.dtype.name) for k, v in inputs.items()}
        assert given == expected


def test_a_model_is_traced_once_and_many_models_bring_no_warning(caplog):
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        for seed in range(5):
            model = build(seed)
            for lengths in ([33, 21], [8]):
                windows, *_ = inference.shifted_windows(batch(lengths), SPEC)
                inference.predict(model, windows)
            assert model.predict_function.experimental_get_tracing_count() == 1
    assert not caplog.records


def test_windows_without_context_and_wrong_weights_are_refused(model):
    refused("weight=2", inference.with_prior, np.ones((1, 1)), np.array([0]), 2)
    windows, *_ = inference.shifted_windows(batch([8]), SPEC, context=1)
    for each in (model, build(name="ContextGatedNetVLAD")):
        refused("of 7$", inference.predict, each, windows)


# One video


def test_localize_names_the_classes_and_ends_with_the_video(model):
    (frames,) = batch([13])["frames"]
    shifts = (-1, 0, 1)
    table = inference.localize(model, frames, shifts, {5: "five"})
    assert list(table.columns) == ["start", "end", "class_id", "name", "score"]
    assert table["start"].tolist() == [0] * 3 + [5] * 3 + [10] * 3
    assert table["end"].tolist() == [5] * 3 + [10] * 3 + [13] * 3
    assert table["class_id"].tolist() == CLASS_IDS * 3
    assert table["name"].tolist() == ["2", "five", "11"] * 3
    alone = [inference.localize(model, frames, (s,))["score"] for s in shifts]
    np.testing.assert_allclose(table["score"], np.mean(alone, axis=0), 1e-5)
    # A video shorter than a segment is one segment.
    table = inference.localize(model, frames[:3])
    assert table[["start", "end"]].to_numpy().tolist() == [[0, 3]] * 3


def test_localize_shows_a_model_the_frames_around_a_segment():
    model = build(name="ContextGatedNetVLAD")
    (frames,) = batch([12])["frames"]
    padded = np.pad(frames, ((2, 5), (0, 0)))
    real = np.pad(np.ones(12, bool), (2, 5))
    rows = np.arange(9) + [[0], [5], [10]]
    expected = model.predict({"frames": padded[rows], "mask": real[rows]})
    scores = inference.localize(model, frames)["score"]
    np.testing.assert_allclose(scores, expected.ravel(), 1e-5)


def test_frames_that_are_not_the_models_are_refused(model):
    wrong = [np.zeros(size, "u1") for size in [(8, 7), (2, 8, 8), (8,), (0, 8)]]
    for frames in [*wrong, np.zeros((8, 8), np.float32)]:
        refused("uint8 frames of 8", inference.localize, model, frames)


# Many shards

SHARDS = [f"/data/test{number}.tfrecord" for number in range(9)]
ABOUT = {"model": "a1", "shifts": (-1, 0, 1)}


class Killed(BaseException):
    """Not caught by anybody, like a kill."""


def scores_of(shard):
    """Some segments and their scores, the same each time."""
    number = SHARDS.index(shard)
    rng = np.random.default_rng(number)
    scores = rng.random((7, 3), np.float32).round(1)  # ties
    return scores, [f"v{number}"] * 7, 5 * np.arange(7)


def collectors():
    return {name: TopK(CLASS_IDS, k=20) for name in ("plain", "tta")}


def rank(
    folder, shards=SHARDS, about=ABOUT, stop_at=None, save_every=0, tops=None
):
    """The loop of notebook 4; returns the shards it was given."""
    tops, read = tops or collectors(), []
    for some in inference.remaining(tops, shards, folder, about, save_every):
        (shard,) = some
        if len(read) == stop_at:
            raise Killed
        scores, video_ids, starts = scores_of(shard)
        tops["plain"].add(scores, video_ids, starts)
        tops["tta"].add(scores**2, video_ids, starts)
        read.append(shard)
    return read


def content(folder):
    """Every byte of the rankings that a loop left, and nothing else."""
    names = {path.name for path in folder.iterdir()}
    assert names - {"about.json"} == {"plain", "tta"}
    paths = folder.rglob("*.npy")
    return {path.relative_to(folder): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert rank(folder, save_every=300) == SHARDS
    return folder


def test_a_loop_leaves_the_ranking_of_all_segments(whole):
    parts = zip(*map(scores_of, SHARDS), strict=True)
    scores, video_ids, starts = map(np.concatenate, parts)
    for name, values in {"plain": scores, "tta": scores**2}.items():
        expected = Ranking.from_scores(values, CLASS_IDS, video_ids, starts, 20)
        ranking = Ranking.load(whole / name)
        for field in (f.name for f in dataclasses.fields(Ranking)):
            one, other = getattr(ranking, field), getattr(expected, field)
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("save_every", [0, 300])
def test_a_killed_loop_goes_on_to_the_same_bytes(whole, tmp_path, save_every):
    for stop_at in (3, 0, 2):
        with pytest.raises(Killed):
            rank(tmp_path, stop_at=stop_at, save_every=save_every)
    # What was written is not read again.
    left = SHARDS[5:] if save_every == 0 else SHARDS
    assert rank(tmp_path, save_every=save_every) == left
    assert content(tmp_path) == content(whole)
    assert rank(tmp_path) == []
    assert content(tmp_path) == content(whole)


@pytest.mark.parametrize("killed_at", range(0, 40, 3))
def test_a_killed_write_loses_nothing(whole, tmp_path, monkeypatch, killed_at):
    writes = []

    def dying(write):
        def count_and_write(*args, **options):
            writes.append(args)
            if len(writes) == killed_at + 1:
                raise Killed
            return write(*args, **options)

        return count_and_write

    with monkeypatch.context() as patched, pytest.raises(Killed):
        for owner, name in (
            (Ranking, "save"),
            (inference.resume.Path, "replace"),
            (inference.resume.shutil, "rmtree"),
        ):
            patched.setattr(owner, name, dying(getattr(owner, name)))
        rank(tmp_path)
    rank(tmp_path)
    assert content(tmp_path) == content(whole)


def test_a_full_disk_leaves_no_half_written_state(whole, tmp_path, monkeypatch):
    save = Ranking.save

    def full(ranking, folder):
        save(ranking, folder)
        if len(ranking.starts) > 20:
            raise OSError("No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="left"):
        patched.setattr(Ranking, "save", full)
        rank(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"partial"}
    assert rank(tmp_path) == SHARDS[2:]
    assert content(tmp_path) == content(whole)


def test_an_interrupted_cell_is_run_again_with_its_collectors(whole, tmp_path):
    tops = collectors()
    with pytest.raises(Killed):
        rank(tmp_path, stop_at=4, save_every=300, tops=tops)
    rank(tmp_path, save_every=300, tops=tops)
    assert content(tmp_path) == content(whole)


def test_machines_share_the_shards(whole, tmp_path):
    for part in range(2):
        assert rank(tmp_path / str(part), SHARDS[part::2]) == SHARDS[part::2]
    for name in ("plain", "tta"):
        parts = (Ranking.load(tmp_path / str(i) / name) for i in range(2))
        Ranking.merge(parts, k=20).save(tmp_path / "all" / name)
    assert content(tmp_path / "all") == content(whole)
    # More machines than shards, and a path alone.
    assert rank(tmp_path / "idle", []) == []
    assert not len(Ranking.load(tmp_path / "idle" / "tta").order)
    assert rank(tmp_path / "one", SHARDS[3]) == [SHARDS[3]]


@pytest.mark.parametrize("stop_at", [3, 9])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"about": ABOUT | {"shifts": (0,)}}, "shifts was .-1, 0, 1. and is "),
        ({"about": ABOUT | {"edges": (6, 2)}}, "edges was None and is .6, 2"),
        ({"about": {"model": "a1"}}, "shifts was .-1, 0, 1. and is None"),
        ({"shards": SHARDS[:4]}, "shards was "),
        ({"tops": {"plain": TopK([1]), "tta": TopK([1])}}, "lists was "),
    ],
)
def test_other_rankings_are_refused(tmp_path, stop_at, changed, message):
    with contextlib.suppress(Killed):  # of nine shards it is not
        rank(tmp_path, stop_at=stop_at)
    with pytest.raises(ValueError, match=message) as raised:
        rank(tmp_path, **changed)
    assert "model" not in str(raised.value).split("Received")[1]


def test_moved_shards_and_numbers_of_numpy_are_the_same(tmp_path):
    about = {"number": np.int64(3), "folder": tmp_path}
    with pytest.raises(Killed):
        rank(tmp_path, about=about, stop_at=4)
    moved = [shard.replace("/data", "gs://bucket") for shard in SHARDS]
    loop = inference.remaining(collectors(), moved, tmp_path, about)
    assert next(loop) == [moved[4]]


def test_thousands_of_shards_come_in_the_same_hundred_turns(tmp_path):
    shards = [f"test{i}" for i in range(3844)]
    top = {"x": TopK([3])}

    def turns():
        return inference.remaining(top, shards, tmp_path, ABOUT, save_every=0)

    killed = turns()
    given = [next(killed), next(killed)]
    next(killed)  # comes again
    given += turns()
    assert sum(given, []) == shards
    assert len(given) <= 100 and {len(some) for some in given[:-1]} == {39}


def test_rankings_that_are_not_of_all_shards_are_not_complete(whole, tmp_path):
    record = json.loads((whole / "about.json").read_text())
    (tmp_path / "about.json").write_text(json.dumps(record | {"done": 4}))
    assert rank(tmp_path) == SHARDS
    assert content(tmp_path) == content(whole)


def test_it_tells_how_far_it_is(tmp_path, capsys):
    with pytest.raises(Killed):
        rank(tmp_path, stop_at=8)
    assert "0/9" in capsys.readouterr().out
    rank(tmp_path)
    assert "9/9" in capsys.readouterr().out
    rank(tmp_path)
    assert capsys.readouterr().out == f"ranked before: {tmp_path}\n"


def test_the_fingerprint_tells_weights_apart(model):
    same, other = build(), build(seed=1)
    assert inference.fingerprint(model) == inference.fingerprint(same)
    assert inference.fingerprint(model) != inference.fingerprint(other)
