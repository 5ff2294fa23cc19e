"""Every segment of every video ranked, one shard after the other."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from kit import data, ensemble, models
from kit.inference.windows import segment_probabilities, shift_range
from kit.ranking import Ranking, TopK
from kit.splits import Holdout

FORMAT = 1
AVERAGING = ("mean", "geometric", "rank")
SAVE_SECONDS = 300
# Read in one stretch: a test shard holds a dozen videos, too few for a batch.
SHARDS_AT_ONCE = 32


def mean_over_snippets(model: keras.Model) -> Callable:
    """What a model of five frames says of a video: its mean over segments.

    Returns:
        A function for the `video_level` of `rank_segments`.
    """

    def predict(frames, mask):
        total = np.zeros((len(frames), len(models.class_ids(model))))
        for rows, _, (probabilities,) in segment_probabilities(
            model, frames, mask
        ):
            np.add.at(total, rows, probabilities)
        length = models.frame_spec(model).segment_frames
        return total / -(-mask.sum(axis=1) // length)[:, None]

    return predict


def over_whole_video(model: keras.Model) -> Callable:
    """What a model says of a video when it sees all frames at once.

    Returns:
        A function for the `video_level` of `rank_segments`.
    """

    def predict(frames, mask):
        return model.predict_on_batch({"frames": frames, "mask": mask})

    return predict


@dataclass
class Scoring:
    """How probabilities of shifted windows become scores of segments.

    Args:
        shifts: First and last shift of the test-time augmentation.
        averaging: Of the shifts: `"mean"` of probabilities, `"geometric"`
            mean, or fusion by `"rank"` as in the released code.
        leave_out: How many segments at the start and at the end of a video
            are not ranked; annotators of YouTube-8M never rated the first 6
            and the last 2.
        video_level: From frames and mask to probabilities of the video,
            `(batch_size, num_classes)`, which multiply those of its segments.
        top_classes: Rank a segment only for so many classes, those that
            `video_level` finds most probable in its video.
        segment_frames: Frames in a segment.

    Raises:
        ValueError: For an unknown averaging, numbers below zero, a bad range
            of shifts, or `top_classes` without `video_level`.
    """

    shifts: tuple[int, int] = (0, 0)
    averaging: str = "mean"
    leave_out: tuple[int, int] = (0, 0)
    video_level: Callable | None = None
    top_classes: int | None = None
    segment_frames: int = 5
    used: tuple[int, ...] = field(init=False)
    computed: tuple[int, ...] = field(init=False)

    def __post_init__(self):
        self.used = shift_range(*self.shifts, self.segment_frames)
        self.computed = self.used if 0 in self.used else (*self.used, 0)
        if self.averaging not in AVERAGING:
            raise ValueError(
                f"`averaging` must be one of {AVERAGING}. "
                f"Received: averaging={self.averaging!r}"
            )
        if min(self.leave_out) < 0 or len(self.leave_out) != 2:
            raise ValueError(
                "`leave_out` says how many segments to leave out at the start "
                f"and at the end. Received: leave_out={self.leave_out}"
            )
        if self.top_classes is not None and (
            self.video_level is None or self.top_classes < 1
        ):
            raise ValueError(
                "`top_classes` picks at least one class by what `video_level` "
                "says: give both. Received: "
                f"top_classes={self.top_classes}, "
                f"video_level={self.video_level}"
            )

    @property
    def names(self) -> list[str]:
        """The lists that are collected: unshifted, and what TTA needs."""
        if self.averaging == "rank":
            return ["plain", *(f"shift{shift:+d}" for shift in self.used)]
        return ["plain", "tta"]

    def of_videos(self, model, frames, mask):
        """Scores every segment of a batch of videos.

        Returns:
            Rows `(n,)`, starts `(n,)` and, by name, scores
            `(n, num_classes)`; -inf where a segment is no candidate.
        """
        blocks = segment_probabilities(model, frames, mask, self.computed)
        rows, starts, scores = [], [], {name: [] for name in self.names}
        for block_rows, block_starts, probabilities in blocks:
            rows.append(block_rows)
            starts.append(block_starts)
            for name, values in self._averaged(probabilities).items():
                scores[name].append(values)
        rows, starts = np.concatenate(rows), np.concatenate(starts)
        scores = {n: np.concatenate(parts) for n, parts in scores.items()}
        if self.video_level is not None:
            self._weigh(scores, rows, self.video_level(frames, mask))
        counts = -(-mask.sum(axis=1) // self.segment_frames)
        number = starts // self.segment_frames
        first, last = self.leave_out
        kept = (number >= first) & (number < counts[rows] - last)
        return rows[kept], starts[kept], {n: s[kept] for n, s in scores.items()}

    def _averaged(self, probabilities):
        """Scores by name from probabilities `(shifts, n, num_classes)`."""
        plain = probabilities[self.computed.index(0)]
        used = probabilities[: len(self.used)]
        if self.averaging == "rank":
            return {"plain": plain, **dict(zip(self.names[1:], used,
                                               strict=True))}  # fmt: skip
        if len(used) == 1:
            return {"plain": plain, "tta": used[0]}
        if self.averaging == "geometric":
            logs = np.log(np.maximum(used, np.finfo(np.float32).tiny))
            return {"plain": plain, "tta": np.exp(logs.mean(axis=0))}
        return {"plain": plain, "tta": used.mean(axis=0)}

    def _weigh(self, scores, rows, video):
        """Multiplies by the video's probabilities, in place."""
        factor = np.array(video, np.float32)
        if self.top_classes is not None and self.top_classes < factor.shape[1]:
            # Equal probabilities: the class that comes first.
            order = np.argsort(-factor, axis=1, kind="stable")
            np.put_along_axis(
                factor, order[:, self.top_classes :], -np.inf, axis=1
            )
        for name, values in scores.items():
            weighed = np.where(
                factor[rows] < 0, -np.inf, values * np.abs(factor[rows])
            )
            scores[name] = weighed.astype(np.float32)


