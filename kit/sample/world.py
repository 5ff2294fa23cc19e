"""The concepts of a sample, and what happens in each of its films.

A film has a topic, a few concepts that each fill a minority of it, labels
that miss some of them and invent others, and ratings by one annotator rule.

The constants were chosen from YouTube-8M's statistics, which stand beside
them, on seeds from 1,000 up, without comparing methods; seeds 0 to 99 are for
reporting results alone.  On those from 1,000 up a film has 3.0 labels and 5.0
ratings, of which 55 per cent say yes.
"""

from collections import namedtuple

import numpy as np

from kit.sample.sounds import SOUNDS
from kit.spec import FrameSpec

# What concepts are made of: a digit, a sound, both, or an order in time, which
# shows digits or sounds in turn, one a frame, and then nothing for two frames.
PARTS = "zero one two three four five six seven eight nine".split() + [*SOUNDS]
PARTS += ["counting up", "counting down"]
PARTS += ["knock, then chirp", "chirp, then knock"]
ORDERS = {20: (1, 2, 3), 21: (3, 2, 1), 22: (17, 14), 23: (14, 17)}
# A topic has six concepts: its digit, its sound, and others that need both, or
# an order.  Two are rated.  Digit and sound are mistaken for those of the
# neighbouring topic: one and seven, bell and chord.
DIGITS = np.array([1, 7, 3, 5, 0, 6, 4, 9, 2, 8])
ORDERED = [34, 35, 40, 41]  # concepts that are orders
RATED = [0, 2, 6, 8, 13, 14, 19, 20, 24, 25, *ORDERED, 44, 45, 50, 51, 54, 55]
NUM_IDS = 100  # vocabulary ids are drawn from these, with gaps

FRAMES = (40, 105)  # of a film; YouTube-8M has 120 to 300
# How many concepts beside the first (Poisson; YouTube-8M has 3.0 labels), how
# many times likelier within the topic, and how often one that is mistaken for
# the first.
MORE, HOME, ALIKE = 0.4, 36, 0.3
INTERVALS, FILLED = 3, (0.15, 0.42)  # of a concept; of the frames: a minority
# Of the frames that a concept fills so many show it, and so many of all frames
# show something else, or make another sound, for a moment.
VISIBLE, CLUTTER = 0.75, 0.25
# Labels kept, invented (Poisson), and of these for a concept like one there.
KEPT, INVENTED, TAKEN_FOR = 0.82, 0.42, 0.5
# Ratings of a film (YouTube-8M: 5.0, and 55.7 per cent say yes), those where
# the concept is looked for, the annotator's mistakes, and the segments that
# may be rated (YouTube-8M: not the first 6 and last 2).
RATINGS, SOUGHT, MISTAKES, RATEABLE = (3, 7), 0.75, 0.02, slice(2, -1)

# What happens in a film: the number of its topic; its length in frames; spans
# `(concept, first frame, frame after the last)`; its labels, ascending; the
# planted truth, bool `(segments, rated concepts)`; and ratings
# `(first frame, label, score)`.
Plan = namedtuple("Plan", "topic length spans labels holds ratings")


