"""An oracle for the simulated sample: what the planted signatures allow."""

import os

import numpy as np

from kit.spec import FrameSpec
from kit.synthetic.sample import read_card
from kit.synthetic.world import World


class Oracle:
    """Scores segments knowing the planted signatures, for a reference row.

    Frame by frame it adds up the log-likelihood ratio of "the concept is
    here" against "it is not", from a matched filter in the latent space.
    Ordered concepts are matched with their two signatures in turn, at every
    phase.  It looks at the segment alone: at no label and at no context.

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

    def score(
        self, frames: np.ndarray, num_frames: int | None = None
    ) -> np.ndarray:
        """Scores every segment of one video.

        Args:
            frames: uint8 `(T, D)`, without padding.
            num_frames: Look at so many frames about the middle of a segment;
                `None` looks at the segment.

        Returns:
            Array `(segments, classes)`, higher where the concept is likelier.

        Raises:
            ValueError: If `frames` is not uint8 `(T, D)`.
        """
        frames, dim = np.asarray(frames), self.world.spec.dim
        if frames.dtype != np.uint8 or frames.shape[1:] != (dim,):
            raise ValueError(
                f"`frames` must be uint8 of shape (T, {dim}): give the bytes "
                "of one video, rgb and audio side by side. Received: "
                f"frames={frames.dtype} of shape {frames.shape}"
            )
        evidence = np.cumsum(self._evidence(frames), axis=0)
        evidence = np.concatenate([0 * evidence[:1], evidence])  # (T + 1, ...)
        unit = self.world.spec.segment_frames
        width = unit if num_frames is None else num_frames
        first = np.arange(0, len(frames), unit) + (unit - width) // 2
        last = np.clip(first + width, 0, len(frames))
        total = evidence[last] - evidence[np.clip(first, 0, len(frames))]
        return np.logaddexp.reduce(total, axis=-1)  # (segments, C)

    def _evidence(self, frames):
        """Log-likelihood ratios `(T, C, phase)` of concept against none."""
        world, c = self.world, self.world.constants
        values = frames * (4 / 255) + (4 / 512 - 2)
        latent = np.einsum("td,dz->tz", values, self._unmix)
        drift = c.drift_rank * c.drift_gain**2 / latent.shape[1]
        variance = 1 + c.video_spread**2 + drift
        signatures = c.gain * world.signatures[world.rated]  # (C, 2, latent)
        match = np.einsum("tz,cpz->tcp", latent, signatures)
        match = (match - (signatures**2).sum(-1) / 2) / variance

        def shown(share):  # in this share of the frames
            return np.logaddexp(np.log1p(-share), np.log(share) + match)

        passing = shown(c.flash / world.ids.size)  # (T, C, 2)
        steady = (shown(c.visible) - passing)[..., :1]
        one, two = np.split(match - passing, 2, axis=-1)
        beat = np.arange(len(frames))[:, None] - np.arange(c.cycle)
        beat = beat[:, None] % c.cycle  # (T, 1, phase)
        in_turn = np.select([beat == 0, beat == 1], [one, two], 0.0)
        return np.where(world.ordered[world.rated][:, None], in_turn, steady)
