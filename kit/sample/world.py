"""A simulated world of topics and concepts, drawn from a seed.

Nothing here is YouTube-8M: it is a small world in which the same task is
real.  A video has a topic, a few concepts that each fill a minority of its
frames, labels that miss some concepts and add false ones, and ratings by one
annotator rule.  :mod:`kit.sample.folder` writes it in the true record format.
"""

from typing import NamedTuple

import numpy as np

from kit.sample import constants as c
from kit.spec import FrameSpec


class Video(NamedTuple):
    """One simulated video.

    Attributes:
        frames: uint8 `(T, D)`.
        labels: Vocabulary ids of the video's labels, ascending.
        fills: bool `(T, classes)`: the concepts that fill each frame.
        holds: bool `(S, C)`, segment by rated class: the planted truth.
        ratings: List of `(start, vocabulary id, score)`.
    """

    frames: np.ndarray
    labels: np.ndarray
    fills: np.ndarray
    holds: np.ndarray
    ratings: list


class World:
    """The classes of a seed, and the videos that show them.

    Args:
        seed: Whole number from 0; another seed is another world.
        spec: Sizes of frame, video and segment.

    Attributes:
        ids: Vocabulary id of each class, lower where it is more frequent.
        rated: The classes that are rated, in the order of their ids.
        topic, senses, popularity, twin, ordered: One entry a class; `twin` is
            the class that it is confusable or ordered with, else -1.
        signatures: `(classes, 2, latent)`; the second differs from the first
            only where a class is ordered.
        mixing: `(latent, D)`, from latent dimensions to features.
    """

    def __init__(self, seed: int, spec: FrameSpec):
        self.seed, self.spec = seed, spec
        rng = np.random.default_rng([seed, 1])
        self._draw_classes(rng)
        self._draw_signatures(rng)

    def _draw_classes(self, rng):
        classes = np.arange(c.NUM_TOPICS * c.CLASSES_PER_TOPIC)
        self.topic, slot = np.divmod(classes, c.CLASSES_PER_TOPIC)
        rare = np.isin(self.topic, c.RARE_TOPICS) & (slot == 1)
        share = np.where(slot < 2, 1, c.VIDEO_ONLY_SHARE)
        share[rare] = c.RARE_SHARE
        spread = rng.lognormal(0, c.POPULARITY_SPREAD, classes.size)
        self.popularity = share * spread
        ids = np.sort(rng.choice(c.NUM_IDS, classes.size, replace=False))
        self.ids = ids[np.argsort(np.argsort(-self.popularity))]
        rated = classes[slot < 2]
        self.rated = rated[np.argsort(self.ids[rated])]
        self.senses = rng.choice(list("BSH"), classes.size)
        self.senses[slot < 2] = list(c.SENSES.replace(" ", ""))
        self.ordered = np.isin(self.topic, c.ORDERED_TOPICS) & (slot < 2)
        alike = np.isin(self.topic, c.ALIKE_TOPICS) & (slot < 2)
        self.twin = np.where(alike | self.ordered, classes + 1 - 2 * slot, -1)

    def _draw_signatures(self, rng):
        rgb, audio = self.spec.rgb, self.spec.audio
        seen, heard = self.latent = np.minimum(c.LATENT, (rgb, audio))
        self.mixing = np.zeros((seen + heard, self.spec.dim), np.float32)
        self.mixing[:seen, :rgb] = _directions(rng, seen, rgb)
        self.mixing[seen:, rgb:] = _directions(rng, heard, audio)
        self.topics = [self._signature(rng, "B") for _ in range(c.NUM_TOPICS)]
        single = np.stack([self._signature(rng, s) for s in self.senses])
        paired = np.stack([single, single], axis=1)
        for one in np.flatnonzero(self.twin >= 0):
            two = self.twin[one]
            if self.ordered[one]:
                paired[one, 1] = single[two]
            elif one < two:
                fresh = np.sqrt(1 - c.ALIKE**2) * single[two]
                paired[two] = c.ALIKE * single[one] + fresh
        self.signatures = paired

    def _signature(self, rng, senses):
        """A vector of length 1 that is seen (S), heard (H) or both (B)."""
        share = {"B": (0.8, 0.6), "S": (1, 0), "H": (0, 1)}[senses]
        if not all(self.latent):  # one sense carries everything
            share = (1, 1)
        parts = np.split(rng.normal(size=sum(self.latent)), self.latent[:1])
        parts = [part / np.linalg.norm(part) for part in parts]
        return np.concatenate([share[0] * parts[0], share[1] * parts[1]])

    def video(self, index: int, rated: bool) -> Video:
        """Draws video number `index`: a pure function of seed and index.

        Args:
            index: Number of the video.
            rated: Whether people rated it.  Such videos were chosen to have
                a rated class among their labels.
        """
        rng = np.random.default_rng([self.seed, 2, index])
        topic, concepts, labels = self._draw_labels(rng)
        while rated and not np.isin(labels, self.rated).any():
            topic, concepts, labels = self._draw_labels(rng)
        length = rng.integers(*c.FRAMES, endpoint=True)
        length = min(int(length), self.spec.max_frames)
        fills = np.zeros((length, self.ids.size), bool)
        for concept in concepts:
            for start, stop in self._intervals(rng, length):
                fills[start:stop, concept] = True
        unit = self.spec.segment_frames
        parts = np.split(fills[:, self.rated], range(unit, length, unit))
        holds = np.stack([2 * part.sum(0) >= len(part) for part in parts])
        ratings = self._rate(rng, labels, holds) if rated else []
        latent = self._background(rng, topic, length)
        latent += self._shown(rng, topic, fills)
        frames = self._render(rng, latent)
        return Video(frames, np.sort(self.ids[labels]), fills, holds, ratings)

    def _draw_labels(self, rng):
        topic = rng.integers(c.NUM_TOPICS)
        inside = self.topic == topic
        weight = np.where(inside, c.SAME_TOPIC, 1 - c.SAME_TOPIC)
        for part in (inside, ~inside):
            weight[part] *= self.popularity[part] / self.popularity[part].sum()
        size = min(1 + rng.poisson(c.MORE_CONCEPTS), c.MOST_CONCEPTS)
        concepts = rng.choice(weight.size, size, replace=False, p=weight)
        kept = concepts[rng.random(size) < c.LABEL_KEPT]
        twins = self.twin[concepts[self.twin[concepts] >= 0]]
        added = []
        for _ in range(rng.poisson(c.LABELS_ADDED)):
            twin = twins.size and rng.random() < c.ADDED_TWIN
            added.append(rng.choice(twins if twin else weight.size))
        labels = np.union1d(kept, added).astype(int)
        return topic, concepts, labels if labels.size else concepts[:1]

    def _intervals(self, rng, length):
        """Where a concept is, never from a segment's first frame on."""
        unit = self.spec.segment_frames
        total = max(round(length * rng.uniform(*c.FILLED)), unit + 1)
        most = min(max(total // (2 * unit), 1), c.MOST_INTERVALS)
        count = rng.integers(1, most, endpoint=True)
        shares = rng.dirichlet(np.ones(count))
        lengths = unit + rng.multinomial(total - count * unit, shares)
        shares = rng.dirichlet(np.ones(count + 1))
        gaps = rng.multinomial(length - total, shares)
        stops = np.cumsum(gaps[:-1] + lengths)
        starts = stops - lengths
        starts += (starts % unit == 0) & (unit > 1)
        return zip(starts.tolist(), stops.tolist(), strict=True)

    def _rate(self, rng, labels, holds):
        """One class a segment, from the labels; sought, rated, mistaken."""
        columns = np.flatnonzero(np.isin(self.rated, labels))
        weight = 1 / self.popularity[self.rated[columns]]
        free = list(range(len(holds)))[c.UNRATED[0] : -c.UNRATED[1]]
        count = rng.integers(*c.RATINGS, endpoint=True)
        ratings = []
        for _ in range(min(count, len(free))):
            column = rng.choice(columns, p=weight / weight.sum())
            wanted = rng.random() < c.SOUGHT
            fitting = [s for s in free if holds[s, column] == wanted] or free
            segment = int(rng.choice(fitting))
            free.remove(segment)
            score = int(holds[segment, column] ^ (rng.random() < c.MISTAKES))
            label = int(self.ids[self.rated[column]])
            ratings.append((segment * self.spec.segment_frames, label, score))
        return sorted(ratings)

    def _background(self, rng, topic, length):
        """Noise about a mean that belongs to topic and video, and drifts."""
        size = sum(self.latent)
        drift = rng.normal(size=(length, c.DRIFT_RANK))
        drift[1:] *= np.sqrt(1 - c.DRIFT_MEMORY**2)
        for frame in range(1, length):
            drift[frame] += c.DRIFT_MEMORY * drift[frame - 1]
        ways = rng.normal(size=(c.DRIFT_RANK, size)) / np.sqrt(size)
        mean = c.TOPIC_GAIN * self.topics[topic]
        mean = mean + c.VIDEO_SPREAD * rng.normal(size=size)
        noise = rng.normal(size=(length, size))
        return mean + c.DRIFT_GAIN * drift @ ways + noise

    def _shown(self, rng, topic, fills):
        """The signatures in each frame `(T, latent)`, passing ones too."""
        length, count = fills.shape
        steady = fills & (rng.random(fills.shape) < c.VISIBLE)
        phase = rng.integers(c.CYCLE, size=count)
        beat = (np.arange(length)[:, None] + phase) % c.CYCLE
        shown = np.zeros((length, count, 2))
        shown[..., 0] = np.where(self.ordered, fills & (beat == 0), steady)
        shown[..., 1] = self.ordered & fills & (beat == 1)
        shown *= rng.lognormal(0, c.GAIN_SPREAD, count)[:, None]
        when = np.flatnonzero(rng.random(length) < c.FLASH)
        who = rng.choice(np.flatnonzero(self.topic == topic), when.size)
        shown[when, who, rng.integers(2, size=when.size)] += 1
        return c.GAIN * np.einsum("tcp,cpz->tz", shown, self.signatures)

    def _render(self, rng, latent):
        """The bytes `(T, D)` of latent vectors `(T, latent)`."""
        # Not `@`: on a busy machine the threads of BLAS wait for each other.
        features = np.einsum("tz,zd->td", latent.astype("f4"), self.mixing)
        noise = rng.standard_normal(features.shape, np.float32)
        features += np.float32(c.FEATURE_NOISE) * noise
        # Dequantising, x = byte * 4/255 + 4/512 - 2, turned round.
        codes = (features + np.float32(2 - 4 / 512)) * np.float32(255 / 4)
        return np.clip(np.rint(codes), 0, 255).astype(np.uint8)


def _directions(rng, rank, size):
    """Orthogonal directions of decaying variance, `(rank, size)`."""
    power = 1 / (1 + np.arange(rank) / c.SPECTRUM)
    scale = c.FEATURE_STD * np.sqrt(size / max(power.sum(), 1))
    ways = np.linalg.qr(rng.normal(size=(size, rank)))[0]
    return scale * (ways * np.sqrt(power)).T
