import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import data, ensemble, inference, presets, submission
from kit.inference import scoring, state
from kit.ranking import Ranking
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


@pytest.mark.parametrize(
    ("first", "last"), [(1, -1), (0, 6), (-6, 0), (-0.5, 0.5)]
)
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
        np.zeros((2, 8, 1152), np.uint8),
        np.zeros(1152, np.uint8),
        np.zeros((0, 1152), np.uint8),
    ],
)
def test_frames_that_are_not_the_models_are_refused(model, frames):
    for look in (inference.localize, lambda *a: inference.shifted(*a, 5)):
        with pytest.raises(ValueError, match="uint8 frames of 1152"):
            look(model, frames)


def test_a_video_is_found_and_a_missing_one_named(sample):
    shards = data.list_shards(sample, "train")
    videos = data.videos(shards, num_classes=None, with_ids=True, batch_size=1)
    inputs, _, ids = next(videos.skip(3).as_numpy_iterator())
    found = inference.find_video(shards, ids[0].decode())
    np.testing.assert_array_equal(found, inputs["frames"][0][inputs["mask"][0]])
    with pytest.raises(ValueError, match="video_id='none'"):
        inference.find_video(shards, "none")


@pytest.fixture(scope="module")
def few(sample):
    """Shards of some 12 videos each, as real test shards are."""
    return data.list_shards(sample, "test")


def same(one, two, scores=True):
    fields = ("class_ids", "video_ids", "starts", "offsets", "order")
    for field in (*fields, "scores") if scores else fields:
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field))


def scores_of(model, shards, **options):
    """Score by class, video and start, as rank_segments lists it."""
    found = {}
    for name, ranking in inference.rank_segments(
        model, shards, **options
    ).items():
        for class_id in ranking.class_ids:
            span = ranking.span(class_id)
            listed = ranking.order[span]
            found[name, int(class_id)] = {
                (video, start): score
                for video, start, score in zip(
                    ranking.video_ids[listed].tolist(),
                    ranking.starts[listed].tolist(),
                    ranking.scores[span].tolist(),
                    strict=True,
                )
            }
    return found


def shifted(model, shards, shift):
    """Scores of one shift alone, told apart from those of no shift."""
    return {
        key: values
        for (name, key), values in scores_of(
            model, shards, shifts=(shift, shift)
        ).items()
        if name == "tta"
    }


def test_the_means_over_shifts_are_what_they_say(model, few):
    one, two = shifted(model, few, 0), shifted(model, few, 1)
    for averaging, mean in (
        ("mean", lambda a, b: (a + b) / 2),
        ("geometric", lambda a, b: (a * b) ** 0.5),
    ):
        both = scores_of(model, few, shifts=(0, 1), averaging=averaging)
        for class_id in (2, 5, 11):
            for key, score in both["tta", class_id].items():
                expected = mean(one[class_id][key], two[class_id][key])
                assert score == pytest.approx(expected, rel=1e-4)


def test_averaging_by_rank_is_rank_fusion_of_the_shifts(model, few):
    ranked = inference.rank_segments(
        model, few, shifts=(-1, 0), averaging="rank"
    )
    alone = [
        inference.rank_segments(model, few, shifts=(shift, shift))["tta"]
        for shift in (-1, 0)
    ]
    same(ranked["tta"], ensemble.fuse(alone, [1, 1]))
    same(ranked["plain"], alone[1])


def test_the_edges_of_a_video_are_left_out(model, few):
    everything = scores_of(model, few)["tta", 2]
    ends = {}
    for video, start in everything:
        ends[video] = max(ends.get(video, 0), start)
    expected = {
        key for key in everything if 10 <= key[1] <= ends[key[0]] - 5 * 3
    }
    kept = scores_of(model, few, leave_out=(2, 3))["tta", 2]
    assert set(kept) == expected and len(expected) < len(everything)
    for key, score in kept.items():
        assert score == everything[key]


def test_the_video_level_multiplies(model, few):
    everything = scores_of(model, few)["tta", 5]
    total = {}
    for (video, _), score in everything.items():
        total.setdefault(video, []).append(score)
    weighed = scores_of(
        model, few, video_level=inference.mean_over_snippets(model)
    )["tta", 5]
    assert set(weighed) == set(everything)
    for (video, start), score in weighed.items():
        expected = everything[video, start] * np.mean(total[video])
        assert score == pytest.approx(expected, rel=1e-4)


