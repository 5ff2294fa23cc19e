"""Writes and reads a small generated data set in YouTube-8M's record format.

It holds `train`, `validate` (rated) and `test` shards and both class tables, so
that the readers of real shards serve it too, and what Kaggle does not give: the
ratings of the test split and its whole planted truth.  The videos are simulated
(:mod:`kit.sample.world`), and `synthetic.json` says so.
"""

import dataclasses
import itertools
import json
import operator
import os
import shutil
import string
from pathlib import Path

import numpy as np
import pandas as pd

from kit import data
from kit.sample import constants as c
from kit.sample.world import World
from kit.spec import YOUTUBE_8M, FrameSpec

CARD = "synthetic.json"
FORMAT = {"format": "kit.synthetic", "format_version": 1}
FIELDS = {"train": ["labels"], "validate": ["labels", "ratings"], "test": []}
SHARD_VIDEOS = 100
COLUMNS = ["video_id", "start", "label", "score"]


def write_sample(
    folder: str | os.PathLike,
    seed: int = 0,
    num_videos: int = 1200,
    spec: FrameSpec | None = None,
) -> Path:
    """Writes the generated data set; the same seed gives the same bytes.

    It is written beside `folder` under a temporary name and renamed when
    complete.  Nothing is overwritten: a folder that holds this very sample is
    left as it is, and any other is refused.

    Args:
        folder: Where the sample goes.
        seed: Of the world and its videos; a whole number from 0.
        num_videos: Of the three splits together, at least 12.
        spec: Sizes of frame, video and segment; `None` is YouTube-8M's.

    Returns:
        `folder` as a path.

    Raises:
        ValueError: If a number is out of range, or `folder` holds something
            other than this sample.
    """
    folder = Path(folder)
    world = World(operator.index(seed), spec or YOUTUBE_8M)
    if num_videos < 12 or world.spec.max_frames < 4 * world.spec.segment_frames:
        raise ValueError(
            "A sample needs 12 videos, and room for four segments in each. "
            f"Received: num_videos={num_videos}, spec={world.spec}"
        )
    card = _card(world, num_videos)
    if folder.exists() and any(folder.iterdir()):
        there, facts = read_card(folder), card.keys() - {"simulated"}
        different = sorted(fact for fact in facts if there[fact] != card[fact])
        if different:
            raise ValueError(
                "Nothing is overwritten: name a new folder, or delete this "
                f"one. Received: folder={str(folder)!r}, a sample that "
                f"differs in {', '.join(different)}"
            )
        return folder
    print(f"Generating a data set of {num_videos} videos in {folder}")
    scratch = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
    try:
        _write(scratch, world, card)
        os.replace(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _card(world, num_videos):
    """What `synthetic.json` says of a sample."""
    validate, test = num_videos // 3, num_videos // 4
    train = num_videos - validate - test
    return {
        **FORMAT,
        "simulated": "No video, label or rating in this folder is real: "
        "kit.sample.write_sample made them up.",
        "seed": world.seed,
        "num_videos": num_videos,
        "splits": {"train": train, "validate": validate, "test": test},
        "spec": dataclasses.asdict(world.spec),
    }


def _write(folder, world, card):
    """Writes every file of a sample into a new folder."""
    numbered, videos = enumerate(_draw_ids(world.seed, card["num_videos"])), {}
    for split, count in card["splits"].items():
        (folder / split).mkdir(parents=True)
        part = list(itertools.islice(numbered, count))
        videos[split] = _write_split(folder / split, world, part)
    tables = {
        "test_ratings": _ratings(videos["test"]),
        "test_truth": _truth(world, videos["test"]),
        "vocabulary": _vocabulary(world, videos["train"].values()),
        "segment_label_ids": pd.DataFrame({"Index": world.ids[world.rated]}),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")


def _draw_ids(seed, count):
    """Different ids of four characters, as YouTube-8M's."""
    characters = np.array(list(string.digits + string.ascii_letters))
    rng = np.random.default_rng([seed, 3])
    codes = rng.choice(characters.size**4, count, replace=False)
    digits = codes[:, None] // characters.size ** np.arange(4)
    return ["".join(row) for row in characters[digits % characters.size]]


def _write_split(folder, world, numbered):
    """Writes the shards of a split; its videos by id, without their frames."""
    split, videos = folder.name, {}

    def records(numbered):
        for number, name in numbered:
            video = world.video(number, rated=split != "train")
            videos[name] = video._replace(frames=None)
            fields = {field: getattr(video, field) for field in FIELDS[split]}
            yield {"id": name, "frames": video.frames, **fields}

    for shard, start in enumerate(range(0, len(numbered), SHARD_VIDEOS)):
        path = folder / f"{split}{shard:02d}.tfrecord"
        part = numbered[start : start + SHARD_VIDEOS]
        data.write_shard(str(path), records(part), world.spec)
    return videos


def _ratings(videos):
    rows = [(name, *row) for name in videos for row in videos[name].ratings]
    return pd.DataFrame(rows, columns=COLUMNS)


def _truth(world, videos):
    """A row for every segment and rated class, whether it holds or not."""
    unit, labels = world.spec.segment_frames, world.ids[world.rated]
    rows = (
        (name, segment * unit, labels[column], int(holds))
        for name, video in videos.items()
        for (segment, column), holds in np.ndenumerate(video.holds)
    )
    return pd.DataFrame(rows, columns=COLUMNS)


def _vocabulary(world, videos):
    """The classes in the columns of YouTube-8M's `vocabulary.csv`."""
    senses = {"S": "seen", "H": "heard", "B": "seen and heard"}
    labels = np.concatenate([video.labels for video in videos])
    counts = np.bincount(labels, minlength=c.NUM_IDS)
    names = [
        f"Concept {senses[sense]} {class_id}"
        for sense, class_id in zip(world.senses, world.ids, strict=True)
    ]
    names[np.argmax(world.ids)] = ""  # as some are in the real file
    table = {
        "Index": world.ids,
        "TrainVideoCount": counts[world.ids],
        "KnowledgeGraphId": [f"/m/simulated{i}" for i in world.ids],
        "Name": names,
        "WikiUrl": "",
        "Vertical1": [f"Topic {topic}" for topic in world.topic],
        "Vertical2": "",
        "Vertical3": "",
        "WikiDescription": "Simulated; it stands for nothing real.",
    }
    return pd.DataFrame(table).sort_values("Index", ignore_index=True)


def is_sample(folder) -> bool:
    """Whether `folder` is a sample that :func:`write_sample` wrote.

    A list of places, as a data set may be given, is none.
    """
    try:
        return bool(read_card(folder))
    except ValueError:
        return False


def read_card(folder: str | os.PathLike) -> dict:
    """What `synthetic.json` says: seed, num_videos, splits, spec.

    Raises:
        ValueError: If `folder` is no sample, or one of another version.
    """
    try:
        card = json.loads(Path(folder, CARD).read_text())
    except (OSError, ValueError, TypeError):
        card = None
    if isinstance(card, dict) and FORMAT.items() <= card.items():
        return card
    raise ValueError(
        "A sample's folder holds what `write_sample` wrote in format version "
        f"{FORMAT['format_version']}, and nothing is overwritten: write one "
        f"to a new folder. Received: folder={str(folder)!r}"
    )


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
        Path(folder, name), dtype={"video_id": str}, keep_default_na=False
    )
