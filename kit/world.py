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

    They were chosen from statistics and from the oracle against a random
    order on generator seeds from 1,000 up.  No learned model was run while
    choosing, and seeds 0 to 99 are for reporting alone.
    """

    # Classes.  FACTS: 3,862 classes of which 1,000 are rated, ids with gaps.
    num_topics: int = 10
    classes_per_topic: int = 6  # 60 video classes, two a topic are rated
    num_ids: int = 100  # vocabulary ids come from range(num_ids)
    # What sets the two rated classes of a topic apart, topic by topic.
    pairs: tuple = ("alike",) * 3 + ("order",) * 2 + ("plain",) * 5
    # How the two rated classes of a topic can be noticed; a pair that is
    # alike or ordered shares the first.
    senses: tuple = (
        ("both", "both"), ("seen", "seen"), ("heard", "heard"),
        ("both", "both"), ("seen", "seen"),
        ("both", "heard"), ("seen", "both"), ("heard", "seen"),
        ("both", "both"), ("seen", "heard"),
    )  # fmt: skip
    rare: tuple = (1, 3, 6, 8)  # topics whose second rated class is rare
    rare_share: float = 0.35  # of an ordinary class' popularity
    video_only_share: float = 0.5  # FACTS: rated ids are the frequent ones
    popularity_spread: float = 0.25  # log-normal, classes and topics

    # Videos.  FACTS: a frame a second; here shorter, for room and time.
    frames: tuple = (40, 120)
    more_concepts: float = 2.1  # Poisson, beside the first one
    most_concepts: int = 6
    same_topic: float = 0.8  # of the other concepts: context is informative
    filled: tuple = (0.15, 0.42)  # of the video's frames: a minority
    most_intervals: int = 3

    # Video labels.  FACTS: about 3.0 a video.
    label_kept: float = 0.82
    labels_added: float = 0.55  # Poisson
    added_partner: float = 0.5  # of these, the twin of a true concept

    # Ratings.  FACTS: 5.0 rated segments a video, about one class each, 55.7
    # per cent positive; the first 6 and last 2 of some 46 segments unrated.
    ratings: tuple = (3, 7)
    sought: float = 0.62  # share of ratings where the concept is looked for
    mistakes: float = 0.04  # of the annotator
    unrated_first: int = 2
    unrated_last: int = 1

    # Frames, in units of the latent noise.  Set by the oracle's MAP from one
    # frame (0.75 to 0.85) and from five (0.93 to 0.98).
    latent: tuple = (64, 24)  # visual, audio
    gain: float = 2.4
    gain_spread: float = 0.2  # log-normal, video to video
    visible: float = 0.6  # of a concept's frames show it
    flash: float = 0.15  # of all frames show a passing concept of the topic
    cycle: int = 4  # ordered: first, second, then nothing for two frames
    alike: float = 0.6  # cosine between two confusable signatures
    topic_gain: float = 1.5
    video_spread: float = 0.5  # of the background's mean, per dimension
    drift_rank: int = 3
    drift_gain: float = 1.5
    drift_memory: float = 0.95  # autoregression from frame to frame

    # Features.  FACTS: bytes over [-2, 2], after a PCA.
    feature_std: float = 0.5  # clips fewer than one value in a thousand
    feature_noise: float = 0.1
    spectrum: float = 16.0  # dimensions over which the variance halves


class Video(NamedTuple):
    """One simulated video.

    Attributes:
        frames: uint8 `(T, D)`.
        labels: Vocabulary ids of the video's labels, ascending.
        holds: bool `(S, C)`: planted truth, segment by rated class.
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
        ids: Vocabulary ids `(classes,)`, ascending, frequent classes first.
        rated: Indices into `ids` of the rated classes, ascending.
        topic, popularity, partner, ordered: One entry a class; `partner` is
            the twin of a confusable or ordered class, else -1.
        senses: "both", "seen" or "heard" for each class.
        signatures: `(classes, 2, latent)`; the second differs from the first
            only where a class is ordered.
        mixing: `(latent, D)`, from the latent space to features.
    """

    def __init__(self, seed, spec=FrameSpec(), constants=Constants()):
        if spec.max_frames < 4 * spec.segment_frames:
            raise ValueError(
                "A simulated video needs room for four segments: raise "
                "`max_frames` or lower `segment_frames`. Received: "
                f"max_frames={spec.max_frames}, "
                f"segment_frames={spec.segment_frames}"
            )
        self.seed, self.spec, self.constants = seed, spec, constants
        rng = np.random.default_rng([seed, 1])
        self._draw_classes(rng)
        self._draw_mixing(rng)
        self._draw_signatures(rng)

    def _draw_classes(self, rng):
        c = self.constants
        shape = (c.num_topics, c.classes_per_topic)
        popularity = np.full(shape, c.video_only_share)
        popularity[:, :2] = 1.0
        popularity[list(c.rare), 1] = c.rare_share
        popularity *= rng.lognormal(0, c.popularity_spread, shape)
        senses = np.array(rng.choice(["both", "seen", "heard"], shape))
        senses[:, :2] = c.senses
        partner = np.full(shape, -1)
        paired = np.array([pair != "plain" for pair in c.pairs])
        cell = np.arange(popularity.size).reshape(shape)
        partner[paired, :2] = cell[paired, 1::-1]
        # Frequent classes have the low ids, as in the real vocabulary.
        by_popularity = np.argsort(-popularity.ravel())
        place = np.argsort(by_popularity)  # cell -> class index
        self.cells = by_popularity
        self.ids = np.sort(rng.choice(c.num_ids, cell.size, replace=False))
        self.topic, slot = np.divmod(by_popularity, c.classes_per_topic)
        self.popularity = popularity.ravel()[by_popularity]
        self.senses = senses.ravel()[by_popularity]
        partner = partner.ravel()[by_popularity]
        self.partner = np.where(partner < 0, -1, place[partner])
        self.ordered = (np.array(c.pairs) == "order")[self.topic] & (slot < 2)
        self.rated = np.flatnonzero(slot < 2)
        self.topic_share = rng.lognormal(0, c.popularity_spread, c.num_topics)
        self.topic_share /= self.topic_share.sum()

    def _draw_mixing(self, rng):
        c, sizes = self.constants, (self.spec.rgb, self.spec.audio)
        self.latent = [min(n, d) for n, d in zip(c.latent, sizes, strict=True)]
        self.mixing = np.zeros((sum(self.latent), self.spec.dim), np.float32)
        row = column = 0
        for rank, size in zip(self.latent, sizes, strict=True):
            if size:
                basis = np.linalg.qr(rng.normal(size=(size, rank)))[0].T
                basis /= np.sqrt(1 + np.arange(rank) / c.spectrum)[:, None]
                basis *= c.feature_std * np.sqrt(size / (basis**2).sum())
                self.mixing[row : row + rank, column : column + size] = basis
            row, column = row + rank, column + size

    def _signature(self, rng, senses):
        """A unit vector that is seen, heard or both."""
        seen, heard = self.latent
        weight = {"both": (0.8, 0.6), "seen": (1, 0), "heard": (0, 1)}[senses]
        if not (seen and heard):  # one modality carries everything
            weight = (1, 1)
        parts = [
            share * part / max(np.linalg.norm(part), 1e-9)
            for share, part in zip(
                weight, (rng.normal(size=seen), rng.normal(size=heard)),
                strict=True,
            )
        ]  # fmt: skip
        return np.concatenate(parts)

    def _draw_signatures(self, rng):
        c = self.constants
        count = self.ids.size
        shapes = np.zeros((count, 2, sum(self.latent)), np.float32)
        for index in range(count):
            shapes[index] = self._signature(rng, self.senses[index])
        for first in np.flatnonzero(self.partner > np.arange(count)):
            second = self.partner[first]
            if self.ordered[first]:
                shapes[first, 1] = shapes[second, 0]
                shapes[second, 1] = shapes[first, 0]
            else:
                fresh = np.sqrt(1 - c.alike**2) * shapes[second]
                shapes[second] = c.alike * shapes[first] + fresh
        self.signatures = shapes
        self.topics = c.topic_gain * np.stack(
            [self._signature(rng, "both") for _ in range(c.num_topics)]
        )

    def video(self, index: int, rated: bool) -> Video:
        """Draws video number `index`; a pure function of seed and index.

        Args:
            index: Number of the video.
            rated: Whether people rated it.  Such videos were chosen to have
                a rated class among their labels.
        """
        rng = np.random.default_rng([self.seed, 2, index])
        c, spec = self.constants, self.spec
        while True:
            topic, concepts, labels = self._draw_labels(rng)
            if not rated or np.isin(labels, self.rated).any():
                break
        num_frames = min(int(rng.integers(*c.frames, endpoint=True)),
                         spec.max_frames)  # fmt: skip
        spans = [
            (concept, *span)
            for concept in concepts
            for span in self._intervals(rng, num_frames)
        ]
        fills = np.zeros((num_frames, self.ids.size), bool)
        for concept, start, stop in spans:
            fills[start:stop, concept] = True
        latent = self._background(rng, topic, num_frames)
        latent += self._shown(rng, topic, fills)
        starts = np.arange(0, num_frames, spec.segment_frames)
        share = np.add.reduceat(fills[:, self.rated], starts, axis=0)
        length = np.diff(np.append(starts, num_frames))[:, None]
        holds = 2 * share >= length
        ratings = self._ratings(rng, labels, holds) if rated else []
        frames = self._render(rng, latent)
        return Video(frames, self.ids[labels], holds, ratings, spans)

    def _draw_labels(self, rng):
        c, count = self.constants, self.ids.size
        topic = rng.choice(c.num_topics, p=self.topic_share)
        inside = self.topic == topic
        weight = self.popularity * np.where(
            inside,
            c.same_topic / self.popularity[inside].sum(),
            (1 - c.same_topic) / self.popularity[~inside].sum(),
        )
        size = min(1 + rng.poisson(c.more_concepts), c.most_concepts)
        concepts = rng.choice(count, size, replace=False, p=weight)
        kept = concepts[rng.random(size) < c.label_kept]
        added = []
        twins = self.partner[concepts]
        twins = twins[twins >= 0]
        for _ in range(rng.poisson(c.labels_added)):
            use_twin = twins.size and rng.random() < c.added_partner
            added.append(
                rng.choice(twins) if use_twin else rng.choice(count, p=weight)
            )
        labels = np.union1d(kept, added).astype(int)
        return topic, concepts, labels if labels.size else concepts[:1]

    def _intervals(self, rng, num_frames):
        """Where a concept is: `(start, stop)`, never from a segment's start."""
        c, unit = self.constants, self.spec.segment_frames
        total = max(round(num_frames * rng.uniform(*c.filled)), unit + 2)
        most = min(max(total // (2 * unit), 1), c.most_intervals)
        count = rng.integers(1, most, endpoint=True)
        lengths = unit + rng.multinomial(
            total - count * unit, rng.dirichlet(np.ones(count))
        )
        gaps = rng.multinomial(
            num_frames - total, rng.dirichlet(np.ones(count + 1))
        )
        starts = np.cumsum(gaps[:-1]) + np.cumsum(lengths) - lengths
        late = (starts % unit == 0) & (unit > 1)
        return zip(starts + late, starts + lengths, strict=True)

    def _background(self, rng, topic, num_frames):
        """Noise about a mean that belongs to topic and video and drifts."""
        c, size = self.constants, sum(self.latent)
        drift = rng.normal(size=(num_frames, c.drift_rank))
        drift[1:] *= np.sqrt(1 - c.drift_memory**2)
        for now in range(1, num_frames):
            drift[now] += c.drift_memory * drift[now - 1]
        ways = rng.normal(size=(c.drift_rank, size)) / np.sqrt(size)
        mean = self.topics[topic] + c.video_spread * rng.normal(size=size)
        noise = rng.normal(size=(num_frames, size))
        return mean + c.drift_gain * drift @ ways + noise

    def _shown(self, rng, topic, fills):
        """The signatures seen in each frame, passing ones included."""
        c, (num_frames, count) = self.constants, fills.shape
        shown = np.zeros((num_frames, count, 2))
        shown[..., 0] = fills & (rng.random(fills.shape) < c.visible)
        beat = np.arange(num_frames)[:, None] + rng.integers(c.cycle, size=count)
        for part in (0, 1):
            turn = fills & (beat % c.cycle == part)
            shown[..., part] = np.where(self.ordered, turn, shown[..., part])
        gain = c.gain * rng.lognormal(0, c.gain_spread, count)
        shown *= gain[:, None]
        passing = np.flatnonzero(rng.random(num_frames) < c.flash)
        others = np.flatnonzero(self.topic == topic)
        who = rng.choice(others, passing.size)
        shown[passing, who, rng.integers(2, size=passing.size)] += c.gain
        return np.tensordot(shown, self.signatures, 2)

    def _ratings(self, rng, labels, holds):
        """One class a segment, from the labels; sought, rated, mistaken."""
        c = self.constants
        columns = np.flatnonzero(np.isin(self.rated, labels))
        weight = 1 / self.popularity[self.rated[columns]]
        free = list(range(c.unrated_first, len(holds) - c.unrated_last))
        ratings = []
        for _ in range(rng.integers(*c.ratings, endpoint=True)):
            if not free:
                break
            column = rng.choice(columns, p=weight / weight.sum())
            wanted = rng.random() < c.sought
            fitting = [s for s in free if holds[s, column] == wanted] or free
            segment = int(rng.choice(fitting))
            free.remove(segment)
            score = holds[segment, column] ^ (rng.random() < c.mistakes)
            label = int(self.ids[self.rated[column]])
            ratings.append((segment, label, int(score)))
        return sorted(ratings)

    def _render(self, rng, latent):
        """Latent vectors `(T, latent)` as the bytes of frame features."""
        features = latent.astype(np.float32) @ self.mixing  # (T, D)
        noise = rng.standard_normal(features.shape, np.float32)
        features += np.float32(self.constants.feature_noise) * noise
        # The inverse of x * 4/255 + (4/512 - 2), rounded to whole bytes.
        features += np.float32(2 - 4 / 512)
        features *= np.float32(255 / 4)
        return np.clip(np.rint(features), 0, 255).astype(np.uint8)
