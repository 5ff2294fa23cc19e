import errno
import json

import numpy as np
import pandas as pd
import pytest

from kit import data
from kit.sample import (
    Oracle,
    constants,
    is_sample,
    load_test_ratings,
    load_truth,
    read_card,
    write_sample,
)
from kit.sample.folder import CARD
from kit.sample.world import World
from kit.spec import FrameSpec

KEYS = ["video_id", "start", "label"]
# Seeds from 1,000 up only: those below are for reporting results.
SEED = 1000
SMALL = FrameSpec(rgb=64, audio=24)
RATED = [
    "segment_start_times",
    "segment_end_times",
    "segment_labels",
    "segment_scores",
]


pytestmark = pytest.mark.xdist_group("sample")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A sample in the real format."""
    folder = tmp_path_factory.mktemp("sample") / "sample"
    return write_sample(folder, SEED, num_videos=60)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """More videos, of fewer features."""
    folder = tmp_path_factory.mktemp("sample") / "small"
    return write_sample(folder, SEED, num_videos=240, spec=SMALL)


@pytest.fixture(scope="module")
def world():
    return World(SEED, SMALL)


@pytest.fixture(scope="module")
def videos(world):
    return [world.video(index, rated=True) for index in range(300)]


def records(folder, split):
    """The records of a split by id, parsed by TensorFlow alone."""
    import tensorflow as tf

    found = {}
    for path in sorted((folder / split).iterdir()):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            example = tf.train.SequenceExample.FromString(record)
            context = {
                key: list(getattr(value, value.WhichOneof("kind")).value)
                for key, value in example.context.feature.items()
            }
            for key, values in example.feature_lists.feature_list.items():
                rows = [row.bytes_list.value[0] for row in values.feature]
                context[key] = np.stack(
                    [np.frombuffer(row, np.uint8) for row in rows]
                )
            found[context["id"][0].decode()] = context
    return found


def frames_of(record):
    lists = [record[name] for name in ("rgb", "audio") if name in record]
    return np.concatenate(lists, axis=1)


def bytes_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def average_precision(scores, truth):
    truth = np.asarray(truth)[np.argsort(-np.asarray(scores), kind="stable")]
    precision = np.cumsum(truth) / np.arange(1, truth.size + 1)
    return precision[truth == 1].mean()


# The record format


def test_files(sample):
    files = set(bytes_of(sample))
    assert files == {
        "train/train00.tfrecord",
        "validate/validate00.tfrecord",
        "test/test00.tfrecord",
        "vocabulary.csv",
        "segment_label_ids.csv",
        "test_ratings.csv",
        "test_truth.csv",
        CARD,
    }
    assert read_card(sample)["splits"] == {
        "train": 25,
        "validate": 20,
        "test": 15,
    }


@pytest.mark.parametrize(
    "split, fields",
    [
        ("train", {"labels"}),
        ("validate", {"labels", *RATED}),
        ("test", set()),
    ],
)
def test_fields_of_each_split(sample, split, fields):
    for record in records(sample, split).values():
        assert set(record) == {"id", "rgb", "audio"} | fields
        assert record["rgb"].shape[1] == 1024
        assert record["audio"].shape[1] == 128
        assert len(record["rgb"]) == len(record["audio"])
        assert 40 <= len(record["rgb"]) <= 120


def test_ids_are_youtube_8ms_and_unique(sample):
    ids = [id for split in ("train", "validate", "test")
           for id in records(sample, split)]  # fmt: skip
    assert len(set(ids)) == 60
    assert all(len(id) == 4 and id.isalnum() and id.isascii() for id in ids)


def test_segment_ratings_of_records(sample):
    rated = pd.read_csv(sample / "segment_label_ids.csv")["Index"].tolist()
    for record in records(sample, "validate").values():
        starts, ends, labels, scores = (record[field] for field in RATED)
        assert len(starts) == len(ends) == len(labels) == len(scores)
        assert len(set(starts)) == len(starts)
        for start, end, label, score in zip(*map(record.get, RATED),
                                            strict=True):  # fmt: skip
            assert start % 5 == 0 and end == start + 5
            # Annotators leave out the first and last segments.
            assert 10 <= start < 5 * ((len(record["rgb"]) - 1) // 5)
            assert label in rated and label in record["labels"]
            assert score in (0.0, 1.0)


def test_vocabulary(sample):
    table = pd.read_csv(sample / "vocabulary.csv")
    assert (
        list(table)
        == (
            "Index TrainVideoCount KnowledgeGraphId Name WikiUrl Vertical1 "
            "Vertical2 Vertical3 WikiDescription"
        ).split()
    )
    ids = table["Index"]
    assert len(table) == 60 and ids.is_monotonic_increasing and ids.is_unique
    assert ids.max() > 60, "the ids have gaps"
    assert table["Name"].isna().sum() == 1
    counts = pd.Series(0, index=ids)
    for record in records(sample, "train").values():
        counts[record["labels"]] += 1
    assert (counts.to_numpy() == table["TrainVideoCount"]).all()
    rated = pd.read_csv(sample / "segment_label_ids.csv")["Index"]
    assert len(rated) == 20 and rated.isin(ids).all()
    assert rated.is_monotonic_increasing


def test_bytes_undo_the_dequantisation(sample):
    """What the kit dequantises is the latent noise of variance 1 again."""
    world = World(SEED, FrameSpec())
    unmix = np.linalg.pinv(world.mixing)
    for index, record in enumerate(records(sample, "train").values()):
        frames = frames_of(record)
        assert np.mean((frames == 0) | (frames == 255)) < 0.01
        values = frames.astype(float) * 4 / 255 - 1.9921875
        assert abs(values.mean()) < 0.05 and 0.4 < values.std() < 0.7
        if index == 0:  # numbered from the train split on
            latent = values @ unmix
            empty = ~world.video(0, rated=False).fills.any(axis=1)
            quiet = empty[1:] & empty[:-1]
            steps = np.diff(latent, axis=0)[quiet] / np.sqrt(2)
            assert 0.9 < np.median(steps.std(axis=1)) < 1.2


# Seeds


def test_same_seed_gives_the_same_bytes(sample, tmp_path):
    again = write_sample(tmp_path / "again", SEED, num_videos=60)
    assert bytes_of(again) == bytes_of(sample)


def test_another_seed_gives_another_world(tmp_path):
    one, two = (
        write_sample(tmp_path / str(seed), seed, num_videos=12, spec=SMALL)
        for seed in (1001, 1002)
    )
    one, two = bytes_of(one), bytes_of(two)
    assert one.keys() == two.keys()
    assert all(one[name] != two[name] for name in one)


def test_a_video_depends_on_seed_and_index_alone(world):
    assert np.array_equal(
        World(SEED, SMALL).video(7, True).frames, world.video(7, True).frames
    )


# The world


def test_classes(world):
    assert world.ids.size == 60 and world.rated.size == 20
    assert (np.diff(world.ids[world.rated]) > 0).all()
    assert (world.twin >= 0).sum() == 10 and world.ordered.sum() == 4
    for one in np.flatnonzero(world.twin >= 0):
        two = world.twin[one]
        assert world.twin[two] == one and world.topic[one] == world.topic[two]
        first, second = world.signatures[[one, two]]
        if world.ordered[one]:
            assert np.array_equal(first, second[::-1])
        else:
            assert 0.3 < first[0] @ second[0] < 0.9
    lengths = np.linalg.norm(world.signatures, axis=-1)
    np.testing.assert_allclose(lengths[world.twin < 0], 1, rtol=1e-5)
    seen, heard = np.split(world.signatures, constants.LATENT[:1], axis=-1)
    assert not seen[world.senses == "H"].any()
    assert not heard[world.senses == "S"].any()
    assert {"S", "H", "B"} == set(world.senses[world.rated])
    by_id = world.popularity[np.argsort(world.ids)]
    assert (np.diff(by_id) <= 0).all(), "frequent classes have low ids"
    rare = world.popularity[world.rated] < 0.75
    assert rare.sum() >= 3


def test_statistics(videos):
    labels = np.mean([video.labels.size for video in videos])
    assert 2.7 < labels < 3.4
    assert 75 < np.mean([len(video.frames) for video in videos]) < 85
    ratings = [rating for video in videos for rating in video.ratings]
    assert 4.6 < len(ratings) / len(videos) < 5.4
    assert 0.48 < np.mean([score for *_, score in ratings]) < 0.64
    per_class = pd.Series([label for _, label, _ in ratings]).value_counts()
    assert len(per_class) == 20 and per_class.min() >= 20


def test_concepts_fill_a_minority_in_intervals_off_the_grid(videos):
    lengths = []
    for video in videos:
        assert video.fills.sum(axis=0).max() < len(video.fills) / 2
        for filled in video.fills.T[video.fills.any(axis=0)]:
            edges = np.diff(np.pad(filled.astype(int), 1))
            starts, stops = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
            assert (starts % 5).all(), "no interval starts with a segment"
            lengths.extend(stops - starts)
    assert np.mean(np.array(lengths) > 5) > 0.9


def test_labels_miss_some_concepts_and_add_false_ones(world, videos):
    missed = added = true = 0
    for video in videos:
        shown = set(world.ids[video.fills.any(axis=0)].tolist())
        labels = set(video.labels.tolist())
        missed += len(shown - labels)
        added += len(labels - shown)
        true += len(shown)
    assert 0.1 < missed / true < 0.25
    assert 0.25 < added / len(videos) < 0.7


def test_context_is_informative(world, videos):
    """Another concept of the topic makes a label likelier to be true."""
    place = {int(id): index for index, id in enumerate(world.ids)}
    verdicts = {True: [], False: []}
    for video in videos:
        shown = set(np.flatnonzero(video.fills.any(axis=0)))
        for label in video.labels.tolist():
            concept = place[label]
            kin = world.topic[list(shown - {concept})] == world.topic[concept]
            verdicts[bool(kin.any())].append(concept in shown)
    assert np.mean(verdicts[True]) > np.mean(verdicts[False]) + 0.05


def test_planted_truth_is_half_of_the_frames(world, videos):
    for video in videos[:50]:
        assert video.holds.shape == (-(-len(video.frames) // 5), 20)
        for segment, holds in enumerate(video.holds):
            frames = video.fills[5 * segment : 5 * segment + 5, world.rated]
            assert np.array_equal(holds, frames.mean(axis=0) >= 0.5)


# What Kaggle does not give


def test_ratings_agree_with_truth_but_for_mistakes(small):
    ratings, truth = load_test_ratings(small), load_truth(small)
    both = ratings.merge(truth, on=KEYS)
    assert len(both) == len(ratings) > 250
    wrong = np.mean(both["score_x"] != both["score_y"])
    assert 0 < wrong < 0.06


def test_truth_covers_every_segment_and_rated_class(small):
    truth = load_truth(small)
    assert list(truth) == [*KEYS, "score"]
    assert set(truth["score"]) == {0, 1}
    expected = {
        (id, start)
        for id, record in records(small, "test").items()
        for start in range(0, len(record["rgb"]), 5)
    }
    counts = truth.groupby(["video_id", "start"])["label"].nunique()
    assert set(counts.index) == expected and (counts == 20).all()
    assert len(truth) == 20 * len(expected)


def test_ids_that_look_like_numbers_stay_text(small, tmp_path):
    (tmp_path / CARD).write_text((small / CARD).read_text())
    rows = ["video_id,start,label,score", "1e05,5,3,1", "null,5,3,0",
            "0012,5,3,1"]  # fmt: skip
    (tmp_path / "test_ratings.csv").write_text("\n".join(rows))
    assert list(load_test_ratings(tmp_path)["video_id"]) == [
        "1e05",
        "null",
        "0012",
    ]


# The oracle


@pytest.fixture(scope="module")
def oracle_scores(small):
    """Scores in the rows of the planted truth, and that truth."""
    oracle, rows = Oracle(small), []
    for id, record in records(small, "test").items():
        scores = oracle.score(frames_of(record))
        assert scores.shape == (-(-len(record["rgb"]) // 5), 20)
        rows += [
            (id, 5 * segment, label, score)
            for segment, row in enumerate(scores)
            for label, score in zip(oracle.class_ids, row, strict=True)
        ]
    scores = pd.DataFrame(rows, columns=[*KEYS, "score"])
    return scores.merge(load_truth(small), on=KEYS, suffixes=("", "_true"))


def test_the_oracle_beats_the_floor(oracle_scores):
    truth = oracle_scores["score_true"]
    assert truth.mean() < 0.05
    assert average_precision(oracle_scores["score"], truth) > 0.6


def test_oracle_on_ratings(small, oracle_scores):
    rated = load_test_ratings(small).rename(columns={"score": "verdict"})
    rated = rated.merge(oracle_scores, on=KEYS)
    precision = average_precision(rated["score"], rated["verdict"])
    assert rated["verdict"].mean() + 0.25 < precision < 1


def test_order_in_time_tells_ordered_twins_apart(small, world, videos):
    oracle = Oracle(small)
    columns = np.flatnonzero(world.ordered[world.rated])
    twins = np.searchsorted(
        world.ids[world.rated], world.ids[world.twin[world.rated[columns]]]
    )
    right, reversed_right = [], []
    for video in videos:
        length = len(video.frames) // 5 * 5
        scores = oracle.score(video.frames[:length])
        turned = oracle.score(video.frames[:length][::-1])[::-1]
        for column, twin in zip(columns, twins, strict=True):
            alone = video.holds[:, column] & ~video.holds[:, twin]
            alone = np.flatnonzero(alone[: length // 5])
            right += list((scores[:, column] > scores[:, twin])[alone])
            reversed_right += list((turned[:, column] > turned[:, twin])[alone])
    assert len(right) > 100
    assert np.mean(right) > 0.85
    assert np.mean(reversed_right) < 0.4


def test_oracle_class_ids(small):
    rated = pd.read_csv(small / "segment_label_ids.csv")["Index"]
    assert np.array_equal(Oracle(small).class_ids, rated)


# Other specs, bad input, broken writes


@pytest.mark.parametrize(
    "spec",
    [
        FrameSpec(rgb=16, audio=8),
        FrameSpec(rgb=24, audio=0),
        FrameSpec(rgb=0, audio=16, max_frames=20),
        FrameSpec(rgb=8, audio=4, segment_frames=1, max_frames=10),
    ],
)
def test_other_specs(spec, tmp_path):
    folder = write_sample(tmp_path / "s", SEED, num_videos=12, spec=spec)
    for record in records(folder, "validate").values():
        frames = frames_of(record)
        assert len(frames) <= spec.max_frames
        for start, end in zip(*map(record.get, RATED[:2]), strict=True):
            assert start % spec.segment_frames == 0
            assert end == start + spec.segment_frames
        assert np.isfinite(Oracle(folder).score(frames)).all()


@pytest.mark.parametrize(
    "arguments, name",
    [
        ({"seed": -1}, "non-negative"),
        ({"num_videos": 11}, "Received: num_videos=11"),
        ({"spec": FrameSpec(max_frames=19)}, "Received: .*max_frames=19"),
    ],
)
def test_bad_arguments(arguments, name, tmp_path):
    with pytest.raises(ValueError, match=name):
        write_sample(tmp_path / "sample", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_sample_that_is_there_is_left_as_it_is(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    write_sample(folder, 1001, num_videos=12, spec=SMALL)  # empty: fine
    (folder / "vocabulary.csv").write_text("touched")
    before = bytes_of(folder)
    assert write_sample(folder, 1001, num_videos=12, spec=SMALL) == folder
    assert bytes_of(folder) == before


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda card: card | {"seed": 1002}, "differs in seed$"),
        (lambda card: card | {"format_version": 0}, "format version 1"),
        (lambda card: {"format": "other"}, "format version 1"),
    ],
)
def test_nothing_is_overwritten(change, message, tmp_path):
    folder = write_sample(tmp_path / "s", 1001, num_videos=12, spec=SMALL)
    (folder / CARD).write_text(json.dumps(change(read_card(folder))))
    before = bytes_of(folder)
    with pytest.raises(ValueError, match=message):
        write_sample(folder, 1001, num_videos=12, spec=SMALL)
    assert bytes_of(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    write_shard = data.write_shard

    def full(path, videos, spec):
        if "test" in path:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_shard(path, videos, spec)

    monkeypatch.setattr(data, "write_shard", full)
    with pytest.raises(OSError, match="No space left"):
        write_sample(tmp_path / "s", 1001, num_videos=12, spec=SMALL)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    # What a killed run left makes room for the next.
    (tmp_path / ".s.partial").mkdir()
    write_sample(tmp_path / "s", 1001, num_videos=12, spec=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_is_sample(sample, tmp_path):
    assert is_sample(sample) and is_sample(str(sample))
    assert not is_sample([str(sample), str(tmp_path)])
    assert not is_sample(tmp_path) and not is_sample(tmp_path / "missing")
    for text in ("", "[]", '{"format": "other"}'):
        (tmp_path / CARD).write_text(text)
        assert not is_sample(tmp_path)
    with pytest.raises(ValueError, match="Received: folder="):
        load_truth(tmp_path)
