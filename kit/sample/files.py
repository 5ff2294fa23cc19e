"""Writes a sample in YouTube-8M's record format, and shows its films again.

There are `train`, `validate` (rated) and `test` shards and both CSVs, so that
the readers of real shards serve it too, and what Kaggle does not give: the
ratings of the test split and its whole planted truth.
"""

import json
from functools import partial
from itertools import islice
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from kit import data
from kit.processes import map_on_every_core
from kit.replacing import replacing
from kit.sample.card import CARD, FORMAT, expect, is_sample, read_card
from kit.sample.features import features
from kit.sample.scenes import RATE, SPLITS, make
from kit.sample.world import FRAMES, World
from kit.spec import FrameSpec

PER_SHARD = 100  # videos of a shard
RATINGS = ["video_id", "start", "label", "score"]
SIZES = "It needs 12 films of 4 segments, and 16 to 1024 + 8 to 128 features."
TAKEN = "Nothing is overwritten: name a new folder, or delete this one."


def write_sample(folder, seed: int = 0, num_videos: int = 1200, spec=None):
    """Writes the sample; the same seed gives the same bytes.

    It is written beside `folder` under a temporary name and renamed when
    complete.  Where `folder` holds this very sample it is left as it is.

    Args:
        folder: Where the sample goes: a new or an empty folder.
        seed: Of the films; a whole number from 0.
        num_videos: In the three splits together, at least 12.
        spec: A `FrameSpec`, sizes of frame, video and segment; `None` is
            YouTube-8M's.

    Returns:
        `folder` as a path.

    Raises:
        ValueError: If a number is out of range, or `folder` holds something
            else, be it the sample of another seed or of an older format.
    """
    folder, spec = Path(folder), spec or FrameSpec()
    room = min(FRAMES[0], spec.max_frames) // spec.segment_frames
    fits = 16 <= spec.rgb <= 1024 and 8 <= spec.audio <= 128 and room > 3
    expect(fits and num_videos > 11, SIZES, num_videos=num_videos, spec=spec)
    card = {"format": FORMAT, "seed": int(seed), "num_videos": num_videos}
    card["spec"] = vars(spec)
    if is_sample(folder) and read_card(folder) == card:
        return folder
    free = not folder.exists() or folder.is_dir() and not any(folder.iterdir())
    expect(free, TAKEN, folder=str(folder))
    print(f"Generating {num_videos} little films in {folder}")
    with replacing(folder) as scratch:
        _write(scratch, card)
    return folder


def film(folder: str | Path, video_id: str) -> tuple:
    """The film of a video, drawn and played once more from its seed.

    Args:
        folder: A sample.
        video_id: Of any video in it.

    Returns:
        Pictures, uint8 `(num_frames, H, W, 3)`; the waveform, float32
        `(num_frames * rate,)` from -1 to 1; and its rate, samples a second.

    Raises:
        ValueError: If the sample has no such video.
    """
    films = _films(read_card(folder))
    expect(video_id in films, "No such video is there.", video_id=video_id)
    _, (pictures, sound) = make(World(read_card(folder)), *films[video_id])
    return pictures, sound.ravel(), RATE


def _films(card):
    """Split and number of every film, by its id of four characters."""
    rng, count = np.random.default_rng([card["seed"], 4]), card["num_videos"]
    ids = [f"{code:04x}" for code in rng.choice(16**4, count, replace=False)]
    splits = np.repeat([*SPLITS], [5, 4, 3]).tolist()  # of every twelve films
    return {name: (splits[i % 12], i) for i, name in enumerate(ids)}


def _write(folder, card):
    """Writes every file of a sample into a new folder."""
    world, films = World(card), _films(card)
    bar = keras.utils.Progbar(len(films), unit_name="film")
    for split in SPLITS:
        part = [item for item in films.items() if item[1][0] == split]
        records = map_on_every_core(partial(_record, world), part)
        for start in range(0, len(part), PER_SHARD):
            path = folder / split / f"{split}{start // PER_SHARD:02d}.tfrecord"
            data.write_shard(path, islice(records, PER_SHARD), world.spec)
            bar.add(len(part[start:][:PER_SHARD]))
    for name, table in _tables(world, films):
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")


def _record(world, item):
    """What a shard has of a film."""
    name, (split, number) = item
    plan, film = make(world, split, number)
    fields = {field: getattr(plan, field) for field in SPLITS[split]}
    return {"id": name, "frames": features(film, world.spec), **fields}


def _tables(world, films):
    """Names and tables: the classes, ratings and truth of the test split."""
    labels, unit = world.ids[world.rated], world.spec.segment_frames
    yield "segment_label_ids", pd.DataFrame({"Index": labels})
    ratings, truth = [], []
    for name in sorted(name for name in films if films[name][0] == "test"):
        plan = world.plan(films[name][1], rated=True)
        ratings += [(name, *rating) for rating in plan.ratings]
        for (row, column), score in np.ndenumerate(plan.holds):
            truth.append((name, unit * row, labels[column], int(score)))
    yield "test_ratings", pd.DataFrame(ratings, columns=RATINGS)
    yield "test_truth", pd.DataFrame(truth, columns=RATINGS)
    # Some names are missing, as in the real file.
    names = [*world.names[:-1], ""]
    yield "vocabulary", pd.DataFrame({"Index": world.ids, "Name": names})
