"""One video and a model: when does what appear?"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import pandas as pd

from kit import models
from kit.inference.windows import predict, shifted_windows


def localize(
    model: keras.Model,
    frames: np.ndarray,
    shifts: Sequence[int] = (0,),
    names: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """When does each concept appear in one video?

    Args:
        model: From `kit.presets` or a `.keras` file.
        frames: One video, uint8 `(num_frames, dim)`.
        shifts: Frames to look later, such as those of a member; the
            predictions are averaged.
        names: Class id to name.

    Returns:
        A row per segment and class: `start` and `end` in frames (seconds, at
        one frame a second), `class_id`, `name` and `score`.

    Raises:
        ValueError: Where the frames are not bytes, not of the model's size,
            of more than one video, or there are none.
    """
    spec, class_ids = models.frame_spec(model), models.class_ids(model)
    frames = np.asarray(frames)
    fits = frames.shape[1:] == (spec.dim,) and len(frames)
    if not fits or frames.dtype != np.uint8:
        raise ValueError(
            f"The model takes uint8 frames of {spec.dim} features, one row a "
            "frame and at least one: quantise them, or build a model of their "
            f"spec. Received: dtype={frames.dtype}, shape={frames.shape}"
        )
    video = {"frames": frames[None], "mask": np.ones((1, len(frames)), bool)}
    windows, _, starts = shifted_windows(
        video, spec, shifts, context=models.context(model)
    )
    scores = predict(model, windows).mean(axis=0)
    columns = np.tile(class_ids, len(starts))
    starts = np.repeat(starts, len(class_ids))
    return pd.DataFrame(
        {
            "start": starts,
            "end": np.minimum(starts + spec.segment_frames, len(frames)),
            "class_id": columns,
            "name": [(names or {}).get(i, str(i)) for i in columns.tolist()],
            "score": scores.ravel(),
        }
    )
