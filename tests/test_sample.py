import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from kit import data, sample
from kit.sample import card, features, scenes
from kit.sample.world import ORDERS, World
from kit.spec import FrameSpec
from tests.processes import python
from tests.refusals import refused

# Seeds from 1,000 up only: those below are for reporting results.
SEED = 1000
SMALL = FrameSpec(rgb=64, audio=24)
KEYS = ["video_id", "start", "label"]
COUNTS = {"train": 50, "validate": 40, "test": 30}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Many videos, of few features, and an oracle with less schooling."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "TAUGHT", range(50, 110))
        place = tmp_path_factory.mktemp("sample") / "small"
        yield sample.write_sample(place, SEED, 120, SMALL)
    features.reader.cache_clear()


@pytest.fixture(scope="module")
def world():
    return World({"seed": SEED, "spec": vars(SMALL)})


@pytest.fixture(scope="module")
def plans(world):
    return [world.plan(number, rated=True) for number in range(300)]


def frames_of(folder, name):
    return data.find_video(data.list_shards(folder, "test"), name, SMALL)


def bytes_of(folder):
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


# What is written


def test_files_of_a_sample(small):
    shards = {f"{split}/{split}00.tfrecord" for split in COUNTS}
    tables = "vocabulary segment_label_ids test_ratings test_truth".split()
    tables = {f"{name}.csv" for name in tables}
    assert set(bytes_of(small)) == shards | tables | {card.CARD}
    ids, lengths = [], []
    for split, count in zip(COUNTS, (50, 90, 120), strict=True):
        paths = data.list_shards(small, split)
        classes = 100 if split != "test" else None  # what has labels
        assert not len(data.check(paths, SMALL, classes))
        videos = data.videos(paths, SMALL, with_ids=True)
        for inputs, names in videos.as_numpy_iterator():
            ids.extend(names)
            lengths.extend(inputs["mask"].sum(axis=1))
        assert len(set(ids)) == len(ids) == count
    assert all(len(name) == 4 for name in ids)
    assert 40 <= min(lengths) and max(lengths) <= 104


def test_ratings_of_records(small):
    class_ids, _ = data.read_classes(small)
    shards = data.list_shards(small, "validate")
    ratings = data.ratings(shards, SMALL, class_ids)
    assert not ratings.duplicated(KEYS[:2]).any()
    assert ratings.groupby("video_id").size().between(3, 7).all()
    assert ratings["video_id"].nunique() == COUNTS["validate"]
    # Annotators leave out the first two segments and the last.
    assert (ratings["start"] % 5 == 0).all() and ratings["start"].min() == 10
    for name, start in ratings.groupby("video_id")["start"].max().items():
        assert start + 5 < len(data.find_video(shards, name, SMALL))


def test_names_say_what_one_sees_and_hears(small):
    class_ids, names = data.read_classes(small)
    assert len(names) == 60 and max(names) > 60, "the ids have gaps"
    assert "class" in " ".join(names.values()), "one has no name, as real ones"
    assert {names[label] for label in class_ids} >= {
        *("One", "Seven", "Bell", "Chord", "Three with bell"),
        *("Counting up", "Counting down"),
        *("Knock, then chirp", "Chirp, then knock"),
    }


def test_truth_covers_every_segment_and_agrees_with_ratings(small):
    truth = sample.load_answers(small, "truth")
    counts = truth.groupby(KEYS[:2])["label"].nunique()
    assert (counts == 20).all() and set(truth["score"]) == {0, 1}
    for name, starts in counts.reset_index().groupby("video_id")["start"]:
        assert list(starts) == list(range(0, len(frames_of(small, name)), 5))
    ratings = sample.load_answers(small, "ratings")
    both = ratings.merge(truth, on=KEYS)
    assert len(both) == len(ratings) > 100
    assert np.mean(both["score_x"] != both["score_y"]) < 0.08


def test_ids_that_look_like_numbers_stay_text(small, tmp_path):
    (tmp_path / card.CARD).write_text((small / card.CARD).read_text())
    (tmp_path / "test_ratings.csv").write_text("video_id,score\n1e05,1\n012,0")
    ids = sample.load_answers(tmp_path, "ratings")["video_id"]
    assert list(ids) == ["1e05", "012"]


