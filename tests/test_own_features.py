"""Features of one's own: the README's example, and the writer of shards."""

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kit import data, metrics, plots, submission
from kit.layers.frames import OFFSET, SCALE
from kit.ranking import Ranking
from kit.spec import FrameSpec

SECTION = Path("README.md").read_text().split("## Your own features\n")[1]
SECTION = SECTION.split("\n## ")[0]
SPEC = FrameSpec(rgb=6, audio=2, max_frames=12, segment_frames=3)


def block(language):
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.M | re.S)
    return found


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The folder that the example was run in, and what it leaves behind."""
    folder, before = tmp_path_factory.mktemp("own"), Path.cwd()
    os.chdir(folder)
    try:
        names = {}
        exec(block("python"), names)
    finally:
        os.chdir(before)
    return folder, names


def test_the_example_finds_what_was_planted(example):
    _, names = example
    truth = names["truth"]
    floor = metrics.random_floor(names["ranking"], truth)
    found = metrics.mean_average_precision(names["ranking"], truth)
    assert found > floor + 0.15
    # The concept of this video is there in its second half alone.
    table = names["table"].pivot(
        index="start", columns="class_id", values="score"
    )
    here = truth[truth["video_id"] == "test0"]["label"].iloc[0]
    assert table.loc[20:, here].min() > table.loc[:15, here].max()
    assert set(table.idxmax(axis=1).loc[20:]) == {here}


@pytest.mark.parametrize("spec", [FrameSpec(8, 0), FrameSpec(0, 8)])
def test_features_of_one_kind_are_drawn(spec):
    raw = np.arange(80, dtype=np.uint8).reshape(10, 8)
    values = raw * np.float32(SCALE) + np.float32(OFFSET)
    (axes,) = plots.value_ranges(raw, values, spec).axes
    assert len(axes.get_legend().get_texts()) == 1
    ratings = pd.DataFrame({"start": [5], "label": [3], "score": [1]})
    figure = plots.video_strip(values, spec, ratings, {})
    shown = [axes for axes in figure.axes if axes.images and axes.get_visible()]
    assert [axes.images[0].get_array().size for axes in shown] == [80]
    plt.close("all")


@pytest.mark.slow
def test_the_notebooks_take_the_same_folder(example):
    folder, _ = example
    (folder / "notebooks").symlink_to(Path("notebooks").resolve())
    (folder / "python").symlink_to(sys.executable)
    python = f'python() {{ {sys.executable!r} "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-e", "-c", python + block("sh")],
        cwd=folder,
        env={
            **os.environ,
            "MPLBACKEND": "Agg",
            "PYTHONPATH": str(Path.cwd()),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    ranking = Ranking.load(folder / "my-results" / "BERTMean" / "test.npz")
    truth = data.ratings(
        data.list_shards(folder / "my-features", "test"), spec=FrameSpec(512, 0)
    )
    found = metrics.mean_average_precision(ranking, truth)
    assert found > metrics.random_floor(ranking, truth) + 0.1
    path = folder / "my-results" / "ensemble" / "submission.csv"
    assert submission.validate(path, class_ids=range(4))["segments"] == 4 * 160


def video(name, count, seed=0, **known):
    rng = np.random.default_rng([seed, count])
    frames = rng.integers(0, 256, (count, SPEC.dim), np.uint8)
    return {"id": name, "frames": frames, **known}


WHOLE = [
    video("one", 12, labels=[3, 1], ratings=[(0, 1, 1), (9, 3, 0)]),
    video("zwei", 1, labels=[], ratings=[]),
    video("trois", 7, labels=[0]),
    video("vier", 5),
]


def test_what_is_written_is_read(tmp_path):
    path = data.write_shard(tmp_path / "new" / "validate.tfrecord", WHOLE, SPEC)
    shards = data.list_shards(tmp_path, "validate")
    assert shards == [path]
    options = {"spec": SPEC, "batch_size": 4, "with_ids": True}
    inputs, labels, ids = next(
        data.videos(shards, num_classes=4, **options).as_numpy_iterator()
    )
    assert ids.tolist() == [one["id"].encode() for one in WHOLE]
    for row, one in enumerate(WHOLE):
        frames = inputs["frames"][row][inputs["mask"][row]]
        np.testing.assert_array_equal(frames, one["frames"])
        there = sorted(one.get("labels", []))
        assert np.flatnonzero(labels[row]).tolist() == there
    rated = data.ratings(shards, spec=SPEC)
    assert rated.to_numpy().tolist() == [["one", 0, 1, 1], ["one", 9, 3, 0]]


def test_tensorflow_alone_reads_the_fields_of_youtube_8m(tmp_path):
    path = data.write_shard(tmp_path / "validate.tfrecord", WHOLE, SPEC)
    records = tf.data.TFRecordDataset(path).as_numpy_iterator()
    context, lists = tf.io.parse_single_sequence_example(
        next(records),
        context_features={
            "id": tf.io.FixedLenFeature([], tf.string),
            "labels": tf.io.FixedLenFeature([2], tf.int64),
            "segment_start_times": tf.io.FixedLenFeature([2], tf.int64),
            "segment_end_times": tf.io.FixedLenFeature([2], tf.int64),
            "segment_labels": tf.io.FixedLenFeature([2], tf.int64),
            "segment_scores": tf.io.FixedLenFeature([2], tf.float32),
        },
        sequence_features={
            "rgb": tf.io.FixedLenSequenceFeature([], tf.string),
            "audio": tf.io.FixedLenSequenceFeature([], tf.string),
        },
    )
    found = {key: np.array(value).tolist() for key, value in context.items()}
    assert found == {
        "id": b"one",
        "labels": [3, 1],
        "segment_start_times": [0, 9],
        "segment_end_times": [3, 12],
        "segment_labels": [1, 3],
        "segment_scores": [1.0, 0.0],
    }
    rgb, audio = (lists[name].numpy().tolist() for name in ("rgb", "audio"))
    whole = [a + b for a, b in zip(rgb, audio, strict=True)]
    assert whole == [row.tobytes() for row in WHOLE[0]["frames"]]
    assert {len(row) for row in rgb} == {SPEC.rgb}


@pytest.mark.parametrize(
    "spec", [FrameSpec(0, 8, 12, 3), FrameSpec(8, 0, 12, 3)]
)
def test_features_of_one_kind_are_written(spec, tmp_path):
    path = data.write_shard(tmp_path / "train.tfrecord", WHOLE[2:], spec)
    inputs, _ = next(
        data.videos(path, num_classes=4, spec=spec).as_numpy_iterator()
    )
    np.testing.assert_array_equal(inputs["frames"][0, :7], WHOLE[2]["frames"])


def test_the_same_videos_give_the_same_bytes(tmp_path):
    one, two = (
        data.write_shard(tmp_path / f"train{at}.tfrecord", iter(WHOLE), SPEC)
        for at in range(2)
    )
    assert Path(one).read_bytes() == Path(two).read_bytes()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frames": np.zeros((4, 8))}, "must be uint8"),
        ({"frames": np.zeros((4, 9), np.uint8)}, r"uint8 \(num_frames, 8\)"),
        ({"frames": np.zeros(8, np.uint8)}, "must be uint8"),
        ({"frames": np.zeros((0, 8), np.uint8)}, "1 to 12 frames"),
        ({"frames": np.zeros((13, 8), np.uint8)}, "1 to 12 frames"),
        ({"id": "one"}, "An id must occur once"),
        ({"id": ""}, "must have one `id`"),
        ({"labels": [-1]}, "must lie in the vocabulary"),
        ({"ratings": [(0, 2), (3, 2), (6, 2)]}, r"shape=\(3, 2\)"),
        ({"ratings": (0, 2, 1)}, r"shape=\(3,\)"),
        ({"ratings": [(1, 2, 1)]}, "0 or a multiple of 3"),
        ({"ratings": [(3, 2, 2)]}, "must be 0 or 1"),
        ({"ratings": [(3, -2, 1)]}, "must be in the vocabulary"),
        ({"ratings": [(3, 2, 1), (3, 2, 0)]}, "must agree"),
    ],
)
def test_what_readers_would_refuse_is_not_written(wrong, message, tmp_path):
    path = tmp_path / "train.tfrecord"
    path.write_bytes(b"older")
    with pytest.raises(ValueError, match=message):
        bad = {**video("five", 4), **wrong}
        data.write_shard(path, [*WHOLE, bad], SPEC)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "path", ["ram://b/train.tfrecord", Path("gs://b/train.tfrecord")]
)
def test_a_shard_goes_to_a_local_path(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="goes to a local path"):
        data.write_shard(path, WHOLE, SPEC)
    assert not list(tmp_path.iterdir())
