"""How predictions of shifted windows become scores of segments."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np

from kit import ensemble, models
from kit.inference.windows import segment_probabilities, shift_range
from kit.ranking import Ranking

AVERAGING = ("mean", "geometric", "rank")
# Puts a class that is no candidate behind all that are, however sure.
LAST = 2.0**-64


def weights_digest(model: keras.Model) -> str:
    """Tells trained models apart: of their weights and classes."""
    digest = hashlib.blake2b(digest_size=16)
    for weights in (models.class_ids(model), *model.get_weights()):
        digest.update(np.ascontiguousarray(weights).data)
    return digest.hexdigest()


def _made_by(model, predict):
    """Notes whose prediction a function makes, for `Scoring` to check."""
    predict.class_ids = models.class_ids(model)
    predict.digest = f"{predict.__qualname__} {weights_digest(model)}"
    return predict


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

    return _made_by(model, predict)


def over_whole_video(model: keras.Model) -> Callable:
    """What a model says of a video when it sees all frames at once.

    Returns:
        A function for the `video_level` of `rank_segments`.
    """

    def predict(frames, mask):
        return model.predict_on_batch({"frames": frames, "mask": mask})

    return _made_by(model, predict)


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
            `(batch_size, num_classes)`.  A function of your own may carry
            the `class_ids` of its columns, which are then checked, and a
            `digest`, which tells it from others when a run goes on.
        multiply: Whether these multiply those of the video's segments.
        top_classes: A segment is a candidate for so many classes, those that
            `video_level` finds most probable in its video.  For the others
            it comes last, so that no class is left without a list.
        plain: Whether to collect the unshifted scores as well; at full size
            this takes another GB.
        segment_frames: Frames in a segment.

    Raises:
        ValueError: For an unknown averaging, numbers below zero, a bad range
            of shifts, `top_classes` without `video_level`, or this without
            anything to do.
    """

    shifts: tuple[int, int] = (0, 0)
    averaging: str = "mean"
    leave_out: tuple[int, int] = (0, 0)
    video_level: Callable | None = None
    multiply: bool = True
    top_classes: int | None = None
    plain: bool = True
    segment_frames: int = 5
    used: tuple[int, ...] = field(init=False)
    computed: tuple[int, ...] = field(init=False)

    def __post_init__(self):
        self.used = shift_range(*self.shifts, self.segment_frames)
        self.computed = self.used
        if self.plain and 0 not in self.used:
            self.computed = (*self.used, 0)
        if self.averaging not in AVERAGING:
            raise ValueError(
                f"`averaging` must be one of {AVERAGING}. "
                f"Received: averaging={self.averaging!r}"
            )
        if len(self.leave_out) != 2 or min(self.leave_out) < 0:
            raise ValueError(
                "`leave_out` says how many segments to leave out at the start "
                f"and at the end. Received: leave_out={self.leave_out}"
            )
        top = self.top_classes
        if top is not None and (
            self.video_level is None or top < 1 or top != int(top)
        ):
            raise ValueError(
                "`top_classes` picks at least one class by what `video_level` "
                "says: give both. Received: "
                f"top_classes={top}, video_level={self.video_level}"
            )
        if self.video_level is not None and not self.multiply and top is None:
            raise ValueError(
                "What `video_level` says multiplies, or picks `top_classes`. "
                "Received: multiply=False, top_classes=None"
            )

    @property
    def names(self) -> list[str]:
        """The lists that are collected: unshifted, and what TTA needs."""
        plain = ["plain"] if self.plain else []
        if self.averaging == "rank":
            return [*plain, *(f"shift{shift:+d}" for shift in self.used)]
        return [*plain, "tta"]

    def check_classes(self, class_ids) -> None:
        """Refuses a `video_level` that has other classes than the model."""
        found = getattr(self.video_level, "class_ids", class_ids)
        if not np.array_equal(found, class_ids):
            raise ValueError(
                "`video_level` must have the classes of the model, in its "
                "order: see `models.restrict_classes`. Received: "
                f"{len(found)} classes, {np.asarray(found)[:9].tolist()}, for "
                f"{len(class_ids)}, {np.asarray(class_ids)[:9].tolist()}"
            )

    def of_videos(self, model, frames, mask):
        """Scores every segment of a batch of videos.

        Returns:
            Rows `(n,)`, starts `(n,)` and, by name, scores
            `(n, num_classes)`.
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
            video = np.asarray(self.video_level(frames, mask), np.float32)
            self._weigh(scores, rows, video, len(mask))
        counts = -(-mask.sum(axis=1) // self.segment_frames)
        number = starts // self.segment_frames
        first, last = self.leave_out
        kept = (number >= first) & (number < counts[rows] - last)
        return rows[kept], starts[kept], {n: s[kept] for n, s in scores.items()}

    def finish(self, lists, k) -> dict[str, Ranking]:
        """`"tta"` and, where collected, `"plain"` from the lists of `names`."""
        if self.averaging != "rank":
            return lists
        shifted = [lists.pop(f"shift{shift:+d}") for shift in self.used]
        fused = ensemble.fuse(shifted, np.ones(len(shifted)), k=k)
        return {**lists, "tta": fused}

    def _averaged(self, probabilities):
        """Scores by name from probabilities `(shifts, n, num_classes)`."""
        found = {}
        if self.plain:
            found["plain"] = probabilities[self.computed.index(0)]
        used = probabilities[: len(self.used)]
        if self.averaging == "rank":
            for shift, scores in zip(self.used, used, strict=True):
                found[f"shift{shift:+d}"] = scores
        elif self.averaging == "mean":
            found["tta"] = used.mean(axis=0)
        else:
            logs = np.log(np.maximum(used, np.finfo(np.float32).tiny))
            found["tta"] = np.exp(logs.mean(axis=0))
        return found

    def _weigh(self, scores, rows, video, num_videos):
        """Weighs and filters by the video's probabilities, in place."""
        num_classes = next(iter(scores.values())).shape[1]
        if (
            video.shape != (num_videos, num_classes)
            or not ((video >= 0) & (video <= 1)).all()
        ):
            raise ValueError(
                "`video_level` must return a probability a video and class, "
                f"({num_videos}, {num_classes}). Received: {video.shape}, "
                f"from {video.min(initial=1)} to {video.max(initial=0)}"
            )
        # Equal probabilities: the class that comes first.
        order = np.argsort(-video, axis=1, kind="stable")
        candidate = np.zeros(video.shape, bool)
        np.put_along_axis(candidate, order[:, : self.top_classes], True, axis=1)
        for name, values in scores.items():
            if self.multiply:
                values = values * video[rows]
            if self.top_classes is not None:
                values = np.where(
                    candidate[rows],
                    np.maximum(values, np.float32(2 * LAST)),
                    values * np.float32(LAST),
                )
            scores[name] = values