# Seeds, and films shown again


def test_the_seed_makes_the_bytes_whatever_the_threads(small, tmp_path):
    code = (
        "import sys; from kit import sample, spec;"
        "spec = spec.FrameSpec(rgb=64, audio=24);"
        "sample.write_sample(sys.argv[1], 1000, 120, spec)"
    )
    other = {"OPENBLAS_NUM_THREADS": "2", "PYTHONHASHSEED": "7"}
    python("-c", code, tmp_path / "again", **other)
    assert bytes_of(tmp_path / "again") == bytes_of(small)
    one, two = (World({"seed": s, "spec": vars(SMALL)}) for s in (1000, 1001))
    assert one.plan(0, True).spans != two.plan(0, True).spans


def test_features_are_those_of_the_film_that_is_shown_again(small):
    for name in sample.load_answers(small, "truth")["video_id"].unique()[:2]:
        pictures, waveform, rate = sample.film(small, name)
        assert pictures.shape[1:] == (64, 64, 3)
        assert pictures.dtype == np.uint8 and waveform.dtype == np.float32
        assert waveform.shape == (len(pictures) * rate,)
        assert 0.05 < np.abs(waveform).max() <= 1
        film = pictures, waveform.reshape(len(pictures), rate)
        with threadpool_limits(1):
            again = features.features(film, SMALL)
        assert np.array_equal(again, frames_of(small, name))
    refused("Received: video_id='none'", sample.film, small, "none")


def test_features_are_whitened_bytes(world):
    films = [scenes.make(world, "train", number)[1] for number in range(12)]
    frames = [features.features(film, FrameSpec()) for film in films]
    frames = np.concatenate(frames)
    assert np.mean((frames == 0) | (frames == 255)) < 0.01
    values = frames * (4 / 255) + (4 / 512 - 2)
    assert abs(values.mean()) < 0.1 and 0.35 < values.std() < 0.7
    assert values.std(axis=0).min() > 0.05, "no feature stands still"


# Concepts and films


