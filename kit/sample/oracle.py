"""An oracle for the sample: a reader taught with plenty of clean labels."""

import numpy as np

from kit.sample.card import read_card
from kit.sample.features import reader
from kit.sample.world import ORDERS, VISIBLE, World
from kit.spec import OFFSET, SCALE

# Of the frames so many show any one digit or sound by chance; and concepts in
# a segment, on average.
PASSING, AT_ONCE = 0.02, 0.4


class Oracle:
    """Scores segments as well as a reader of these features can hope to.

    It was taught what frames with each digit, sound and topic are like, with
    clean labels for every frame of other films; and it is told how concepts
    are shown, and how often each topic has them.  It looks at the segment
    alone, at no label and at no context, and works out how likely it contains
    each of the digits, sounds and orders that a concept needs.

    Args:
        folder: A sample.

    Attributes:
        class_ids: Vocabulary ids of the columns, ascending.
    """

    def __init__(self, folder):
        world = World(read_card(folder))
        self.class_ids, self._spec = world.ids[world.rated], world.spec
        self._parts = world.parts[world.rated].T  # (24, C)
        self._chances = AT_ONCE * world.odds @ world.parts  # (topics, 24)

    def score(self, frames: np.ndarray) -> np.ndarray:
        """Scores every segment of one video.

        Args:
            frames: uint8 `(T, D)`, without padding.

        Returns:
            Array `(segments, C)`, higher where the concept is likelier.

        Raises:
            TypeError: If `frames` is not uint8.
        """
        frames = np.asarray(frames).astype(np.uint8, casting="safe")
        weights, bias = reader(self._spec)
        ratios = (frames * SCALE + OFFSET) @ weights + bias  # (T, 30)
        starts = range(0, len(frames), self._spec.segment_frames)
        topic = np.add.reduceat(ratios[:, 20:], starts)
        topic = np.exp(topic - np.logaddexp.reduce(topic, 1, keepdims=True))
        chance = topic @ self._chances  # (segments, 24)
        odds = _evidence(ratios, starts) + np.log(chance / (1 - chance))
        return -np.logaddexp(0, -odds) @ self._parts


def _evidence(ratios, starts):
    """Log-likelihood ratios of parts in segments, `(segments, 24)`."""
    passing = np.logaddexp(np.log1p(-PASSING), np.log(PASSING) + ratios)
    steady = np.logaddexp(np.log1p(-VISIBLE), np.log(VISIBLE) + ratios)
    evidence = [np.add.reduceat((steady - passing)[:, :20], starts)]
    for steps in ORDERS.values():  # which may be at any phase
        phase = np.arange(len(ratios))[:, None] + np.arange(len(steps) + 2)
        turn = phase[..., None] % (len(steps) + 2) == np.arange(len(steps))
        match = ((ratios - passing)[:, None, steps] * turn).sum(-1)
        match = np.logaddexp.reduce(np.add.reduceat(match, starts), axis=1)
        evidence.append(match[:, None] - np.log(len(steps) + 2))
    return np.concatenate(evidence, axis=1)