def test_a_model_sees_the_whole_video_at_once(model):
    frames = np.random.default_rng(1).integers(0, 256, (2, 40, 1152), np.uint8)
    mask = np.arange(40) < np.array([[40], [23]])
    both = inference.over_whole_video(model)(frames, mask)
    alone = model.predict_on_batch(
        {"frames": frames[1:, :23], "mask": mask[1:, :23]}
    )
    np.testing.assert_allclose(both[1], alone[0], rtol=1e-4)


def test_only_the_videos_best_classes_are_candidates(model, few):
    def video_level(frames, mask):
        # The length decides, so that videos differ.
        odd = mask.sum(axis=1) % 2 == 1
        return np.where(odd[:, None], [0.9, 0.5, 0.5], [0.1, 0.2, 0.7])

    lengths = {}
    for inputs, _, ids in data.videos(
        few, num_classes=None, with_ids=True
    ).as_numpy_iterator():
        lengths |= zip(ids, inputs["mask"].sum(axis=1), strict=True)
    # Odd lengths: the first and, of the equal two, the one that comes first.
    odd = {video for video, length in lengths.items() if length % 2}
    candidates = {2: odd, 5: set(lengths), 11: set(lengths) - odd}
    plain = scores_of(model, few)
    for multiply in (False, True):
        found = scores_of(
            model,
            few,
            video_level=video_level,
            top_classes=2,
            multiply=multiply,
        )
        for column, (class_id, videos) in enumerate(candidates.items()):
            listed = [video for video, _ in found["tta", class_id]]
            # The others come last, and none is missing.
            count = sum(video in videos for video in listed)
            assert set(listed[:count]) == videos
            assert set(listed) == set(lengths)
            for (video, start), score in plain["tta", class_id].items():
                weight = [0.9, 0.5, 0.5] if video in odd else [0.1, 0.2, 0.7]
                expected = score * (weight[column] if multiply else 1)
                if video not in videos:
                    expected *= scoring.LAST
                given = found["tta", class_id][video, start]
                assert given == pytest.approx(expected, rel=1e-5)


def test_a_class_without_a_candidate_still_has_a_valid_list(
    model, few, tmp_path
):
    def video_level(frames, mask):
        return np.tile([0.1, 0.9, 0.0], (len(mask), 1))

    ranking = inference.rank_segments(
        model, few, video_level=video_level, multiply=False, top_classes=1
    )["tta"]
    path = tmp_path / "a.csv"
    submission.write_csv(ranking, path, class_ids=[2, 5, 11])
    same(ranking, inference.rank_segments(model, few)["tta"], scores=False)
    assert path.exists()


def with_classes(class_ids):
    return presets.build("GatedNetVLAD", class_ids=class_ids, scale="tiny")


@pytest.mark.parametrize(
    ("video_level", "message"),
    [
        (
            lambda: inference.mean_over_snippets(with_classes([11, 5, 2])),
            r"classes of the model.*\[11, 5, 2\]",
        ),
        (
            lambda: inference.over_whole_video(with_classes([2, 5, 11, 13])),
            "4 classes",
        ),
        (lambda: lambda _, mask: np.full((len(mask), 4), 0.5), "3.*, 4"),
        (lambda: lambda _, mask: np.full((len(mask), 1), 0.5), "3.*, 1"),
        (lambda: lambda _, mask: np.full((len(mask), 3), -0.1), "from -0.1"),
        (lambda: lambda _, mask: np.full((len(mask), 3), 1.1), "to 1.1"),
        (lambda: lambda _, mask: np.full((len(mask), 3), np.nan), "nan"),
    ],
)
def test_a_video_level_that_does_not_fit_is_refused(
    model, few, video_level, message
):
    with pytest.raises(ValueError, match=message):
        inference.rank_segments(model, few, video_level=video_level())


class Killed(Exception):
    pass


@pytest.fixture
def saved_often(monkeypatch):
    monkeypatch.setattr(state, "SAVE_SECONDS", 0)


@pytest.fixture
def predicted(monkeypatch):
    """Notes how many videos each batch had that was given to the model."""
    videos, of_videos = [], inference.Scoring.of_videos

    def noted(self, model, frames, mask):
        videos.append(len(mask))
        return of_videos(self, model, frames, mask)

    monkeypatch.setattr(inference.Scoring, "of_videos", noted)
    return videos


