"""Features of pictures and sounds, as YouTube-8M made its own.

A fixed network of convolutions, whose filters are cut at random from other
films, and a PCA with whitening that was fitted on those.
"""

from functools import cache, partial

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kit.processes import map_on_every_core
from kit.sample.scenes import other_film
from kit.spec import OFFSET, SCALE, FrameSpec

# Numbers of other films, of a minute each: those that the network is made of,
# and those that the oracle's classifier learns from; and its ridge penalty.
LOOKED_AT, TAUGHT, RIDGE = range(50), range(50, 350), 100.0
# Filters of the pictures and of the sounds, their size, and the contrast of a
# window that is too faint to fit any of them well.
FILTERS, SIZE, FAINT = (384, 48), 6, 0.3
WINDOW, HOP = 512, 500  # samples, of the spectrum; its bands in bins of that
BANDS = np.unique(np.geomspace(4, WINDOW // 2, 36).astype(int))
STD = 0.5  # of a feature: few pass the -2 and 2 of the bytes


def _look(frames):
    """The mean colour or spectrum of frames, and what filters look at.

    Args:
        frames: Pictures, uint8 `(n, H, W, 3)`, or sounds, float32 `(n, RATE)`.

    Returns:
        Means, `(n, 3)` or `(n, bands)`; and square windows of the grey picture
        at half its size or of the log-spectrum over time, of mean 0 and length
        1, but shorter where they are faint, `(n, positions, SIZE * SIZE)`.
    """
    if frames.ndim == 4:
        colours = frames[:, ::2, ::2] / np.float32(255)
        maps, step = colours @ np.full(3, 1 / 3, np.float32), 2
        mean = colours.mean((1, 2))
    else:
        parts = sliding_window_view(frames, WINDOW, axis=1)[:, ::HOP]
        waves = np.fft.rfft(parts * np.hanning(WINDOW).astype(np.float32))
        power = np.add.reduceat(np.abs(waves) ** 2, BANDS, axis=-1)
        maps, step = np.log(power + np.float32(0.05)), 1
        mean = maps.mean(1)
    views = sliding_window_view(maps, (SIZE, SIZE), axis=(1, 2))
    views = views[:, ::step, ::step].reshape(len(maps), -1, SIZE**2)
    views -= views @ np.full((SIZE**2, 1), SIZE**-2, np.float32)
    views /= FAINT + np.sqrt(np.einsum("npk,npk->np", views, views))[..., None]
    return mean, views


def _raw(frames, filters):
    """What goes into the PCA, `(n, raw features)`.

    How well each filter fits, at best and on average of either half (above
    and below; sooner and later), and the mean colour or spectrum.
    """
    mean, views = _look(frames)
    fit = views @ filters
    np.maximum(fit, 0, out=fit)
    half = np.eye(2, dtype=np.float32).repeat(fit.shape[1] // 2, axis=1)
    halves = (half @ fit * (2 / len(half.T))).reshape(len(fit), -1)
    return np.concatenate([fit.max(1), halves, mean], 1, dtype=np.float32)


@cache
def _network():
    """Filters, mean and axes of the PCA, of pictures and of sounds."""
    rng, network = np.random.default_rng(0), []
    films = [other_film(number)[0] for number in LOOKED_AT]
    for count, films_of in zip(FILTERS, zip(*films, strict=True), strict=True):
        views = _look(np.concatenate(films_of)[::4])[1].reshape(-1, SIZE**2)
        length = np.linalg.norm(views, axis=1)
        contrast = length / (1 - length)
        clear = rng.choice(len(views), count, p=contrast / contrast.sum())
        filters = (views[clear] / length[clear, None]).T.copy()
        raw = np.concatenate([_raw(frames, filters) for frames in films_of])
        variance, axes = np.linalg.eigh(np.cov(raw.T))
        axes = (STD * axes / np.sqrt(variance.clip(1e-9)))[:, ::-1]
        network.append((filters, raw.mean(0), axes.astype(np.float32)))
    return network


def features(film: tuple, spec: FrameSpec) -> np.ndarray:
    """The features of a film, uint8 `(num_frames, spec.dim)`.

    The network is made once a process, in some seconds.
    """
    values, sizes = [], (spec.rgb, spec.audio)
    for part, size, net in zip(film, sizes, _network(), strict=True):
        filters, mean, axes = net  # below: four frames stay in the cache
        raw = [_raw(part[i : i + 4], filters) for i in range(0, len(part), 4)]
        values.append((np.concatenate(raw) - mean) @ axes[:, :size])
    values = (np.concatenate(values, axis=1) - OFFSET) / SCALE
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@cache
def reader(spec: FrameSpec) -> tuple[np.ndarray, np.ndarray]:
    """What a linear classifier of these features learns from plenty of labels.

    It learnt from every frame of other films which digits and sounds are in
    it, and the topic: `(spec.dim, 30)` weights and `(30,)` biases that make
    log-likelihood ratios of the values of a frame, by linear discriminants.
    """
    pairs = map_on_every_core(partial(_lesson, spec), TAUGHT)
    x, y = map(np.concatenate, zip(*pairs, strict=True))
    x = x * np.float32(SCALE) + np.float32(OFFSET)
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(spec.dim), x.T @ y)
    score = x @ weights
    yes, no = (score.mean(0, where=y == answer) for answer in (True, False))
    slope = (yes - no) / np.mean((score - np.where(y, yes, no)) ** 2, axis=0)
    return weights * slope, -slope * (yes + no) / 2


def _lesson(spec, number):
    film, parts = other_film(number)
    return features(film, spec), parts
