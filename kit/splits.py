"""The hold-out: the one place that says which videos are never trained on."""

from dataclasses import dataclass

import numpy as np

BUCKETS = 2**48  # their numbers are exact in a float64


@dataclass(frozen=True)
class Part:
    """The videos whose id, hashed to [0, 1), falls in `[start, stop)`.

    Every reader and every pack asks `select`; there is no other rule. The
    hash sees the seed and the id alone, so a video falls on the same side
    whatever shard, folder, order or partition it is met in. Shard names could
    not do this: the same video sits in different shards of partitions 2 and 3.

    Args:
        seed: Whole number from 0 to 2**63 - 1. Another seed, another cut.
        start, stop: The share of the videos, from 0 to 1.

    Raises:
        ValueError: Where an argument is out of range.
    """

    seed: int
    start: float
    stop: float

    def __post_init__(self):
        whole = isinstance(self.seed, int | np.integer)
        if not whole or not 0 <= self.seed < 2**63:
            rule = "`seed` must be a whole number from 0 to 2**63 - 1."
            raise ValueError(f"{rule} Received: seed={self.seed!r}")
        if not 0 <= self.start <= self.stop <= 1:
            raise ValueError(
                "A part must lie between 0 and 1: give the shares of the "
                "videos where it starts and stops. "
                f"Received: start={self.start!r}, stop={self.stop!r}"
            )

    def select(self, video_ids):
        """Which of `video_ids` belong to this part.

        Args:
            video_ids: Ids as text or bytes, a list or an array of shape
                `(n,)`; text and its UTF-8 bytes are the same id. Or a string
                tensor of any shape.

        Returns:
            A bool array of shape `(n,)`; for a tensor, a bool tensor.
        """
        import tensorflow as tf

        if tf.is_tensor(video_ids):
            return self._select(video_ids)
        ids = np.asarray(video_ids).ravel().tolist()
        return self._select(tf.constant(ids, tf.string)).numpy()

    def _select(self, video_ids):
        import tensorflow as tf

        key = [int(self.seed), 0]
        bucket = tf.strings.to_hash_bucket_strong(video_ids, BUCKETS, key)
        # In whole numbers, so that parts that touch neither overlap nor gape.
        first, last = (round(cut * BUCKETS) for cut in (self.start, self.stop))
        return (bucket >= first) & (bucket < last)


EVERY_VIDEO = Part(seed=0, start=0.0, stop=1.0)


@dataclass(frozen=True)
class Holdout:
    """A cut of the videos into those to train on and those held out.

    The hold-out is cut once more, by the same hash, into two halves:
    `checkpoint` chooses checkpoints and `ensemble` fits the weights of the
    ensemble, so that neither is judged on what chose it.

    Args:
        fraction: Share of the videos to hold out, from 0 to 1. The default is
            300 of 3,844 shards, as in the authors' code.
        seed: Whole number from 0 to 2**63 - 1.

    Raises:
        ValueError: Where `fraction` or `seed` is out of range.

    Example:

    >>> Holdout(fraction=0.5).holdout
    Part(seed=0, start=0.0, stop=0.5)
    """

    fraction: float = 300 / 3844
    seed: int = 0

    def __post_init__(self):
        if not 0 <= self.fraction <= 1:
            raise ValueError(
                "`fraction` must lie between 0 and 1: give the share of the "
                f"videos to hold out. Received: fraction={self.fraction!r}"
            )
        Part(self.seed, 0.0, 1.0)

    @property
    def training(self) -> Part:
        return Part(self.seed, self.fraction, 1.0)

    @property
    def holdout(self) -> Part:
        return Part(self.seed, 0.0, self.fraction)

    @property
    def checkpoint(self) -> Part:
        return Part(self.seed, 0.0, self.fraction / 2)

    @property
    def ensemble(self) -> Part:
        return Part(self.seed, self.fraction / 2, self.fraction)