class World:
    """The sixty concepts of a seed, and the plans of its films.

    Args:
        card: Its seed, and the sizes of frame, video and segment.

    Attributes:
        names, ids: Of the concepts.
        parts: bool `(60, 24)`: what a concept needs.
        twin: For each concept the one that it is taken for.
        odds: `(10, 60)`, how often a topic has a concept.
        frequency: How many concepts of a film are or need this one.
        rated: The concepts that are rated.
    """

    def __init__(self, card: dict):
        self.seed, self.spec = card["seed"], FrameSpec(**card["spec"])
        number, rng = np.arange(60), np.random.default_rng([self.seed, 1])
        topic, slot = np.divmod(number, 6)
        sound = topic + (slot == 3) + 2 * (slot == 5)
        self.parts = np.zeros((60, 24), bool)
        self.parts[number, DIGITS[(topic + (slot == 4)) % 10]] = slot != 1
        self.parts[number, 10 + sound % 10] = slot != 0
        self.parts[ORDERED] = np.eye(24)[list(ORDERS)]
        names = (" with ".join(np.compress(p, PARTS)) for p in self.parts)
        self.names = [name.capitalize() for name in names]
        self.twin = np.where(slot < 2, number + 6 - topic % 2 * 12, number ^ 1)
        # Digits and sounds also come within other concepts.
        weight = rng.lognormal(0, 0.15, 60) * np.where(slot < 2, 0.5, 1)
        weight[np.setdiff1d(number, RATED)] *= 0.4  # YouTube-8M: rarer ones
        self.odds = weight * np.where(topic == np.arange(10)[:, None], HOME, 1)
        self.odds /= self.odds.sum(1, keepdims=True)
        self.frequency = self.within(self.parts.T) @ self.odds.mean(0)
        self.ids = np.sort(rng.choice(NUM_IDS, 60, replace=False))
        self.rated = np.array(RATED)

    def within(self, present):
        """Which concepts `(60, n)` are where these parts `(24, n)` are.

        A seven while a bell is heard is a seven with a bell.
        """
        return self.parts.astype(int) @ ~present == 0

    def plan(self, number: int, rated: bool) -> Plan:
        """Film `number`: a pure function of seed and number.

        Args:
            number: Of the film.
            rated: Whether people rated it.  Such films were chosen to have a
                rated concept among their labels.
        """
        rng = np.random.default_rng([self.seed, 2, number])
        unit, labels, most = self.spec.segment_frames, [], 1
        wanted = self.rated if rated else range(60)
        while most > 0.5 or not np.isin(labels, wanted).any():
            topic, length = rng.integers(10), rng.integers(*FRAMES)
            length = min(length, self.spec.max_frames)
            spans = list(self._spans(rng, topic, length))
            present = np.zeros((24, length), bool)
            for concept, start, stop in spans:
                present[self.parts[concept], start:stop] = True
            fills = self.within(present)
            most, shown = fills.mean(1).max(), fills.sum(1) >= unit
            labels = np.flatnonzero(shown & (rng.random(60) < KEPT))
            alike = rng.random(rng.poisson(INVENTED)) < TAKEN_FOR
            drawn = [rng.choice(self.twin[shown] if a else 60) for a in alike]
            labels = np.union1d(labels, drawn).astype(int)
        parts = np.split(fills[self.rated], range(unit, length, unit), axis=1)
        holds = np.array([part.mean(1) >= 0.5 for part in parts])
        ratings = sorted(self._ratings(rng, labels, holds)) if rated else []
        return Plan(topic, length, spans, self.ids[labels], holds, ratings)

    def _spans(self, rng, topic, length):
        """Where concepts are; none begins at a segment's first frame."""
        count, unit = 1 + rng.poisson(MORE), self.spec.segment_frames
        first, *more = rng.choice(60, count, False, self.odds[topic])
        alike = rng.random(count - 1) < ALIKE
        for concept in {first, *np.where(alike, self.twin[first], more)}:
            most = min(INTERVALS, length // (2 * unit + 2))
            room = length // rng.integers(1, most, endpoint=True)
            for begin in range(0, length - room + 1, room):
                size = max(round(room * rng.uniform(*FILLED)), unit + 1)
                start = begin + rng.integers(room - size + 1)
                yield concept, start + (start % unit == 0), start + size

    def _ratings(self, rng, labels, holds):
        """Rates a concept of the labels in each segment, with mistakes."""
        columns = np.flatnonzero(np.isin(self.rated, labels))
        weight = 1 / self.frequency[self.rated[columns]]
        free = list(range(len(holds))[RATEABLE])
        for _ in range(min(rng.integers(*RATINGS, endpoint=True), len(free))):
            column = rng.choice(columns, p=weight / weight.sum())
            wanted = rng.random() < SOUGHT
            fitting = [s for s in free if holds[s, column] == wanted] or free
            segment = int(rng.choice(fitting))
            free.remove(segment)
            score = int(holds[segment, column] ^ (rng.random() < MISTAKES))
            start = segment * self.spec.segment_frames
            yield start, int(self.ids[self.rated[column]]), score
