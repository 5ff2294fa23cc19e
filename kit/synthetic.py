"""Writes a small simulated data set in YouTube-8M's record format.

It holds `train`, `validate` (rated) and `test` shards and both CSVs, so that
the readers of real shards serve it too, and what Kaggle does not give: the
ratings of the test split and its whole planted truth.  The videos are
simulated (:mod:`kit.world`), and `synthetic.json` says so.
"""

import dataclasses
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from kit.spec import FrameSpec
from kit.world import World

FORMAT_VERSION = 1
CARD = "synthetic.json"
SHARES = {"train": 5 / 12, "validate": 4 / 12, "test": 3 / 12}
SHARD_VIDEOS = 100
COLUMNS = ["video_id", "start", "label", "score"]
ID_CHARACTERS = (
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)


def write_sample(
    folder: str | os.PathLike,
    seed: int = 0,
    *,
    num_videos: int = 1200,
    spec: FrameSpec = FrameSpec(),
    progress: bool = False,
) -> Path:
    """Writes the simulated data set; the same seed gives the same bytes.

    The sample is written beside `folder` under a temporary name and renamed
    when complete.  An older sample of the same name is replaced; anything
    else is left alone.

    Args:
        folder: Where the sample goes.
        seed: Of the world and its videos; a whole number from 0.
        num_videos: In all three splits together, at least 12.
        spec: Sizes of frame, video and segment.
        progress: Print a line a shard.

    Returns:
        `folder` as a path.

    Raises:
        ValueError: If a number is out of range, or `folder` holds something
            other than a sample.
    """
    for name, value, least in (("seed", seed, 0),
                               ("num_videos", num_videos, 12)):  # fmt: skip
        whole = isinstance(value, int | np.integer)
        if not whole or isinstance(value, bool) or value < least:
            raise ValueError(
                f"`{name}` must be a whole number of at least {least}. "
                f"Received: {name}={value!r}"
            )
    folder = Path(folder)
    if folder.exists() and not is_sample(folder):
        if not folder.is_dir() or any(folder.iterdir()):
            raise ValueError(
                "A sample replaces only an older sample: name a new or empty "
                f"folder. Received: folder={str(folder)!r}"
            )
    world = World(int(seed), spec)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-",
                                    dir=folder.parent))  # fmt: skip
    try:
        made = scratch / "sample"
        _write(made, world, int(num_videos), progress)
        if folder.exists():
            os.replace(folder, scratch / "replaced")
        os.replace(made, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _write(folder, world, num_videos, progress):
    """Writes every file of a sample into a folder that does not exist yet."""
    counts = {split: round(num_videos * SHARES[split]) for split in SHARES}
    counts["train"] += num_videos - sum(counts.values())
    rng = np.random.default_rng([world.seed, 3])
    digits = rng.choice(62**4, num_videos, replace=False)
    ids = ["".join(ID_CHARACTERS[n // 62**k % 62] for k in range(4))
           for n in digits]  # fmt: skip
    tables, label_counts, first = {}, None, 0
    for split, count in counts.items():
        numbers = range(first, first + count)
        tables[split] = _write_split(
            folder / split, world, split, numbers, ids, progress
        )
        first += count
    label_counts = tables["train"][2]
    ratings, truth, _ = tables["test"]
    ratings.to_csv(folder / "test_ratings.csv", index=False)
    truth.to_csv(folder / "test_truth.csv", index=False)
    _vocabulary(world, label_counts).to_csv(
        folder / "vocabulary.csv", index=False
    )
    rated = pd.DataFrame({"Index": world.ids[world.rated]})
    rated.to_csv(folder / "segment_label_ids.csv", index=False)
    card = {
        "format": "kit.synthetic",
        "format_version": FORMAT_VERSION,
        "simulated": True,
        "statement": "Simulated data: no video, label or rating in this "
        "folder is real. Written by kit.synthetic.write_sample.",
        "seed": world.seed,
        "num_videos": num_videos,
        "splits": counts,
        "spec": dataclasses.asdict(world.spec),
    }
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")


def _write_split(folder, world, split, numbers, ids, progress):
    """Writes one split's shards; returns its ratings, truth and label counts.

    The truth has a row for every segment and rated class, true or not.
    """
    import tensorflow as tf

    folder.mkdir(parents=True)
    step, classes = world.spec.segment_frames, world.ids[world.rated]
    ratings, truth = [], []
    label_counts = pd.Series(0, index=world.ids)
    for shard, start in enumerate(range(0, len(numbers), SHARD_VIDEOS)):
        path = folder / f"{split}{shard:02d}.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for number in numbers[start : start + SHARD_VIDEOS]:
                video = world.video(number, rated=split != "train")
                name = ids[number]
                writer.write(_record(name, video, split, world.spec))
                label_counts[video.labels] += 1
                ratings += [(name, s * step, *rest)
                            for s, *rest in video.ratings]  # fmt: skip
                segments, columns = np.indices(video.holds.shape)
                truth.append(
                    pd.DataFrame(
                        {
                            "video_id": name,
                            "start": step * segments.ravel(),
                            "label": classes[columns.ravel()],
                            "score": video.holds.ravel().astype(int),
                        }
                    )
                )
        if progress:
            print(f"wrote {path.name}", flush=True)
    ratings = pd.DataFrame(ratings, columns=COLUMNS)
    return ratings, pd.concat(truth, ignore_index=True), label_counts


def _record(name, video, split, spec):
    """A serialised `tf.train.SequenceExample` with the fields of its split."""
    import tensorflow as tf

    def numbers(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def frames(rows):
        return tf.train.FeatureList(
            feature=[
                tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[row.tobytes()])
                )
                for row in rows
            ]
        )

    value = tf.train.BytesList(value=[name.encode()])
    context = {"id": tf.train.Feature(bytes_list=value)}
    if split != "test":
        context["labels"] = numbers(video.labels)
    if split == "validate":
        starts = [spec.segment_frames * segment for segment, _, _ in
                  video.ratings]  # fmt: skip
        scores = [float(score) for _, _, score in video.ratings]
        context |= {
            "segment_start_times": numbers(starts),
            "segment_end_times": numbers(
                [start + spec.segment_frames for start in starts]
            ),
            "segment_labels": numbers([label for _, label, _ in
                                       video.ratings]),
            "segment_scores": tf.train.Feature(
                float_list=tf.train.FloatList(value=scores)
            ),
        }  # fmt: skip
    rgb, audio = np.split(video.frames, [spec.rgb], axis=1)
    lists = {"rgb": frames(rgb), "audio": frames(audio)}
    return tf.train.SequenceExample(
        context=tf.train.Features(feature=context),
        feature_lists=tf.train.FeatureLists(feature_list=lists),
    ).SerializeToString(deterministic=True)


def _vocabulary(world, label_counts):
    """The classes in the columns of YouTube-8M's `vocabulary.csv`."""
    topics = [f"Topic {topic}" for topic in world.topic]
    names = [f"Concept {number} ({senses})" for number, senses in
             zip(world.ids, world.senses, strict=True)]  # fmt: skip
    names[-1] = ""  # as some are in the real file
    return pd.DataFrame(
        {
            "Index": world.ids,
            "TrainVideoCount": label_counts.to_numpy(),
            "KnowledgeGraphId": [f"/m/sim{number:03d}" for number in world.ids],
            "Name": names,
            "WikiUrl": "",
            "Vertical1": topics,
            "Vertical2": "",
            "Vertical3": "",
            "WikiDescription": "Simulated; stands for nothing real.",
        }
    )


def is_sample(folder: str | os.PathLike) -> bool:
    """Whether `folder` is a sample that :func:`write_sample` wrote."""
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


def _load(folder, name):
    read_card(folder)
    # An id such as `1e05` or `null` is text, whatever pandas thinks.
    return pd.read_csv(
        Path(folder) / name, dtype={"video_id": str}, keep_default_na=False
    )


def load_test_ratings(folder: str | os.PathLike) -> pd.DataFrame:
    """The test split's ratings: columns video_id, start, label, score."""
    return _load(folder, "test_ratings.csv")


def load_truth(folder: str | os.PathLike) -> pd.DataFrame:
    """The planted truth of the test split, in the columns of ratings.

    There is a row for every segment and rated class; `score` is 1 where the
    concept fills at least half of the segment's frames.
    """
    return _load(folder, "test_truth.csv")


class Oracle:
    """Scores segments knowing the planted signatures: a ceiling to compare to.

    For each class it adds up, frame by frame, the log-likelihood ratio of
    "the concept is here" against "it is not", from a matched filter in the
    latent space.  Ordered concepts are matched with their two signatures in
    turn, at every phase.  It looks at the segment alone and at no label.

    Args:
        folder: A sample.  The signatures follow from its seed.

    Attributes:
        class_ids: Vocabulary ids of the columns, ascending.
    """

    def __init__(self, folder: str | os.PathLike):
        card = read_card(folder)
        self.world = World(card["seed"], FrameSpec(**card["spec"]))
        self.class_ids = self.world.ids[self.world.rated]
        self._unmix = np.linalg.pinv(self.world.mixing)
        self._precision = np.linalg.inv(self._covariance())

    def _covariance(self):
        """Of a frame in which the sought concept is not."""
        c, size = self.world.constants, sum(self.world.latent)
        spread = 1 + c.video_spread**2 + c.drift_rank * c.drift_gain**2 / size
        return spread * np.eye(size)

    def score(
        self, frames: np.ndarray, num_frames: int | None = None
    ) -> np.ndarray:
        """Scores every segment of one video.

        Args:
            frames: uint8 `(T, D)`, one video without padding.
            num_frames: Look at so many frames in the middle of a segment;
                `None` looks at all.

        Returns:
            Array `(segments, classes)`, higher where the concept is likelier.
        """
        c, world = self.world.constants, self.world
        unit = world.spec.segment_frames
        values = frames * (4 / 255) + (4 / 512 - 2)
        latent = values @ self._unmix  # (T, latent)
        shapes = world.signatures[world.rated]  # (C, 2, latent)
        filters = c.gain * shapes @ self._precision
        peak = np.einsum("cpz,cpz->cp", filters, c.gain * shapes)
        match = np.einsum("tz,cpz->tcp", latent, filters) - peak / 2
        plain = np.logaddexp(
            np.log(1 - c.visible), np.log(c.visible) + match[..., 0]
        )
        beat = np.arange(len(frames))[:, None] - np.arange(c.cycle)
        turn = (beat % c.cycle)[:, None]  # (T, 1, cycle)
        ordered = np.where(turn == 0, match[..., :1],
                           np.where(turn == 1, match[..., 1:], 0.0))
        evidence = np.where(
            world.ordered[world.rated][:, None], ordered, plain[..., None]
        )  # (T, C, cycle)
        if num_frames is not None:
            place = np.arange(len(frames)) % unit
            before = (unit - num_frames) // 2
            evidence[(place < before) | (place >= before + num_frames)] = 0
        starts = np.arange(0, len(frames), unit)
        total = np.add.reduceat(evidence, starts, axis=0)
        return np.logaddexp.reduce(total, axis=-1)  # (S, C)
