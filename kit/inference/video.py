"""What the rest of a video says about a segment."""

import numpy as np

MOST = 0.5  # share of the neighbours; more of it does harm


def smooth(scores: np.ndarray, rows, share: float = 0.3) -> np.ndarray:
    """Mixes into each segment's scores those of the segments beside it.

    What is seen now is likely seen five seconds later.

    Args:
        scores: `(num_segments, num_classes)`, of segments in order of time,
            video after video.
        rows: Which video each segment is of, `(num_segments,)`; as
            `shifted_windows` gives them.
        share: Of the mean of the one or two neighbours, 0 to 0.5.  A segment
            without any keeps its scores.

    Raises:
        ValueError: For a share outside 0 to 0.5.
    """
    if not 0 <= share <= MOST:
        raise ValueError(
            f"The neighbours' share must be from 0 to {MOST}: a segment counts "
            f"at least as much as they do. Received: share={share}"
        )
    same = np.equal(rows[1:], rows[:-1])[:, None]
    beside, count = np.zeros_like(scores), np.zeros((len(scores), 1))
    beside[1:] += same * scores[:-1]
    beside[:-1] += same * scores[1:]
    count[1:] += same
    count[:-1] += same
    mixed = (1 - share) * scores + share * beside / np.maximum(count, 1)
    return np.where(count > 0, mixed, scores)


def video_prior(scores: np.ndarray, rows, power: float = 0.5) -> np.ndarray:
    """Multiplies scores by the video's own to some power.

    A concept that a video shows elsewhere is likelier here: `log p + power *
    log(p of the video)`, where the video has the mean of its segments.

    Args:
        scores, rows: As for `smooth`; scores are probabilities.
        power: From 0, which changes nothing.

    Raises:
        ValueError: For a negative power.
    """
    if power < 0:
        raise ValueError(f"`power` must be at least 0. Received: power={power}")
    _, start, index = np.unique(rows, return_index=True, return_inverse=True)
    total = np.add.reduceat(scores, start)
    count = np.bincount(index)[:, None]
    return scores * (total / count)[index] ** power
