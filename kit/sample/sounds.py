"""Ten sounds from a small synthesiser."""

import numpy as np

RATE = 8_000  # samples a second; a frame has one second
LENGTH, LOUDNESS = (0.5, 0.95), (0.1, 0.6)  # seconds; peak


def _sine(frequency, t):
    return np.sin(2 * np.pi / RATE * np.cumsum(frequency + 0 * t))


def strings(ratios, f, t, decay):
    return sum(np.exp(-decay * r * t) * _sine(r * f, t) for r in ratios)


def _hits(f, t, every, decay):
    return np.exp(-decay * (t % every)) * np.sin(2 * np.pi * f * (t % every))


# The lowest and highest pitch in Hz, and the wave of a pitch `f` over time.
SOUNDS = {
    "siren": (500, 800, lambda f, t: _sine(f + 0.4 * f * np.sin(12 * t), t)),
    "trill": (700, 1300, lambda f, t: _sine(f + f * (t % 0.1 < 0.05) / 4, t)),
    "bell": (400, 800, lambda f, t: strings((1, 2, 2.76, 4.1), f, t, 3)),
    "chord": (400, 800, lambda f, t: strings((1, 1.26, 1.5, 2), f, t, 0.5)),
    "rising chirp": (400, 700, lambda f, t: _sine(f * 5**t, t)),
    "falling chirp": (400, 700, lambda f, t: _sine(f * 5 ** (t[-1] - t), t)),
    "drum": (80, 160, lambda f, t: _hits(f, t, 0.25, 15)),
    "knock": (250, 500, lambda f, t: _hits(f, t, 0.25, 60)),
    "buzz": (90, 180, lambda f, t: np.sign(_sine(f, t))),
    "clicks": (1500, 3000, lambda f, t: _hits(f, t, 0.07, 400)),
}


def play(rng, sound, name, frames):
    """Adds a sound of random pitch and length to some seconds.

    Args:
        rng: A NumPy generator.
        sound: float32 `(num_frames, RATE)`, a row a second; added to.
        name: Of the sound.
        frames: The rows, each of which has its own loudness.
    """
    low, high, wave_of = SOUNDS[name]
    t = np.arange(int(RATE * rng.uniform(*LENGTH))) / RATE
    wave = wave_of(low * (high / low) ** rng.random(), t)
    wave *= np.minimum(100 * np.minimum(t, t[-1] - t), 1)  # no crack
    loudness = rng.uniform(*LOUDNESS, (len(frames), 1)) / np.abs(wave).max()
    late = rng.integers(RATE - t.size)
    sound[frames, late : late + t.size] += loudness * wave
