import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import data, inference, presets
from kit.spec import FrameSpec
from kit.splits import Holdout

SMALL = FrameSpec(rgb=6, audio=2, max_frames=12)


@pytest.fixture(scope="module")
def model():
    return presets.build("GatedNetVLAD", class_ids=[2, 5, 11], scale="tiny")


def slow_window(video, start, shift, length):
    """One window, frame by frame, as section 5 describes it."""
    frames = np.zeros((length, video.shape[1]), np.uint8)
    real = np.zeros(length, bool)
    for place in range(length):
        at = start + shift + place
        if 0 <= at < len(video):
            frames[place], real[place] = video[at], True
    if not real.any():
        return slow_window(video, start, 0, length)
    return frames, real


@pytest.mark.parametrize(
    ("first", "last", "shifts"),
    [(-1, 1, (-1, 0, 1)), (0, 2, (0, 1, 2)), (-2, 1, (-2, -1, 0, 1))],
)
def test_the_papers_ranges(first, last, shifts):
    assert inference.shift_range(first, last, 5) == shifts


@pytest.mark.parametrize(("first", "last"), [(1, -1), (0, 6), (-6, 0)])
def test_an_empty_or_too_long_range_is_refused(first, last):
    with pytest.raises(ValueError, match=f"first={first}, last={last}"):
        inference.shift_range(first, last, 5)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    shift=st.integers(-5, 5),
    seed=st.integers(0, 99),
)
def test_windows_equal_slices_cut_one_by_one(lengths, shift, seed):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (len(lengths), 12, 8), dtype=np.uint8)
    mask = np.arange(12) < np.array(lengths)[:, None]
    counts = -(-np.array(lengths) // 5)
    rows = np.repeat(np.arange(len(lengths)), counts)
    starts = 5 * np.concatenate([np.arange(count) for count in counts])
    position, real = inference.window_frames(rows, starts, shift, mask, 5)
    cut = frames.reshape(-1, 8)[position] * real[..., None]
    for n, (row, start) in enumerate(zip(rows, starts, strict=True)):
        video = frames[row, : lengths[row]]
        expected, expected_real = slow_window(video, start, shift, 5)
        np.testing.assert_array_equal(real[n], expected_real)
        np.testing.assert_array_equal(cut[n], expected)


def slow_ranking(model, videos, shifts):
    """Every window sliced, predicted alone and sorted in Python."""
    scores = {}
    for video_id, video in videos.items():
        for start in range(0, len(video), 5):
            each = []
            for shift in shifts:
                frames, real = slow_window(video, start, shift, 5)
                each.append(
                    model.predict_on_batch(
                        {"frames": frames[None], "mask": real[None]}
                    )[0]
                )
            scores[video_id, start] = np.mean(each, axis=0)
    return scores


def test_rankings_equal_a_slow_oracle(model, sample):
    shards = data.list_shards(sample, "test")[:1]
    part = dict(holdout=Holdout(0.12), part="holdout")
    videos = {}
    for inputs, _, ids in data.videos(
        shards, num_classes=None, with_ids=True, **part
    ).as_numpy_iterator():
        for frames, mask, video_id in zip(
            inputs["frames"], inputs["mask"], ids, strict=True
        ):
            videos[video_id] = frames[mask]
    assert 1 <= len(videos) <= 8
    ranked = inference.rank_segments(
        model, shards, shifts=(-1, 2), batch_size=3, **part
    )
    for name, shifts in (("tta", (-1, 0, 1, 2)), ("plain", (0,))):
        slow = slow_ranking(model, videos, shifts)
        ranking = ranked[name]
        assert len(ranking.starts) == len(slow)
        for column, class_id in enumerate([2, 5, 11]):
            listed = ranking.indices(class_id)
            keys = list(
                zip(
                    ranking.video_ids[listed].tolist(),
                    ranking.starts[listed].tolist(),
                    strict=True,
                )
            )
            assert set(keys) == set(slow)
            values = np.array([slow[key][column] for key in keys])
            # Sums in another order may differ in the last place.
            assert (np.diff(values) < 1e-6).all()


def test_a_ranking_does_not_depend_on_batches(model, sample):
    shards = data.list_shards(sample, "test")[:1]
    one, two = (
        inference.rank_segments(model, shards, shifts=(-1, 1), batch_size=size)
        for size in (2, 7)
    )
    for name in one:
        for field in ("video_ids", "starts", "offsets", "order"):
            np.testing.assert_array_equal(
                getattr(one[name], field), getattr(two[name], field)
            )


def test_the_unshifted_ranking_comes_from_a_range_without_zero(model, sample):
    shards = data.list_shards(sample, "test")[:1]
    part = dict(holdout=Holdout(0.1), part="holdout")
    shifted = inference.rank_segments(model, shards, shifts=(1, 2), **part)
    plain = inference.rank_segments(model, shards, **part)
    np.testing.assert_array_equal(shifted["plain"].order, plain["tta"].order)
    assert (shifted["tta"].order != plain["tta"].order).any()


def test_localize_names_the_classes_and_ends_with_the_video(model):
    frames = np.random.default_rng(0).integers(0, 256, (13, 1152), np.uint8)
    table = inference.localize(model, frames, (-1, 1), {5: "five"})
    assert list(table.columns) == ["start", "end", "class_id", "name", "score"]
    assert table["start"].tolist() == [0] * 3 + [5] * 3 + [10] * 3
    assert table["end"].tolist() == [5] * 3 + [10] * 3 + [13] * 3
    assert table["name"].tolist() == ["2", "five", "11"] * 3
    assert table["score"].between(0, 1).all()


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((8, 1152), np.float32),
        np.zeros((8, 1024), np.uint8),
    ],
)
def test_frames_that_are_not_the_models_are_refused(model, frames):
    with pytest.raises(ValueError, match="uint8 frames of 1152"):
        inference.localize(model, frames)


def test_a_video_is_found_and_a_missing_one_named(sample):
    shards = data.list_shards(sample, "train")
    videos = data.videos(shards, num_classes=None, with_ids=True, batch_size=1)
    inputs, _, ids = next(videos.skip(3).as_numpy_iterator())
    found = inference.find_video(shards, ids[0].decode())
    np.testing.assert_array_equal(found, inputs["frames"][0][inputs["mask"][0]])
    with pytest.raises(ValueError, match="video_id='none'"):
        inference.find_video(shards, "none")
