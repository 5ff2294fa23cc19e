"""How predictions of shifted windows become scores of segments."""

from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np

from kit import ensemble, models
from kit.inference.windows import segment_probabilities, shift_range
from kit.ranking import Ranking

AVERAGING = ("mean", "geometric", "rank")


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
        plain: Whether to collect the unshifted scores as well; at full size
            this takes another GB.
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
        plain = ["plain"] if self.plain else []
        if self.averaging == "rank":
            return [*plain, *(f"shift{shift:+d}" for shift in self.used)]
        return [*plain, "tta"]

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
