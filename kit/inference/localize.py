"""One video and a model: when does what appear?"""

import keras
import numpy as np
import pandas as pd

from kit import data, models
from kit.inference.windows import segment_probabilities, shift_range
from kit.spec import FrameSpec


def localize(
    model: keras.Model,
    frames: np.ndarray,
    shifts: tuple[int, int] = (0, 0),
    names: dict[int, str] | None = None,
) -> pd.DataFrame:
    """When does each concept appear in one video?

    Args:
        model: From `kit.presets` or a `.keras` file.
        frames: One video, uint8 `(num_frames, dim)`.
        shifts: First and last shift, averaged.
        names: Class id to name.

    Returns:
        A row per segment and class: `start` and `end` in frames (seconds, at
        one frame a second), `class_id`, `name` and `score`.

    Raises:
        ValueError: Where the frames are no bytes, not of the model's size,
            of more than one video, or none.
    """
    spec = models.frame_spec(model)
    used = shift_range(*shifts, spec.segment_frames)
    frames = np.asarray(frames)[None]
    mask = np.ones(frames.shape[:2], bool)
    blocks = list(segment_probabilities(model, frames, mask, used))
    starts = np.concatenate([starts for _, starts, _ in blocks])
    scores = np.concatenate([p.mean(axis=0) for _, _, p in blocks])
    class_ids = models.class_ids(model)
    table = pd.DataFrame(
        {
            "start": np.repeat(starts, len(class_ids)),
            "class_id": np.tile(class_ids, len(starts)),
            "score": scores.ravel(),
        }
    )
    ends = np.minimum(table["start"] + spec.segment_frames, mask.size)
    table.insert(1, "end", ends)
    known = names or {}
    table.insert(3, "name", [known.get(i, str(i)) for i in table["class_id"]])
    return table


def find_video(shards, video_id: str, spec: FrameSpec | None = None):
    """The frames of one video, uint8 `(num_frames, dim)`.

    Raises:
        ValueError: Where no shard has it.
    """
    videos = data.videos(
        shards,
        num_classes=None,
        spec=spec or FrameSpec(),
        batch_size=16,
        with_ids=True,
    )
    for inputs, _, ids in videos.as_numpy_iterator():
        for row in np.flatnonzero(ids == video_id.encode()):
            return inputs["frames"][row][inputs["mask"][row]]
    raise ValueError(
        "The video must be in the shards: check its id and split. "
        f"Received: video_id={video_id!r}, {len(shards)} shards"
    )
