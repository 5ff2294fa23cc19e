"""The hold-out: the one place that says which videos are never trained on."""

import hashlib
from dataclasses import dataclass

import numpy as np

PARTS = ("all", "training", "holdout", "checkpoint", "ensemble")


@dataclass(frozen=True)
class Holdout:
    """A cut of the videos by a hash of their id.

    Every reader and every pack asks `select`; there is no other rule.  The
    hash sees the seed and the id alone, so a video falls on the same side
    whatever shard, folder, order or partition it is met in.  Shard names
    could not do this: the same video sits in different shards of partitions
    2 and 3.

    The hold-out is cut once more, by the same hash, into two halves:
    `"checkpoint"` chooses checkpoints and `"ensemble"` fits the weights of
    the ensemble, so that neither is judged on what chose it.

    Args:
        fraction: Share of the videos to hold out, from 0 to 1.  The default
            is 300 of 3,844 shards, as in the authors' code.
        seed: Whole number from 0 to 2**64 - 1.  Another seed, another cut.

    Raises:
        ValueError: Where `fraction` or `seed` is out of range.

    Example:

    >>> half = Holdout(fraction=0.5)
    >>> half.select([b"op00", "op00"], "holdout").tolist()
    [True, True]
    """

    fraction: float = 300 / 3844
    seed: int = 0

    def __post_init__(self):
        if not 0 <= self.fraction <= 1:
            raise ValueError(
                "`fraction` must lie between 0 and 1: give the share of the "
                f"videos to hold out. Received: fraction={self.fraction!r}"
            )
        whole = isinstance(self.seed, int | np.integer)
        if not whole or not 0 <= self.seed < 2**64:
            raise ValueError(
                "`seed` must be a whole number from 0 to 2**64 - 1. "
                f"Received: seed={self.seed!r}"
            )

    def select(self, video_ids, part: str) -> np.ndarray:
        """Which of `video_ids` belong to `part`.

        Args:
            video_ids: Ids as bytes or text, of shape `(n,)`; text and its
                UTF-8 bytes are the same id.
            part: `"all"`, `"training"` (not held out), `"holdout"`, or one of
                its halves `"checkpoint"` and `"ensemble"`.

        Returns:
            A bool array of shape `(n,)`.

        Raises:
            ValueError: Where `part` is none of `PARTS`.
        """
        check_part(part)
        ids = [
            video_id.encode() if isinstance(video_id, str) else video_id
            for video_id in np.asarray(video_ids).reshape(-1).tolist()
        ]
        if part == "all":
            return np.ones(len(ids), bool)
        position = np.fromiter(map(self._position, ids), float, len(ids))
        if part == "training":
            return position >= self.fraction
        if part == "holdout":
            return position < self.fraction
        first_half = position < self.fraction / 2
        if part == "checkpoint":
            return first_half
        return (position < self.fraction) & ~first_half

    def _position(self, video_id: bytes) -> float:
        """Where the id falls in [0, 1): uniform, and fixed by the seed."""
        salt = int(self.seed).to_bytes(8, "little")
        digest = hashlib.blake2b(video_id, digest_size=6, salt=salt).digest()
        # 48 bits fit a float64 exactly, so that the result is below 1.
        return int.from_bytes(digest, "little") / 2**48


def check_part(part: str) -> None:
    """Raises `ValueError` where `part` is none of `PARTS`."""
    if part not in PARTS:
        raise ValueError(
            f"`part` must be one of {', '.join(map(repr, PARTS))}. "
            f"Received: part={part!r}"
        )
