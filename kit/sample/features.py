"""Features of pictures and sounds, as YouTube-8M made its own.

A fixed network of convolutions, whose filters are cut at random from other
films, and a PCA with whitening that was fitted on those.
"""

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kit.layers.frames import OFFSET, SCALE
from kit.sample.scenes import other_film
from kit.spec import FrameSpec

# Other films, of a minute each: of the network, and of the reader and its ridge
# regression.
NUM_FILMS, TAUGHT, RIDGE = 50, 300, 100.0
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
        maps = frames[:, ::2, ::2] @ np.full(3, 1 / 765, np.float32)
        step, mean = 2, frames.mean((1, 2)) / 255
    else:
        parts = sliding_window_view(frames, WINDOW, axis=1)[:, ::HOP]
        waves = np.fft.rfft(parts * np.hanning(WINDOW).astype(np.float32))
        power = np.add.reduceat(np.abs(waves) ** 2, BANDS, axis=-1)
        maps = np.log(power + np.float32(0.05))
        step, mean = 1, maps.mean(1)
    views = sliding_window_view(maps, (SIZE, SIZE), axis=(1, 2))
    views = views[:, ::step, ::step].reshape(len(maps), -1, SIZE**2)
    views = views - views.mean(axis=-1, keepdims=True)
    return mean, views / (FAINT + np.linalg.norm(views, axis=-1, keepdims=True))


def _raw(frames, filters):
    """What goes into the PCA, `(n, raw features)`.

    How well each filter fits, at best and on average of either half (above
    and below; sooner and later), and the mean colour or spectrum.
    """
    mean, views = _look(frames)
    fit = views @ filters
    fit = np.maximum(fit, 0, out=fit)
    halves = [half.mean(1) for half in np.array_split(fit, 2, axis=1)]
    return np.concatenate([fit.max(1), *halves, mean], 1, dtype=np.float32)


@cache
def _network():
    """Filters, mean and axes of the PCA, of pictures and of sounds."""
    rng, network = np.random.default_rng(0), []
    films = [other_film(rng, number)[0] for number in range(NUM_FILMS)]
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

    The network is made once a process, in some seconds.  Numbers may differ
    with the threads of the linear algebra: limit them to one.
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
    """What a linear reader of these features learns from plenty of labels.

    It was taught with every frame of other films, what digits and sounds are
    in it and its topic: `(spec.dim, 30)` weights and `(30,)` biases that make
    log-likelihood ratios of the values of a frame, by linear discriminants.
    """
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(1)
    films = (other_film(rng, number) for number in range(TAUGHT))
    with threadpool_limits(1):  # many small products: threads would but wait
        pairs = [(features(film, spec), parts) for film, parts in films]
    x, y = map(np.concatenate, zip(*pairs, strict=True))
    x = x * np.float32(SCALE) + np.float32(OFFSET)
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(spec.dim), x.T @ y)
    score = x @ weights
    yes, no = (score.mean(0, where=y == answer) for answer in (True, False))
    slope = (yes - no) / np.mean((score - np.where(y, yes, no)) ** 2, axis=0)
    return weights * slope, -slope * (yes + no) / 2
