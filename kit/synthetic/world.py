"""A simulated world of topics and concepts, drawn from a seed.

Nothing here is YouTube-8M: it is a small world in which the same task is
real.  A video has a topic, a few concepts that each fill a minority of its
frames, labels that miss some concepts and add false ones, and ratings by one
annotator rule.  :mod:`kit.synthetic` writes it in the true record format.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kit.spec import FrameSpec


@dataclass(frozen=True)
class Constants:
    """Every number of the simulated world, and what fixed it.

    They were chosen from statistics, and from the oracle against a random
    order, on generator seeds from 1,000 up.  No learned model was run while
    choosing, and seeds 0 to 99 are for reporting alone.
    """

    # Classes.  YouTube-8M: more classes than rated ones, and ids with gaps.
    num_topics: int = 10
    classes_per_topic: int = 6  # 60 video classes; the first two are rated
    num_ids: int = 100  # vocabulary ids are drawn from range(num_ids)
    senses: str = "BB SS HH BB SS BH SB HS BB SH"  # rated: seen, heard, both
    alike_topics: tuple = (0, 1, 2)  # their rated classes are confusable
    ordered_topics: tuple = (3, 4)  # theirs differ in temporal order alone
    rare_topics: tuple = (1, 3, 6, 8)  # their second rated class is rare
    rare_share: float = 0.6  # of an ordinary rated class' popularity
    video_only_share: float = 0.5  # YouTube-8M: the rated ids are frequent ones
    popularity_spread: float = 0.15  # log-normal, over classes

    # Videos.  YouTube-8M: a frame a second; shorter here, to save room.
    frames: tuple = (40, 120)
    more_concepts: float = 1.9  # Poisson, beside the first
    most_concepts: int = 6
    same_topic: float = 0.8  # of the concepts: context is informative
    filled: tuple = (0.15, 0.42)  # of the video's frames: a minority
    most_intervals: int = 3

    # Video labels.  YouTube-8M: about 3.0 a video.
    label_kept: float = 0.82
    labels_added: float = 0.42  # Poisson
    added_twin: float = 0.5  # of these; the rest are any class, off topic

    # Ratings.  YouTube-8M: 5.0 rated segments a video, about one class each,
    # 55.7 per cent positive; the first 6 and last 2 of some 46 never rated.
    ratings: tuple = (3, 7)
    sought: float = 0.75  # share of ratings where the concept is looked for
    mistakes: float = 0.02  # of the annotator
    unrated_first: int = 2
    unrated_last: int = 1

    # Frames, in units of the latent noise.  Fixed by the oracle's MAP: from
    # the middle frame 0.75 to 0.85, from the five frames 0.93 to 0.98.
    latent: tuple = (64, 24)  # visual, audio
    gain: float = 3.4
    gain_spread: float = 0.2  # log-normal, from video to video
    visible: float = 0.65  # of the frames a concept fills do show it
    flash: float = 0.15  # of all frames show a passing concept of the topic
    cycle: int = 4  # ordered: first, second, then nothing for two frames
    alike: float = 0.6  # cosine between confusable signatures
    topic_gain: float = 1.5
    video_spread: float = 0.25  # of the background's mean, per dimension
    drift_rank: int = 3
    drift_gain: float = 1.5
    drift_memory: float = 0.95  # autoregression from frame to frame

    # Features.  YouTube-8M: bytes over [-2, 2], after a PCA.
    feature_std: float = 0.5  # clips less than one value in a thousand
    feature_noise: float = 0.1
    spectrum: float = 16.0  # dimensions after which the variance is half


class Video(NamedTuple):
    """One simulated video.

    Attributes:
        frames: uint8 `(T, D)`.
        labels: Vocabulary ids of the video's labels, ascending.
        holds: bool `(S, C)`, segment by rated class: the planted truth.
        ratings: List of `(segment, vocabulary id, score)`.
        spans: List of `(class, first frame, frame after the last)`.
    """

    frames: np.ndarray
    labels: np.ndarray
    holds: np.ndarray
    ratings: list
    spans: list


class World:
    """The classes of a seed, and the videos that show them.

    Args:
        seed: Whole number from 0; another seed is another world.
        spec: Sizes of frame, video and segment.
        constants: The numbers of the world.

    Attributes:
        ids: Vocabulary id of each class, lower where it is more frequent.
        rated: The classes that are rated, in the order of their ids.
        topic, senses, popularity, twin, ordered: One entry a class; `twin` is
            the class that it is confusable or ordered with, else -1.
        signatures: `(classes, 2, latent)`; the second differs from the first
            only where a class is ordered.
        mixing: `(latent, D)`, from latent dimensions to features.
    """

    def __init__(self, seed, spec=None, constants=None):
        self.seed, self.spec = seed, spec or FrameSpec()
        self.constants = constants or Constants()
        if self.spec.max_frames < 4 * self.spec.segment_frames:
            raise ValueError(
                "A simulated video needs room for four segments: raise "
                f"`max_frames`. Received: max_frames={self.spec.max_frames}"
            )
        rng = np.random.default_rng([seed, 1])
        self._draw_classes(rng)
        self._draw_signatures(rng)

    def _draw_classes(self, rng):
        c = self.constants
        cells = np.arange(c.num_topics * c.classes_per_topic)
        self.topic, slot = np.divmod(cells, c.classes_per_topic)
        rare = np.isin(self.topic, c.rare_topics) & (slot == 1)
        share = np.where(slot < 2, 1, c.video_only_share)
        share[rare] = c.rare_share
        spread = rng.lognormal(0, c.popularity_spread, cells.size)
        self.popularity = share * spread
        ids = np.sort(rng.choice(c.num_ids, cells.size, replace=False))
        self.ids = ids[np.argsort(np.argsort(-self.popularity))]
        rated = cells[slot < 2]
        self.rated = rated[np.argsort(self.ids[rated])]
        self.senses = rng.choice(list("BSH"), cells.size)
        self.senses[slot < 2] = list(c.senses.replace(" ", ""))
        self.ordered = np.isin(self.topic, c.ordered_topics) & (slot < 2)
        alike = np.isin(self.topic, c.alike_topics) & (slot < 2)
        self.twin = np.where(alike | self.ordered, cells + 1 - 2 * slot, -1)

    def _basis(self, rng, rank, size):
        """Orthogonal directions of decaying variance, `(rank, size)`."""
        power = 1 / (1 + np.arange(rank) / self.constants.spectrum)
        scale = self.constants.feature_std * np.sqrt(size / max(power.sum(), 1))
        ways = np.linalg.qr(rng.normal(size=(size, rank)))[0]
        return scale * (ways * np.sqrt(power)).T

    def _signature(self, rng, senses):
        """A vector of length 1 that is seen (S), heard (H) or both (B)."""
        share = {"B": (0.8, 0.6), "S": (1, 0), "H": (0, 1)}[senses]
        if not all(self.latent):  # one sense carries everything
            share = (1, 1)
        parts = np.split(rng.normal(size=sum(self.latent)), self.latent[:1])
        parts = [part / np.linalg.norm(part) for part in parts]
        return np.concatenate([share[0] * parts[0], share[1] * parts[1]])

    def _draw_signatures(self, rng):
        c, rgb, audio = self.constants, self.spec.rgb, self.spec.audio
        seen, heard = self.latent = np.minimum(c.latent, (rgb, audio))
        self.mixing = np.zeros((seen + heard, self.spec.dim), np.float32)
        self.mixing[:seen, :rgb] = self._basis(rng, seen, rgb)
        self.mixing[seen:, rgb:] = self._basis(rng, heard, audio)
        self.topics = [self._signature(rng, "B") for _ in range(c.num_topics)]
        single = np.stack([self._signature(rng, s) for s in self.senses])
        paired = np.stack([single, single], axis=1)
        for one in np.flatnonzero(self.twin >= 0):
            two = self.twin[one]
            if self.ordered[one]:
                paired[one, 1] = single[two]
            elif one < two:
                fresh = np.sqrt(1 - c.alike**2) * single[two]
                paired[two] = c.alike * single[one] + fresh
        self.signatures = paired

    def video(self, index: int, rated: bool) -> Video:
        """Draws video number `index`: a pure function of seed and index.

        Args:
            index: Number of the video.
            rated: Whether people rated it.  Such videos were chosen to have
                a rated class among their labels.
        """
        rng = np.random.default_rng([self.seed, 2, index])
        unit = self.spec.segment_frames
        topic, concepts, labels = self._draw_labels(rng)
        while rated and not np.isin(labels, self.rated).any():
            topic, concepts, labels = self._draw_labels(rng)
        length = rng.integers(*self.constants.frames, endpoint=True)
        length = min(int(length), self.spec.max_frames)
        spans, fills = [], np.zeros((length, self.ids.size), bool)
        for concept in concepts:
            for start, stop in self._intervals(rng, length):
                fills[start:stop, concept] = True
                spans.append((int(concept), start, stop))
        parts = np.split(fills[:, self.rated], range(unit, length, unit))
        holds = np.stack([2 * part.sum(0) >= len(part) for part in parts])
        ratings = self._rate(rng, labels, holds) if rated else []
        latent = self._background(rng, topic, length)
        latent += self._shown(rng, topic, fills)
        frames = self._render(rng, latent)
        return Video(frames, np.sort(self.ids[labels]), holds, ratings, spans)

    def _draw_labels(self, rng):
        c = self.constants
        topic = rng.integers(c.num_topics)
        inside = self.topic == topic
        weight = np.where(inside, c.same_topic, 1 - c.same_topic)
        for part in (inside, ~inside):
            weight[part] *= self.popularity[part] / self.popularity[part].sum()
        size = min(1 + rng.poisson(c.more_concepts), c.most_concepts)
        concepts = rng.choice(weight.size, size, replace=False, p=weight)
        kept = concepts[rng.random(size) < c.label_kept]
        twins = self.twin[concepts]
        twins = twins[twins >= 0]
        added = []
        for _ in range(rng.poisson(c.labels_added)):
            twin = twins.size and rng.random() < c.added_twin
            added.append(rng.choice(twins if twin else weight.size))
        labels = np.union1d(kept, added).astype(int)
        return topic, concepts, labels if labels.size else concepts[:1]

    def _intervals(self, rng, length):
        """Where a concept is, never from a segment's first frame on."""
        c, unit = self.constants, self.spec.segment_frames
        total = max(round(length * rng.uniform(*c.filled)), unit + 1)
        most = min(max(total // (2 * unit), 1), c.most_intervals)
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
        c = self.constants
        columns = np.flatnonzero(np.isin(self.rated, labels))
        weight = 1 / self.popularity[self.rated[columns]]
        free = list(range(c.unrated_first, len(holds) - c.unrated_last))
        count = rng.integers(*c.ratings, endpoint=True)
        ratings = []
        for _ in range(min(count, len(free))):
            column = rng.choice(columns, p=weight / weight.sum())
            wanted = rng.random() < c.sought
            fitting = [s for s in free if holds[s, column] == wanted] or free
            segment = int(rng.choice(fitting))
            free.remove(segment)
            score = holds[segment, column] ^ (rng.random() < c.mistakes)
            label = int(self.ids[self.rated[column]])
            ratings.append((segment, label, int(score)))
        return sorted(ratings)

    def _background(self, rng, topic, length):
        """Noise about a mean that belongs to topic and video, and drifts."""
        c, size = self.constants, sum(self.latent)
        drift = rng.normal(size=(length, c.drift_rank))
        drift[1:] *= np.sqrt(1 - c.drift_memory**2)
        for now in range(1, length):
            drift[now] += c.drift_memory * drift[now - 1]
        ways = rng.normal(size=(c.drift_rank, size)) / np.sqrt(size)
        mean = c.topic_gain * self.topics[topic]
        mean = mean + c.video_spread * rng.normal(size=size)
        noise = rng.normal(size=(length, size))
        return mean + c.drift_gain * drift @ ways + noise

    def _shown(self, rng, topic, fills):
        """The signatures in each frame `(T, latent)`, passing ones too."""
        c, (length, count) = self.constants, fills.shape
        steady = fills & (rng.random(fills.shape) < c.visible)
        phase = rng.integers(c.cycle, size=count)
        beat = (np.arange(length)[:, None] + phase) % c.cycle
        shown = np.zeros((length, count, 2))
        shown[..., 0] = np.where(self.ordered, fills & (beat == 0), steady)
        shown[..., 1] = self.ordered & fills & (beat == 1)
        shown *= rng.lognormal(0, c.gain_spread, count)[:, None]
        when = np.flatnonzero(rng.random(length) < c.flash)
        who = rng.choice(np.flatnonzero(self.topic == topic), when.size)
        shown[when, who, rng.integers(2, size=when.size)] += 1
        return c.gain * np.einsum("tcp,cpz->tz", shown, self.signatures)

    def _render(self, rng, latent):
        """The bytes `(T, D)` of latent vectors `(T, latent)`."""
        # Not `@`: on a busy machine the threads of BLAS wait for each other.
        latent = latent.astype(np.float32)
        features = np.einsum("tz,zd->td", latent, self.mixing)
        noise = rng.standard_normal(features.shape, np.float32)
        features += np.float32(self.constants.feature_noise) * noise
        # Dequantising, x = byte * 4/255 + 4/512 - 2, turned round.
        features += np.float32(2 - 4 / 512)
        features *= np.float32(255 / 4)
        return np.clip(np.rint(features), 0, 255).astype(np.uint8)