def rank_segments(
    model: keras.Model,
    shards,
    *,
    shifts: tuple[int, int] = (0, 0),
    averaging: str = "mean",
    leave_out: tuple[int, int] = (0, 0),
    video_level: Callable | None = None,
    top_classes: int | None = None,
    holdout: Holdout | None = None,
    part: str = "all",
    k: int = 100_000,
    batch_size: int = 32,
    on_error: str = "stop",
    folder=None,
    progress: Callable | None = None,
) -> dict[str, Ranking]:
    """Ranks every segment of every video for each class of the model.

    To spread the work over machines or GPUs give each a slice of the shards
    and `Ranking.merge` the results: that is the ranking of a single run.

    Args:
        model: Its classes are the ones ranked; see `models.restrict_classes`.
        shards: From `data.list_shards`.
        shifts, averaging, leave_out, video_level, top_classes: See `Scoring`.
        holdout: The hold-out that `part` speaks of.
        part: Which videos, see `kit.splits`.
        k: Longest list of a class.
        batch_size: Videos read at a time.
        on_error: `"stop"` or `"skip"`, see `kit.data`.
        folder: Scratch in which the state is kept every five minutes, so that
            the same call goes on after a kill, to the identical result.  At
            full size it takes 0.8 GB a list.
        progress: Called with (shards done, shards, segments so far) as it
            goes on, such as `print_progress()`.

    Returns:
        `"tta"` and `"plain"`, the `Ranking` with and without shifts, both
        from the same pass.

    Raises:
        ValueError: For bad options or records, a video in two shards, or a
            `folder` that holds the state of another run.
    """
    scoring = Scoring(
        shifts,
        averaging,
        leave_out,
        video_level,
        top_classes,
        models.frame_spec(model).segment_frames,
    )
    class_ids = models.class_ids(model)
    best = {name: TopK(class_ids, k) for name in scoring.names}
    state = _State(folder, best, model, shards, scoring, (holdout, part, k))
    count = state.restore()
    reading = dict(
        num_classes=None,
        spec=models.frame_spec(model),
        batch_size=batch_size,
        holdout=holdout or Holdout(),
        part=part,
        with_ids=True,
        on_error=on_error,
        empty_ok=True,
    )
    for first in range(state.done, len(shards), SHARDS_AT_ONCE):
        stretch = shards[first : first + SHARDS_AT_ONCE]
        for inputs, _, ids in data.videos(
            stretch, **reading
        ).as_numpy_iterator():
            rows, starts, scores = scoring.of_videos(model, **inputs)
            for name, values in scores.items():
                best[name].add(values, ids[rows], starts)
            count += len(rows)
        state.keep(first + len(stretch))
        if progress:
            progress(first + len(stretch), len(shards), count)
    rankings = {name: collector.ranking() for name, collector in best.items()}
    state.remove()
    if averaging != "rank":
        return rankings
    shifted = [rankings[name] for name in scoring.names[1:]]
    fused = ensemble.fuse(shifted, np.ones(len(shifted)), k=k)
    return {"plain": rankings["plain"], "tta": fused}


