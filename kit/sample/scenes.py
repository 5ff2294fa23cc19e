"""Draws and plays films: digits over photographs, sounds over hum and noise.

A film is its pictures, uint8 `(num_frames, H, W, 3)`, and its sound, float32
`(num_frames, RATE)` from -1 to 1, a second a frame.
"""

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageColor, ImageFilter, ImageFont, ImageOps

from kit.sample.sounds import RATE, play, strings
from kit.sample.world import CLUTTER, ORDERS, PARTS, VISIBLE, Plan, World

SIZE, ZOOM = 64, (0.22, 0.42)  # pixels of a picture; of a photograph's size
# Pixels of a digit, which is small, but a person can read it; and the most
# that it drifts in a frame.
GLYPH, SPEED = (15, 26), 2.0
# The light by day, at sunset, at night, in a wood and on an old film.
LIGHTS = ("#bfbfbf", "#f29966", "#40528c", "#66bf73", "#b39e73")
HUM, NOISE = (0.02, 0.06), (0.15, 0.6)  # how loud, from film to film
# Each split has a third of the scans, and this beside ids and frames.
SPLITS = {"train": ["labels"], "validate": ["labels", "ratings"], "test": []}
FONTS = sorted(Path(matplotlib.get_data_path()).rglob("DejaVu*Bold.ttf"))
LETTERS = "ACDEFHJKMNPRTUVWXY"  # those that look like no digit


def make(world: World, split: str, number: int) -> tuple[Plan, tuple]:
    """Film `number` of a world, with the scans of a split: plan and film."""
    plan = world.plan(number, rated=split != "train")
    rng = np.random.default_rng([world.seed, 3, number])
    events = list(_events(rng, world, plan))
    return plan, _film(rng, plan.topic, plan.length, events, split)


def other_film(number: int) -> tuple[tuple, np.ndarray]:
    """A film of no sample, a minute with every digit and sound twice.

    Returns:
        The film; and bool `(60, 30)`, which digits and sounds are in which
        frame, and the film's topic, the last digit of `number`.
    """
    rng = np.random.default_rng(number)
    parts, events = np.zeros((60, 30), bool), []
    parts[:, 20 + number % 10] = True
    for part in 2 * list(range(-3, 20)):
        frames = rng.integers(57) + np.arange(rng.integers(1, 4))
        parts[frames, part] |= part >= 0
        events.append((part, frames))
    return _film(rng, number % 10, 60, events, "train"), parts


def _events(rng, world, plan):
    """What is shown and played, planned or passing: `(part, frames)`."""
    for concept, start, stop in plan.spans:
        frames = np.arange(start, stop)
        for part in np.flatnonzero(world.parts[concept]):
            steps = ORDERS.get(part, ())
            turn = (frames + rng.integers(20)) % (len(steps) + 2)
            yield from ((s, frames[turn == i]) for i, s in enumerate(steps))
            if not steps:
                yield part, frames[rng.random(frames.size) < VISIBLE]
    for frame in np.flatnonzero(rng.random(plan.length) < CLUTTER):
        yield int(rng.integers(-10, 20)), np.array([frame])  # below 0: letters


def _film(rng, topic, length, events, split):
    """The pictures and the sound of a film in which these events happen."""
    pictures = _pan(rng, topic, length)
    hum = strings((1, 2), 50 + 9 * topic, np.arange(RATE) / RATE, 0)
    sound = (rng.random((length, RATE), np.float32) - 0.5) * rng.uniform(*NOISE)
    sound += np.float32(hum * rng.uniform(*HUM))
    for part, frames in events:
        if part < 10:
            _draw(rng, pictures, _glyph(rng, split, part), frames)
        else:
            play(rng, sound, PARTS[part], frames)
    return pictures, sound.clip(-1, 1)


@cache
def _images():
    """What scikit-learn brings: scans of digits, and two photographs."""
    from sklearn.datasets import load_digits, load_sample_images

    return load_digits(), load_sample_images().images


@cache
def scans(split: str, digit: int) -> np.ndarray:
    """The scans of a digit in a split, uint8 `(n, 8, 8)`."""
    digits, _ = _images()
    images = digits.images[digits.target == digit]  # 0 to 16
    return (15.9 * images[[*SPLITS].index(split) :: 3]).astype(np.uint8)


def _glyph(rng, split, digit):
    """One of the scans, or below 0 a letter: a font that matplotlib brings."""
    if digit >= 0:
        return Image.fromarray(rng.choice(scans(split, digit)))
    font = ImageFont.truetype(rng.choice(FONTS), 24)
    letter = font.getmask(rng.choice(list(LETTERS)))
    return Image.frombytes("L", letter.size, bytes(letter))


def _pan(rng, topic, length):
    """A camera pans over a photograph: uint8 `(length, SIZE, SIZE, 3)`."""
    photo = Image.fromarray(_images()[1][topic % 2])
    photo = ImageOps.scale(photo, rng.uniform(*ZOOM), Image.BOX)
    light = np.array(ImageColor.getrgb(LIGHTS[topic // 2])) / 255
    photo = np.uint8(np.asarray(photo) * light * rng.uniform(0.8, 1.05))
    room = np.array(photo.shape[:2]) - SIZE
    corners = np.linspace(*rng.uniform(0, room, (2, 2)), length, dtype=int)
    return np.stack([photo[y:, x:][:SIZE, :SIZE] for y, x in corners])


def _draw(rng, pictures, glyph, frames):
    """Draws a glyph into these pictures, bright on its shadow, drifting."""
    page = np.pad(glyph.resize(2 * [rng.integers(*GLYPH)], Image.BICUBIC), 3)
    shadow = Image.fromarray(page).filter(ImageFilter.GaussianBlur(2))
    shadow = np.minimum(np.asarray(shadow)[..., None] / 255, 0.7)
    ink, room = page[..., None] / 255, SIZE - len(page)
    way = rng.uniform(-SPEED, SPEED, 2) * frames[:, None]
    way = (way + rng.uniform(0, 2 * room, 2)) % (2 * room)
    way = np.rint(np.abs(way - room)).astype(int)  # back from the edges
    y, x = (way[..., None] + np.arange(len(page))).transpose(1, 0, 2)
    where = frames[:, None, None], y[:, :, None], x[:, None]
    behind, colour = pictures[where], rng.uniform(200, 255, 3)
    pictures[where] = behind * (1 - shadow) * (1 - ink) + colour * ink
