"""Windows of a video, shifted, and what a model says of each."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from kit import models

# Windows a call of the model: large enough to fill a GPU, small enough for a
# MixNeXtVLAD in 16 GB.
WINDOWS = 768


def shift_range(first: int, last: int, segment_frames: int) -> tuple[int, ...]:
    """Every whole shift from `first` to `last`, both included (section 8.2).

    Raises:
        ValueError: Where the range is empty, is not of whole frames or
            reaches beyond a segment.
    """
    if first > last or first != int(first) or last != int(last):
        raise ValueError(
            "A shift range goes from its first to its last shift, in whole "
            f"frames, such as (-1, 1). Received: first={first}, last={last}"
        )
    if max(abs(first), abs(last)) > segment_frames:
        raise ValueError(
            "A shift cannot be longer than a segment of "
            f"{segment_frames} frames: the window would not touch it. "
            f"Received: first={first}, last={last}"
        )
    return tuple(range(int(first), int(last) + 1))


def window_frames(rows, starts, shift, mask, length):
    """Which frames a shifted window of each segment holds.

    Shift +1 looks one frame later.  A frame before the video or after its end
    is masked, never wrapped; a window without any real frame falls back to the
    unshifted one.

    Args:
        rows: Row of each segment's video in the batch, `(num_segments,)`.
        starts: First frame of each segment, `(num_segments,)`.
        shift: Frames to look later.
        mask: True for real frames, `(batch_size, num_frames)`.
        length: Frames in a window.

    Returns:
        Positions in the flattened frames and whether each is a real frame,
        both `(num_segments, length)`.
    """
    num_frames = mask.shape[1]

    def at(shift):
        frame = starts[:, None] + shift + np.arange(length)
        inside = (frame >= 0) & (frame < num_frames)
        frame = np.where(inside, frame, 0)
        return frame, inside & mask[rows[:, None], frame]

    frame, real = at(shift)
    empty = ~real.any(axis=1)
    plain_frame, plain_real = at(0)
    frame = np.where(empty[:, None], plain_frame, frame)
    real = np.where(empty[:, None], plain_real, real)
    return rows[:, None] * num_frames + frame, real


def segment_probabilities(
    model: keras.Model, frames, mask, shifts=(0,)
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Predicts every segment of a batch of videos, once per shift.

    The frames are sent to the device once, as bytes; the windows of all shifts
    are cut there.

    Args:
        model: From `kit.presets` or a `.keras` file.
        frames: uint8 `(batch_size, num_frames, dim)`.
        mask: bool `(batch_size, num_frames)`.
        shifts: Whole shifts, in frames.

    Yields:
        Rows `(n,)`, starts `(n,)` and probabilities
        `(len(shifts), n, num_classes)`, a block of segments at a time, in
        order.

    Raises:
        ValueError: Where the frames are no bytes, not of the model's size, or
            none.
    """
    spec = models.frame_spec(model)
    if (
        frames.dtype != np.uint8
        or frames.shape != (*mask.shape, spec.dim)
        or not mask.any()
    ):
        raise ValueError(
            f"The model takes uint8 frames of {spec.dim} features, one row a "
            "frame and at least one frame a video: quantise them, or use a "
            "model built with their FrameSpec. Received: "
            f"dtype={frames.dtype}, shape={frames.shape}"
        )
    length = spec.segment_frames
    counts = -(-mask.sum(axis=1) // length)
    rows = np.repeat(np.arange(len(counts)), counts)
    starts = length * np.concatenate([np.arange(count) for count in counts])
    flat = ops.reshape(ops.convert_to_tensor(frames), (-1, spec.dim))
    block = max(1, WINDOWS // len(shifts))
    for begin in range(0, len(rows), block):
        size = min(block, len(rows) - begin)
        # The last block is filled up, so that the model is compiled once.
        chosen = (begin + np.arange(block)) % len(rows)
        if size == block:
            chosen = np.arange(begin, begin + block)
        cut = [
            window_frames(rows[chosen], starts[chosen], shift, mask, length)
            for shift in shifts
        ]
        position, real = map(np.concatenate, zip(*cut, strict=True))
        probabilities = model.predict_on_batch(
            {"frames": ops.take(flat, position, axis=0), "mask": real}
        )
        probabilities = probabilities.reshape(len(shifts), block, -1)
        yield (
            rows[chosen[:size]],
            starts[chosen[:size]],
            probabilities[:, :size],
        )