def stop_after(batches):
    seen = []

    def progress(*now):
        seen.append(now)
        if len(seen) == batches:
            raise Killed

    return progress


def test_a_killed_run_goes_on_to_the_same_ranking(
    model, few, tmp_path, saved_often, predicted
):
    shards = split_shards(few, tmp_path)
    options = dict(shifts=(-1, 1), k=40, batch_size=4)
    whole = inference.rank_segments(model, shards, **options)
    batches = predicted[:]
    assert len(batches) > 5
    predicted.clear()
    options |= dict(folder=tmp_path / "state")
    for taken in (3, 2):
        with pytest.raises(Killed):
            inference.rank_segments(
                model, shards, progress=stop_after(taken), **options
            )
    counts = []
    again = inference.rank_segments(
        model, shards, progress=lambda *now: counts.append(now), **options
    )
    # No batch is given to the model twice, and none is left out.
    assert predicted == batches
    assert [now[2] for now in counts][-1] == len(whole["tta"].starts)
    assert counts[0][2] > counts[-1][2] / len(batches) * 4
    assert {now[1] for now in counts} == {5} and counts[-1][0] == 5
    for name in whole:
        same(again[name], whole[name])
    assert not list((tmp_path / "state").iterdir())


def test_a_kill_while_a_ranking_is_saved_loses_nothing(
    model, few, tmp_path, saved_often, predicted, monkeypatch
):
    save = Ranking.save

    def killed(ranking, path):
        if path.name == "test.npz":
            raise Killed
        save(ranking, path)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Ranking, "save", killed)
        inference.rank_part(model, few, "1/1", tmp_path)
    predicted.clear()
    inference.rank_part(model, few, "1/1", tmp_path)
    assert predicted == []
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"test.npz", "test-plain.npz", "test.json"}


def test_a_ranking_cut_off_does_not_block_one_with_other_options(
    model, few, tmp_path, saved_often
):
    shards = split_shards(few, tmp_path)
    options = dict(folder=tmp_path / "member", batch_size=4)

    def scoring(last):
        return {"shifts": (-1, last)}

    for share in ("1/1", "1/2"):
        with pytest.raises(Killed):
            inference.rank_part(
                model,
                shards,
                share,
                scoring=scoring(1),
                progress=stop_after(3),
                **options,
            )
    found = inference.rank_part(
        model, shards, "1/1", scoring=scoring(2), **options
    )
    whole = inference.rank_segments(model, shards, **scoring(2))
    same(found["tta"], whole["tta"])
    assert not list((tmp_path / "member").glob("*state*"))


def test_what_is_ranked_already_is_not_ranked_again(
    model, few, tmp_path, predicted
):
    scratch = tmp_path / "scratch"

    def rank(model=model, shards=few, scoring=None, **options):
        predicted.clear()
        options = dict(split="holdout", scratch=scratch) | options
        return inference.rank_part(
            model, shards, "1/1", tmp_path, scoring=scoring, **options
        )

    once = rank()
    assert predicted and (scratch / "holdout-plain.npz").exists()
    # Elsewhere, as on another day; on disk, not in memory.
    moved = tmp_path / "mount"
    moved.mkdir()
    copies = [shutil.copy(shard, moved) for shard in few]
    again = rank(shards=copies)
    assert not predicted
    for name in once:
        same(again[name], once[name])
        assert isinstance(again[name].order, np.memmap)
        assert isinstance(again[name].scores, np.memmap)
    other = presets.build(
        "GatedNetVLAD", class_ids=[2, 5, 11], scale="tiny", seed=7
    )
    (tmp_path / "new").mkdir()
    fewer = split_shards(few[:1], tmp_path / "new")[:1]
    replaced = [shutil.copy(fewer[0], moved / Path(few[0]).name), *copies[1:]]
    for changed in (
        dict(model=other),
        dict(shards=few[:1]),
        dict(shards=replaced),
        dict(scoring=dict(shifts=(0, 1))),
        dict(k=9),
        dict(holdout=Holdout(0.5), part="holdout"),
    ):
        rank(**changed)
        assert predicted, changed
        rank(**changed)
        assert not predicted, changed