def test_statistics(world, plans):
    others = [world.plan(number, rated=False) for number in range(300)]
    for some in (plans, others):
        assert 2.7 < np.mean([len(plan.labels) for plan in some]) < 3.5
        assert 68 < np.mean([plan.length for plan in some]) < 76
    ratings = [rating for plan in plans for rating in plan.ratings]
    assert 4.7 < len(ratings) / len(plans) < 5.3
    assert 0.48 < np.mean([score for *_, score in ratings]) < 0.62
    counts = pd.Series([label for _, label, _ in ratings]).value_counts()
    assert len(counts) == 20 and counts.min() >= 20
    labels = np.concatenate([plan.labels for plan in others])
    counts = np.bincount(labels, minlength=100)[world.ids[world.rated]]
    assert counts.max() > 2.5 * counts.min() > 0, "some are rare"
    own = [c // 6 == plan.topic for plan in plans for c, *_ in plan.spans]
    assert 0.65 < np.mean(own) < 0.95, "the topic tells much, not all"


def test_concepts_fill_a_minority_in_spans_off_the_grid(world, plans):
    for plan in plans:
        parts = np.zeros((24, plan.length), bool)
        for concept, start, stop in plan.spans:
            assert 0 < start < stop <= plan.length and stop - start >= 5
            assert start % 5, "no span starts with a segment"
            parts[world.parts[concept], start:stop] = True
        for column, concept in enumerate(world.rated):
            filled = parts[world.parts[concept]].all(axis=0)
            assert filled.mean() <= 0.5
            segments = [filled[i : i + 5] for i in range(0, plan.length, 5)]
            truth = [segment.mean() >= 0.5 for segment in segments]
            assert plan.holds[:, column].tolist() == truth


def test_no_scan_is_in_two_splits():
    for digit in range(10):
        splits = [scenes.scans(split, digit) for split in COUNTS]
        splits = [{scan.tobytes() for scan in scans} for scans in splits]
        assert len(set.union(*splits)) == sum(map(len, splits))


# The oracle


def test_oracle_beats_the_floor(small):
    oracle, rows = sample.Oracle(small), []
    for name in sample.load_answers(small, "truth")["video_id"].unique():
        odds = oracle.score(frames_of(small, name))
        for (segment, column), score in np.ndenumerate(odds):
            rows.append((name, 5 * segment, oracle.class_ids[column], score))
    scores = pd.DataFrame(rows, columns=[*KEYS, "odds"])
    for kind, least in {"truth": 0.35, "ratings": 0.8}.items():
        both = sample.load_answers(small, kind).merge(scores, on=KEYS)
        assert both["score"].mean() + 0.2 < least
        assert average_precision_score(both["score"], both["odds"]) > least


def test_time_turned_round_turns_an_order_round(small, world):
    """What tells counting up from counting down is the order, nothing else."""
    oracle = sample.Oracle(small)
    names = [world.names[concept] for concept in world.rated]
    up, down = names.index("Counting up"), names.index("Counting down")
    right = {1: [], -1: []}
    for seed in range(10):
        frames, (steps, *_) = np.arange(30), ORDERS.values()
        events = [(s, frames[frames % 5 == i]) for i, s in enumerate(steps)]
        rng = np.random.default_rng(seed)
        film = scenes._film(rng, 0, 30, events, "test")
        for way in right:
            scores = oracle.score(features.features(film, SMALL)[::way])
            right[way] += list(scores[:, up] > scores[:, down])
    assert np.mean(right[1]) > 0.75 and np.mean(right[-1]) < 0.25


# Other sizes, and bad input


OTHERS = [
    FrameSpec(rgb=16, audio=8, max_frames=20),
    FrameSpec(rgb=24, audio=8, max_frames=10, segment_frames=1),
    FrameSpec(rgb=32, audio=16, segment_frames=10),
]


@pytest.mark.parametrize("spec", OTHERS)
def test_other_sizes(spec, tmp_path):
    folder = sample.write_sample(tmp_path / "s", SEED, 12, spec)
    assert not len(data.check(data.list_shards(folder, "validate"), spec))
    truth = sample.load_answers(folder, "truth")
    assert (truth["start"] % spec.segment_frames == 0).all()
    pictures, *_ = sample.film(folder, truth["video_id"][0])
    assert len(pictures) <= spec.max_frames


def test_bad_arguments(tmp_path):
    for message, arguments in (
        ("non-negative", {"seed": -1}),
        ("Received: num_videos=11", {"num_videos": 11}),
        ("max_frames=19", {"spec": FrameSpec(max_frames=19)}),
        ("segment_frames=11", {"spec": FrameSpec(segment_frames=11)}),
    ):
        refused(message, sample.write_sample, tmp_path / "sample", **arguments)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path, small):
    before = bytes_of(small)
    assert sample.write_sample(small, SEED, 120, SMALL) == small
    for other in ((1001, 120, SMALL), (SEED, 24, SMALL), (SEED, 120, None)):
        refused("Nothing is overwritten", sample.write_sample, small, *other)
    assert bytes_of(small) == before
    (tmp_path / "holiday.txt").write_text("sun")
    for place in (tmp_path, tmp_path / "holiday.txt"):
        refused("Nothing is overwritten", sample.write_sample, place, SEED, 12)
    assert bytes_of(tmp_path) == {"holiday.txt": b"sun"}


def test_an_older_format_is_refused(tmp_path, small):
    assert sample.is_sample(small) and sample.is_sample(str(small))
    assert not sample.is_sample([str(small)])
    assert not sample.is_sample(tmp_path)
    path = tmp_path / card.CARD
    path.write_text(json.dumps({"format": "kit.sample 1", "seed": SEED}))
    for use in (sample.write_sample, sample.read_card, sample.Oracle):
        refused("of format 'kit.sample 2'", use, tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_run_left_is_cleared(tmp_path):
    (tmp_path / "new-s" / "train").mkdir(parents=True)
    sample.write_sample(tmp_path / "s", SEED, 12, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
