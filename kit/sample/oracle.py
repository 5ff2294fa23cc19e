"""An oracle for the simulated sample: what the planted signatures allow."""

import os

import numpy as np

from kit.sample import constants as c
from kit.sample.folder import read_card
from kit.sample.world import World
from kit.spec import FrameSpec


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

    def score(self, frames: np.ndarray) -> np.ndarray:
        """Scores every segment of one video.

        Args:
            frames: uint8 `(T, D)`, without padding.

        Returns:
            Array `(segments, classes)`, higher where the concept is likelier.
        """
        starts = np.arange(0, len(frames), self.world.spec.segment_frames)
        total = np.add.reduceat(self._evidence(frames), starts, axis=0)
        return np.logaddexp.reduce(total, axis=-1)  # (segments, C)

    def _evidence(self, frames):
        """Log-likelihood ratios `(T, C, phase)` of concept against none."""
        world = self.world
        values = frames * (4 / 255) + (4 / 512 - 2)
        latent = np.einsum("td,dz->tz", values, self._unmix)
        drift = c.DRIFT_RANK * c.DRIFT_GAIN**2 / latent.shape[1]
        variance = 1 + c.VIDEO_SPREAD**2 + drift
        signatures = c.GAIN * world.signatures[world.rated]  # (C, 2, latent)
        match = np.einsum("tz,cpz->tcp", latent, signatures)
        match = (match - (signatures**2).sum(-1) / 2) / variance

        def shown(share):  # in this share of the frames
            return np.logaddexp(np.log1p(-share), np.log(share) + match)

        passing = shown(c.FLASH / world.ids.size)  # (T, C, 2)
        steady = (shown(c.VISIBLE) - passing)[..., :1]
        one, two = np.split(match - passing, 2, axis=-1)
        beat = np.arange(len(frames))[:, None] - np.arange(c.CYCLE)
        beat = beat[:, None] % c.CYCLE  # (T, 1, phase)
        in_turn = np.select([beat == 0, beat == 1], [one, two], 0.0)
        return np.where(world.ordered[world.rated][:, None], in_turn, steady)
