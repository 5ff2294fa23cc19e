"""Windows of a video's segments, shifted, and what a model says of each."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from kit.models import check_window, trace_predict
from kit.spec import FrameSpec

# Windows per call of the model: enough to keep a T4 busy, and few compared to
# the 4,400 of a batch (32 videos, three shifts), since part of the last call
# for a batch is padding.
BLOCK = 256


def shifted_windows(
    inputs: Mapping[str, np.ndarray],
    spec: FrameSpec,
    shifts: Sequence[int] = (0,),
    edges: tuple[int, int] = (0, 0),
    context: int = 0,
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Cuts every segment out of a batch of videos, once per shift (section 5).

    Shift +1 looks one frame later.  Frames before the start of a video or
    after its end are zero and masked, nothing wraps around.  A shift that
    leaves a segment without any real frame does not move it.

    Args:
        inputs: Whole videos: arrays `(batch_size, num_frames, ...)`, one of
            which is `mask`, true for real frames.
        spec: How long a segment is.
        shifts: Frames to look later, each at most the length of a segment.
        edges: So many segments at the start and at the end of each video are
            left out.  Annotators of YouTube-8M never rated the first 6 and
            the last 2.  A video that has no others is left out altogether.
        context: Frames to add on each side, as many as `models.context(model)`.

    Returns:
        `windows`, with the keys of `inputs` and the shapes `(len(shifts),
        num_segments, spec.segment_frames + 2 * context, ...)`; `rows`, which
        video of the batch each segment is of, and `starts`, its first frame,
        both `(num_segments,)`.

    Raises:
        ValueError: For arrays of other shapes, a shift that is longer than a
            segment or not whole, and `edges` below zero.
    """
    arrays = {key: np.asarray(value) for key, value in inputs.items()}
    arrays["mask"] = mask = arrays["mask"].astype(bool)
    _check(arrays, spec, shifts, edges)
    length, num_frames = spec.segment_frames, mask.shape[1]
    rows, starts = _segments(mask, length, edges)

    def real(frame):
        inside = (frame >= 0) & (frame < num_frames)
        column = frame.clip(0, max(num_frames - 1, 0))
        return inside & mask[rows[:, None], column]

    segment = slice(context, context + length)  # of a window
    unshifted = starts[:, None] + np.arange(-context, length + context)
    frame = unshifted + np.reshape(shifts, (-1, 1, 1)).astype(int)  # (S, N, T)
    moved = real(frame)[..., segment].any(axis=2, keepdims=True)
    frame = np.where(moved, frame, unshifted)
    padding = ~real(frame)
    place = rows[:, None] * num_frames + np.where(padding, 0, frame)
    windows = {}
    for key, value in arrays.items():
        flat = value.reshape(-1, *value.shape[2:])
        windows[key] = flat.take(place, axis=0)
        windows[key][padding] = 0
    return windows, rows, starts


def predict(
    model: keras.Model, windows: Mapping[str, np.ndarray], block: int = BLOCK
) -> np.ndarray:
    """What a model says of each window, in blocks of one size.

    The last block is filled up, so that the model is compiled once.  Bytes go
    to the device as bytes.

    Args:
        model: From `kit.presets` or a `.keras` file.
        windows: From `shifted_windows`: arrays `(num_shifts, num_segments,
            ...)`.
        block: Windows per call of the model.

    Returns:
        Probabilities, float32 `(num_shifts, num_segments, num_classes)`.

    Raises:
        ValueError: For windows without the context that the model takes, or
            with more; and from the model, for anything but bytes or for
            frames of another size than its own.
    """
    *shape, length = windows["mask"].shape
    check_window(model, length)
    flat = {key: x.reshape(-1, *x.shape[2:]) for key, x in windows.items()}
    total = shape[0] * shape[1]
    scores = np.empty((total, model.output_shape[-1]), np.float32)
    for start in range(0, total, block):
        stop = min(start + block, total)
        batch = {key: x[start:stop] for key, x in flat.items()}
        if stop - start < block:
            filled = np.arange(start, start + block) % total
            batch = {key: x[filled] for key, x in flat.items()}
        trace_predict(model, [(batch,)])
        scores[start:stop] = model.predict_on_batch(batch)[: stop - start]
    return scores.reshape(*shape, scores.shape[1])


def with_prior(scores, rows, weight: float) -> np.ndarray:
    """Scores of segments times a power of the score of their whole video.

    In logarithms `log p + weight * log p_video`, where `p_video` is the mean of
    the video's scores p, each weighted by itself.  It does not change the order
    of a video's segments, only that of segments of different videos.

    Args:
        scores: Probabilities `(num_segments, num_classes)`, of all segments of
            some videos.
        rows: The video of each segment, `(num_segments,)`, from 0.
        weight: From 0, which changes nothing, to 1.

    Returns:
        Scores of the same shape, from 0 to 1.

    Raises:
        ValueError: Where the weight is out of range.

    Example: the second video is surer of its best segment than the first.

    >>> scores = np.array([[0.5], [0.5], [0.4], [0.8]])
    >>> with_prior(scores, np.array([0, 0, 1, 1]), 1.0).round(2).tolist()
    [[0.25], [0.25], [0.27], [0.53]]
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"A prior weighs 0 to 1. Received: weight={weight}")
    member = np.eye(rows.max(initial=-1) + 1, dtype=scores.dtype)[rows]
    tiny = np.finfo(np.float32).tiny
    video = member.T @ scores**2 / np.maximum(member.T @ scores, tiny)
    return scores * (member @ video) ** weight


def _check(arrays, spec, shifts, edges):
    """Refuses what `shifted_windows` cannot cut."""
    shape = arrays["mask"].shape
    shapes = {key: value.shape for key, value in arrays.items()}
    if len(shape) != 2 or any(s[:2] != shape for s in shapes.values()):
        raise ValueError(
            "Inputs must be whole videos, (batch_size, num_frames, ...), with "
            "a mask (batch_size, num_frames): see `data.videos`. Received: "
            f"shapes={shapes}"
        )
    length = spec.segment_frames
    if not len(shifts) or any(s != int(s) or abs(s) > length for s in shifts):
        raise ValueError(
            "A shift must be of whole frames and no longer than a segment of "
            f"{length}, or the window would not touch it. Received: "
            f"shifts={shifts}"
        )
    if len(edges) != 2 or min(edges) < 0:
        raise ValueError(
            "`edges` says how many segments to leave out at the start and at "
            f"the end of a video, such as (6, 2). Received: edges={edges}"
        )


def _segments(mask, length, edges):
    """Row and start of each segment that has a real frame."""
    batch_size, num_frames = mask.shape
    slots = -(-num_frames // length)
    padded = np.pad(mask, ((0, 0), (0, slots * length - num_frames)))
    occupied = padded.reshape(batch_size, slots, length).any(axis=2)
    number = np.arange(slots)
    count = ((number + 1) * occupied).max(axis=1, initial=0)[:, None]
    kept = (number >= edges[0]) & (number < count - edges[1])
    rows, number = np.nonzero(occupied & kept)
    return rows, number * length