@pytest.mark.parametrize("damage", ["state.json", "tta"])
def test_a_damaged_state_says_what_to_do(
    model, few, tmp_path, saved_often, damage
):
    call = dict(model=model, shards=few, folder=tmp_path, batch_size=4)
    with pytest.raises(Killed):
        inference.rank_segments(**call, progress=stop_after(2))
    (path,) = tmp_path.glob(damage + "*")
    for content in (b"{", None):
        path.write_bytes(content) if content else path.unlink()
        if path.name == "state.json" and not content:
            continue  # then there is no state
        with pytest.raises(ValueError, match="remove the folder to start"):
            inference.rank_segments(**call)


def test_numbers_of_numpy_do_as_options(model, few, tmp_path, saved_often):
    one, two = np.int64(-1), np.int64(1)
    found = inference.rank_segments(
        model,
        few,
        shifts=(one, two),
        k=np.int64(9),
        leave_out=(two, two),
        folder=tmp_path,
    )
    plain = inference.rank_segments(
        model, few, shifts=(-1, 1), k=9, leave_out=(1, 1)
    )
    same(found["tta"], plain["tta"])


def split_shards(shards, folder, count=5):
    """The records of some shards in so many small ones."""
    import tensorflow as tf

    records = list(tf.data.TFRecordDataset(shards).as_numpy_iterator())
    paths = []
    for number in range(count):
        paths.append(str(folder / f"test{number:02}.tfrecord"))
        with tf.io.TFRecordWriter(paths[-1]) as writer:
            for record in records[number::count]:
                writer.write(record)
    return paths


def test_the_state_of_another_run_is_refused(model, few, tmp_path, saved_often):
    shards = split_shards(few, tmp_path)
    other = presets.build(
        "GatedNetVLAD", class_ids=[2, 5, 11], scale="tiny", seed=7
    )
    call = dict(model=model, shards=shards, batch_size=4)
    call |= dict(video_level=inference.mean_over_snippets(model))
    call |= dict(folder=tmp_path / "state")
    with pytest.raises(Killed):
        inference.rank_segments(**call, progress=stop_after(2))
    for changed in (
        dict(model=other),
        dict(shards=shards[1:]),
        dict(k=9),
        dict(batch_size=3),
        dict(video_level=inference.mean_over_snippets(other)),
        dict(video_level=inference.over_whole_video(model)),
        dict(top_classes=2, multiply=False),
    ):
        with pytest.raises(ValueError, match="another folder"):
            inference.rank_segments(**call | changed)


def test_parts_merge_into_the_ranking_of_a_single_run(model, few, tmp_path):
    shards = split_shards(few, tmp_path)
    options = dict(shifts=(0, 1), k=30)
    whole = inference.rank_segments(model, shards, **options)
    parts = [
        inference.rank_segments(model, shards[i::2], **options)
        for i in range(2)
    ]
    for name in whole:
        merged = Ranking.merge((part[name] for part in parts), k=30)
        same(merged, whole[name])


@pytest.mark.parametrize("averaging", ["mean", "rank"])
def test_parts_made_apart_are_put_together(
    model, few, tmp_path, averaging, capsys, predicted
):
    shards = split_shards(few, tmp_path)
    scoring = dict(shifts=(0, 1), averaging=averaging)
    whole = inference.rank_segments(model, shards, k=30, **scoring)

    def rank_part(part, shards=shards, **changed):
        return inference.rank_part(
            model, shards, part, tmp_path, k=30, scoring=scoring | changed
        )

    for part in ("2/3", "1/3"):
        with pytest.raises(SystemExit) as stop:
            inference.stop_unless_merged([rank_part(part)])
        assert stop.value.code == 0
    assert "Run the other parts" in capsys.readouterr().out
    # A part made with other options is no part of this run.
    assert rank_part("3/3", shifts=(0, 2)) == {}
    merged = rank_part("3/3")
    inference.stop_unless_merged([merged])
    for name in whole:
        same(merged[name], whole[name])
    for part in ("1/3", "3/3"):  # what is there is not made again
        predicted.clear()
        same(rank_part(part)["tta"], whole["tta"])
        assert not predicted


def test_parts_of_other_shards_are_no_parts(model, few, tmp_path):
    shards = split_shards(few, tmp_path)
    # A machine that has yet to download two shards, and the data of last week.
    assert inference.rank_part(model, shards[:3], "1/2", tmp_path) == {}
    assert inference.rank_part(model, shards, "2/2", tmp_path) == {}
    found = inference.rank_part(model, shards, "1/2", tmp_path)
    same(found["tta"], inference.rank_segments(model, shards)["tta"])
    # More parts than shards.
    for part in range(1, 9):
        found = inference.rank_part(model, shards[:5], f"{part}/8", tmp_path)
    same(found["tta"], inference.rank_segments(model, shards)["tta"])


