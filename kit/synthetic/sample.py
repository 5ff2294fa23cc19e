"""Writes a small simulated data set in YouTube-8M's record format.

It holds `train`, `validate` (rated) and `test` shards and both CSVs, so that
the readers of real shards serve it too, and what Kaggle does not give: the
ratings of the test split and its whole planted truth.  The videos are
simulated (:mod:`kit.synthetic.world`), and `synthetic.json` says so.
"""

import dataclasses
import json
import os
import shutil
import string
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from kit import data
from kit.spec import FrameSpec
from kit.synthetic.world import World

FORMAT_VERSION = 1
CARD = "synthetic.json"
SHARES = {"train": 5 / 12, "validate": 4 / 12, "test": 3 / 12}
SHARD_VIDEOS = 100
COLUMNS = ["video_id", "start", "label", "score"]


def write_sample(
    folder: str | os.PathLike,
    seed: int = 0,
    *,
    num_videos: int = 1200,
    spec: FrameSpec | None = None,
    progress: bool = False,
) -> Path:
    """Writes the simulated data set; the same seed gives the same bytes.

    It is written beside `folder` under a temporary name and renamed when
    complete.  An older sample of that name is replaced, nothing else is.

    Args:
        folder: Where the sample goes.
        seed: Of the world and its videos; a whole number from 0.
        num_videos: In the three splits together, at least 12.
        spec: Sizes of frame, video and segment; `None` is YouTube-8M's.
        progress: Print a line a shard.

    Returns:
        `folder` as a path.

    Raises:
        ValueError: If a number is out of range, or `folder` holds something
            other than a sample.
    """
    folder = Path(folder)
    _whole("seed", seed, 0)
    _whole("num_videos", num_videos, 12)
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not empty and not is_sample(folder):
        raise ValueError(
            "A sample replaces only an older sample: name a new or an empty "
            f"folder. Received: folder={str(folder)!r}"
        )
    world = World(int(seed), spec)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".sample-", dir=folder.parent))
    try:
        _write(scratch / "new", world, int(num_videos), progress)
        if folder.exists():
            os.replace(folder, scratch / "old")
        os.replace(scratch / "new", folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _whole(name, value, least):
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(
            f"`{name}` must be a whole number of at least {least}. "
            f"Received: {name}={value!r}"
        )


def _write(folder, world, num_videos, progress):
    """Writes every file of a sample into a new folder."""
    counts = {split: int(num_videos * SHARES[split]) for split in SHARES}
    counts["train"] += num_videos - sum(counts.values())
    ids = _draw_ids(world.seed, num_videos)
    videos, first = {}, 0
    for split, count in counts.items():
        (folder / split).mkdir(parents=True)
        path = str(folder / split / split)
        numbers = range(first, first + count)
        videos[split] = _write_shards(path, world, numbers, ids, progress)
        first += count
    tables = {
        "test_ratings": _ratings(world, videos["test"]),
        "test_truth": _truth(world, videos["test"]),
        "vocabulary": _vocabulary(world, videos["train"].values()),
        "segment_label_ids": pd.DataFrame({"Index": world.ids[world.rated]}),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    card = {
        "format": "kit.synthetic",
        "format_version": FORMAT_VERSION,
        "simulated": "No video, label or rating in this folder is real: "
        "kit.synthetic.write_sample made them up.",
        "seed": world.seed,
        "num_videos": num_videos,
        "splits": counts,
        "spec": dataclasses.asdict(world.spec),
    }
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")


def _draw_ids(seed, count):
    """Different ids of four characters, as YouTube-8M's."""
    characters = np.array(list(string.digits + string.ascii_letters))
    rng = np.random.default_rng([seed, 3])
    codes = rng.choice(characters.size**4, count, replace=False)
    places = codes[:, None] // characters.size ** np.arange(4)
    return ["".join(row) for row in characters[places % characters.size]]


def _write_shards(path, world, numbers, ids, progress):
    """Writes a split; returns its videos by id, without their frames."""
    split, videos = os.path.basename(path), {}

    def records(numbers):
        for number in numbers:
            video = world.video(number, rated=split != "train")
            videos[ids[number]] = video._replace(frames=None)
            yield _record(ids[number], video, split, world.spec)

    for shard, start in enumerate(range(0, len(numbers), SHARD_VIDEOS)):
        name = f"{path}{shard:02d}.tfrecord"
        some = numbers[start : start + SHARD_VIDEOS]
        data.write_shard(name, records(some), world.spec)
        if progress:
            print(f"wrote {os.path.basename(name)}", flush=True)
    return videos


def _record(name, video, split, spec):
    """What `data.write_shard` takes: the fields that the split has."""
    known = {"id": name, "frames": video.frames}
    if split != "test":
        known["labels"] = video.labels
    if split == "validate":
        known["ratings"] = [
            (segment * spec.segment_frames, label, score)
            for segment, label, score in video.ratings
        ]
    return known


def _ratings(world, videos):
    rows = [
        (name, segment * world.spec.segment_frames, label, score)
        for name, video in videos.items()
        for segment, label, score in video.ratings
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _truth(world, videos):
    """A row for every segment and rated class, whether it holds or not."""
    unit, labels = world.spec.segment_frames, world.ids[world.rated]
    rows = [
        (name, segment * unit, label, int(score))
        for name, video in videos.items()
        for segment, scores in enumerate(video.holds)
        for label, score in zip(labels, scores, strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _vocabulary(world, videos):
    """The classes in the columns of YouTube-8M's `vocabulary.csv`."""
    senses = {"S": "seen", "H": "heard", "B": "seen and heard"}
    labels = np.concatenate([video.labels for video in videos])
    counts = np.bincount(labels, minlength=world.constants.num_ids)
    table = pd.DataFrame(
        {
            "Index": world.ids,
            "TrainVideoCount": counts[world.ids],
            "KnowledgeGraphId": [f"/m/simulated{i}" for i in world.ids],
            "Name": [f"Concept {senses[sense]}" for sense in world.senses],
            "WikiUrl": "",
            "Vertical1": [f"Topic {topic}" for topic in world.topic],
            "Vertical2": "",
            "Vertical3": "",
            "WikiDescription": "Simulated; it stands for nothing real.",
        }
    ).sort_values("Index", ignore_index=True)
    table["Name"] += " " + table["Index"].astype(str)
    table.loc[len(table) - 1, "Name"] = ""  # as some are in the real file
    return table


def is_sample(folder: str | os.PathLike | list) -> bool:
    """Whether `folder` is a sample that :func:`write_sample` wrote.

    A list of places, as a data set may be given, is none.
    """
    if not isinstance(folder, str | os.PathLike):
        return False
    try:
        card = json.loads((Path(folder) / CARD).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and card.get("format") == "kit.synthetic"


def read_card(folder: str | os.PathLike) -> dict:
    """What `synthetic.json` says: seed, num_videos, splits, spec.

    Raises:
        ValueError: If `folder` is no sample, or one of another version.
    """
    if not is_sample(folder):
        raise ValueError(
            "The folder must hold a simulated sample: write one with "
            f"`write_sample`. Received: folder={str(folder)!r}"
        )
    card = json.loads((Path(folder) / CARD).read_text())
    if card["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"The sample must be of format version {FORMAT_VERSION}: write it "
            f"anew. Received: format_version={card['format_version']!r}"
        )
    return card


def load_test_ratings(folder: str | os.PathLike) -> pd.DataFrame:
    """The test split's ratings: columns video_id, start, label, score."""
    return _load(folder, "test_ratings.csv")


def load_truth(folder: str | os.PathLike) -> pd.DataFrame:
    """The planted truth of the test split, in the columns of ratings.

    There is a row for every segment and rated class; `score` is 1 where the
    concept fills at least half of the segment's frames, else 0.
    """
    return _load(folder, "test_truth.csv")


def _load(folder, name):
    read_card(folder)
    # An id such as `1e05` or `null` is text, whatever pandas thinks.
    return pd.read_csv(
        Path(folder) / name, dtype={"video_id": str}, keep_default_na=False
    )