def print_progress(seconds: float = 10.0) -> Callable:
    """Prints shards, segments a second and the time left, now and then."""
    begin = last = time.monotonic()
    before = None

    def progress(done, shards, segments):
        nonlocal last, before
        if before is None:
            before = done - 1  # a resumed run did these earlier
        now = time.monotonic()
        if now - last < seconds and done < shards:
            return
        last = now
        left = (now - begin) / (done - before) * (shards - done)
        rate = segments / (now - begin) if not before else float("nan")
        print(
            f"shard {done}/{shards}: {segments:,} segments, {rate:,.0f}/s, "
            f"{left / 60:.1f} min left",
            flush=True,
        )

    return progress


class _State:
    """What a run of `rank_segments` has collected, kept on disk."""

    def __init__(self, folder, best, model, shards, scoring, other):
        self.folder = None if folder is None else Path(folder)
        self.best, self.done, self.saved = best, 0, time.monotonic()
        self.run = {
            "format": FORMAT,
            "model": model_digest(model) if folder else None,
            "shards": [*map(str, shards)],
            "lists": list(best),
            "shifts": list(scoring.shifts),
            "averaging": scoring.averaging,
            "leave_out": list(scoring.leave_out),
            "top_classes": scoring.top_classes,
            "holdout, part, k": repr(other),
        }

    def restore(self) -> int:
        """Fills the collectors with what was kept; returns its segments."""
        if self.folder is None or not (self.folder / "state.json").exists():
            return 0
        kept = json.loads((self.folder / "state.json").read_text())
        if kept["run"] != self.run:
            different = [
                key for key in self.run if kept["run"].get(key) != self.run[key]
            ]
            raise ValueError(
                "A run goes on from the state of the same run; give another "
                "folder, or remove this one to start again. Received: "
                f"folder={str(self.folder)!r}, which differs in {different}"
            )
        self.done = kept["done"]
        for name, collector in self.best.items():
            ranking = Ranking.load(self._file(name, self.done))
            collector.add_ranking(ranking)
        return len(ranking.starts)

    def keep(self, done, now=False) -> None:
        """Writes the state, if five minutes have passed since the last."""
        waited = time.monotonic() - self.saved
        if self.folder is None or (waited < SAVE_SECONDS and not now):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, collector in self.best.items():
            ranking = collector.ranking()
            ranking.save(self._file(name, done))
            collector.add_ranking(ranking)
        scratch = self.folder / "state.json.tmp"
        scratch.write_text(json.dumps({"run": self.run, "done": done}))
        os.replace(scratch, self.folder / "state.json")
        for name in self.best:
            if self.done:
                self._file(name, self.done).unlink(missing_ok=True)
        self.done, self.saved = done, time.monotonic()

    def remove(self) -> None:
        """Forgets the state of a run that ended."""
        if self.folder is not None and self.done:
            (self.folder / "state.json").unlink(missing_ok=True)
            for name in self.best:
                self._file(name, self.done).unlink(missing_ok=True)

    def _file(self, name, done):
        return self.folder / f"{name}-{done}.npz"


def model_digest(model: keras.Model) -> str:
    """Tells one set of weights from another."""
    digest = hashlib.blake2b(digest_size=16)
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights).data)
    return digest.hexdigest()