@pytest.mark.parametrize("part", ["", "0/3", "4/3", "1-3", "1/0", "a/b"])
def test_a_part_must_be_one_of_so_many(model, part, tmp_path):
    with pytest.raises(ValueError, match="such as '2/4'"):
        inference.rank_part(model, ["x"], part, tmp_path)


@pytest.mark.parametrize("at", [1, 40])
def test_a_video_in_two_shards_is_named_or_left_out(
    model, sample, tmp_path, at
):
    import tensorflow as tf

    shards = data.list_shards(sample, "train")  # more videos than in test
    shards = split_shards(shards, tmp_path, count=40)
    whole = inference.rank_segments(model, shards)["tta"]
    twice = str(tmp_path / "twice.tfrecord")
    Path(twice).write_bytes(Path(shards[0]).read_bytes())
    shards.insert(at, twice)
    message = "occur once.*twice.tfrecord', record=0"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        inference.rank_segments(model, shards)
    report = data.Report()
    for on_error in (report, "skip"):
        with pytest.warns(UserWarning, match="twice.tfrecord: kept 0"):
            found = inference.rank_segments(model, shards, on_error=on_error)
        same(found["tta"], whole)
    assert report.table()["kept"].sum() == len(np.unique(whole.video_ids))


@pytest.mark.filterwarnings("default:Bad input")  # of the run that is killed
def test_a_run_that_goes_on_reports_all_that_was_left_out(
    model, few, tmp_path, saved_often
):
    shards = split_shards(few, tmp_path)
    twice = str(tmp_path / "test9.tfrecord")
    Path(twice).write_bytes(Path(shards[0]).read_bytes())
    call = dict(shards=[shards[0], twice, *shards[1:]], batch_size=4)
    call |= dict(model=model, folder=tmp_path / "state", on_error="skip")
    with pytest.raises(Killed):
        inference.rank_segments(**call, progress=stop_after(8))
    with pytest.warns(UserWarning, match="test9.tfrecord: kept 0"):
        found = inference.rank_segments(**call)
    same(found["tta"], inference.rank_segments(model, shards)["tta"])


def test_one_path_is_a_list_of_one(model, few):
    one = inference.rank_segments(model, few[:1])["tta"]
    for path in (few[0], Path(few[0])):
        same(inference.rank_segments(model, path)["tta"], one)


def test_a_shard_is_done_when_it_was_read_to_its_end(model, few):
    told = []
    inference.rank_segments(
        model, few, batch_size=2, progress=lambda *call: told.append(call)
    )
    done = [call[0] for call in told]
    assert done == sorted(done) and done.count(len(few)) == 1
    assert told[-1][:2] == (len(few), len(few))
    assert told[-1][2] == told[-2][2] > 0


def test_progress_tells_shards_and_time_left(capsys):
    progress = inference.print_progress("one: ", seconds=0)
    for done in (0, 32, 64):
        progress(done, 64, 100 * done)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("one: shard 32/64: 3,200 segments")
    assert lines[1].endswith("0.0 min left")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(shifts=(1, 0)), "first=1, last=0"),
        (dict(averaging="median"), "averaging='median'"),
        (dict(leave_out=(-1, 2)), "leave_out"),
        (dict(leave_out=()), "leave_out"),
        (dict(top_classes=3), "top_classes=3"),
        (dict(top_classes=1.5, video_level=np.ones), "top_classes=1.5"),
        (dict(multiply=False, video_level=np.ones), "multiply=False"),
        (dict(k=0), "k=0"),
        (dict(shards=[]), r"shards=\[\]"),
    ],
)
def test_bad_options_are_refused_before_anything_is_read(
    model, options, message
):
    with pytest.raises(ValueError, match=message):
        inference.rank_segments(
            model, **dict(shards=["missing.tfrecord"]) | options
        )


def test_a_video_shorter_than_a_segment_is_one_segment(model):
    frames = np.random.default_rng(2).integers(0, 256, (3, 1152), np.uint8)
    table = inference.localize(model, frames, (-1, 1))
    assert table["start"].unique().tolist() == [0]
    assert table["end"].unique().tolist() == [3]
