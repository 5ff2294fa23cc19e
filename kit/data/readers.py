"""Videos, rated segments, every segment and ratings; see `kit.data`."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from kit.data.batches import Example, Order, dataset
from kit.data.records import Video
from kit.data.source import check_whole, class_columns, source
from kit.spec import FrameSpec
from kit.splits import Holdout

YOUTUBE_8M = FrameSpec()
HOLDOUT = Holdout()


def videos(
    shards,
    *,
    num_classes: int | None,
    spec: FrameSpec = YOUTUBE_8M,
    num_frames: int | None = None,
    sampling: str = "all",
    batch_size: int = 128,
    holdout: Holdout = HOLDOUT,
    part: str = "all",
    shuffle: bool = False,
    seed: int = 0,
    first_epoch: int = 0,
    repeat: bool = False,
    drop_remainder: bool | None = None,
    with_ids: bool = False,
    on_error="stop",
    empty_ok: bool = False,
):
    """Videos with their labels.  The module says what the options mean.

    Args:
        num_classes: Size of the vocabulary; a label outside it is an error.
            None where no targets are needed: they then have no columns.
        num_frames: Frames of a video to pick; a video that has fewer is
            padded and masked.
        sampling: `"all"` frames, padded to `spec.max_frames`;
            `num_frames` random `"frames"`, none twice, in time order; or a
            random `"run"` of `num_frames` in a row.
        empty_ok: Whether these shards may hold no video of the part.

    Returns:
        A `tf.data.Dataset` of `({"frames": uint8 (B, T, D), "mask": bool
        (B, T)}, targets int8 (B, num_classes))`, with `with_ids` also the ids
        `(B,)`.

    Raises:
        ValueError: For bad arguments.
    """
    if sampling not in ("all", "frames", "run"):
        raise ValueError(
            '`sampling` must be "all", "frames" or "run". '
            f"Received: sampling={sampling!r}"
        )
    if (sampling == "all") != (num_frames is None):
        raise ValueError(
            "`num_frames` goes with a choice of frames: give both `num_frames`"
            ' and `sampling="frames"` or "run", or neither. Received: '
            f"num_frames={num_frames!r}, sampling={sampling!r}"
        )
    length = spec.max_frames if num_frames is None else num_frames
    check_whole("num_frames", length, 1)
    columns = 0 if num_classes is None else num_classes
    check_whole("num_classes", columns, 0)
    order = Order(
        batch_size, shuffle, seed, first_epoch, repeat, drop_remainder
    )

    def cut(video, rng):
        rgb, audio = video.rgb, video.audio
        if sampling != "all":
            index = pick(video.num_frames, length, sampling, rng)
            rgb, audio = rgb[index], audio[index]
        elif shuffle:  # it waits for its turn, and would keep its neighbours
            rgb, audio = rgb.copy(), audio.copy()
        return [Example(rgb, audio, 0, video.labels, 1, video.video_id, 0)]

    found = source(
        shards, spec, holdout, part, on_error, num_classes=num_classes
    )
    extra = "ids" if with_ids else ""
    return dataset(found, cut, order, length, columns, 0, extra, empty_ok)


def pick(count: int, wanted: int, sampling: str, rng) -> np.ndarray:
    """Indices of the picked frames of `count`, in time order."""
    if count <= wanted:
        return np.arange(count)
    if sampling == "run":
        return np.arange(wanted) + rng.integers(count - wanted + 1)
    index = rng.choice(count, wanted, replace=False, shuffle=False)
    index.sort()
    return index


def window(video: Video, start, spec, context, classes=(), scores=0) -> Example:
    """The segment at `start` with `context` frames each side, as far as the
    video has them."""
    begin = start - context
    first = max(begin, 0)
    here = slice(first, start + spec.segment_frames + context)
    # Copied, so that the example does not keep the whole record in memory.
    rgb, audio = video.rgb[here].copy(), video.audio[here].copy()
    return Example(
        rgb, audio, first - begin, classes, scores, video.video_id, start
    )


def rated_windows(video: Video, spec, context) -> Iterator[Example]:
    """The rated segments of a video, each once with all its ratings.

    A rating that lies beyond the last frame has nothing to look at."""
    starts = video.starts[video.starts < video.num_frames]
    for start in np.unique(starts).tolist():
        at = video.starts == start
        yield window(
            video, start, spec, context, video.classes[at], video.scores[at]
        )


def rated_segments(
    shards,
    *,
    class_ids,
    spec: FrameSpec = YOUTUBE_8M,
    context: int = 0,
    batch_size: int = 128,
    holdout: Holdout = HOLDOUT,
    part: str = "all",
    shuffle: bool = False,
    seed: int = 0,
    first_epoch: int = 0,
    repeat: bool = False,
    drop_remainder: bool | None = None,
    with_ids: bool = False,
    on_error="stop",
):
    """Rated segments.  The module says what the options mean.

    A segment with several ratings is one example.  Ratings beyond the last
    frame yield none; `Report.beyond_last_frame` counts them.

    Args:
        class_ids: Vocabulary ids of the columns of the targets; a rated class
            outside them is an error.
        context: Frames to add on each side, masked where the video has none.

    Returns:
        A `tf.data.Dataset` of `({"frames": uint8 (B, T, D), "mask": bool
        (B, T)}, targets int8 (B, len(class_ids)))` with 1 yes, 0 no and -1
        not rated; T is `spec.segment_frames + 2 * context`.  With `with_ids`
        also `(ids (B,), starts int32 (B,))`.

    Raises:
        ValueError: For bad arguments.
    """
    columns = class_columns(class_ids)
    check_whole("context", context, 0)
    order = Order(
        batch_size, shuffle, seed, first_epoch, repeat, drop_remainder
    )

    def cut(video, rng):
        for example in rated_windows(video, spec, context):
            yield example._replace(classes=columns[example.classes])

    found = source(
        shards, spec, holdout, part, on_error, class_ids=np.asarray(class_ids)
    )
    length = spec.segment_frames + 2 * context
    extra = "starts" if with_ids else ""
    return dataset(found, cut, order, length, len(class_ids), -1, extra)


def segments(
    shards,
    *,
    spec: FrameSpec = YOUTUBE_8M,
    context: int = 0,
    batch_size: int = 512,
    holdout: Holdout = HOLDOUT,
    part: str = "all",
    on_error="stop",
):
    """Every segment of every video in order, partial last ones too.

    Args:
        context: Frames to add on each side, masked where the video has none.

    Returns:
        A `tf.data.Dataset` of `({"frames": uint8 (B, T, D), "mask": bool
        (B, T)}, (ids (B,), starts int32 (B,)))`.

    Raises:
        ValueError: For bad arguments.
    """
    check_whole("context", context, 0)

    def cut(video, rng):
        for start in range(0, video.num_frames, spec.segment_frames):
            yield window(video, start, spec, context)

    found = source(shards, spec, holdout, part, on_error)
    length = spec.segment_frames + 2 * context
    order = Order(batch_size)
    return dataset(found, cut, order, length, None, extra="starts")


def ratings(
    shards,
    *,
    spec: FrameSpec = YOUTUBE_8M,
    holdout: Holdout = HOLDOUT,
    part: str = "all",
    on_error="stop",
) -> pd.DataFrame:
    """All ratings, those beyond the last frame too; no frame is decoded.

    Returns:
        A row a rating: `video_id` (text), `start` (frames, which are seconds
        at one frame a second), `label` (vocabulary id), `score` (0 or 1).

    Raises:
        ValueError: For bad arguments and bad input.
    """
    rows = {"video_id": [], "start": [], "label": [], "score": []}
    for video in source(shards, spec, holdout, part, on_error).one_pass():
        rows["video_id"] += [video.video_id.decode()] * len(video.starts)
        rows["start"] += video.starts.tolist()
        rows["label"] += video.classes.tolist()
        rows["score"] += video.scores.tolist()
    numbers = {"start": int, "label": int, "score": int}
    return pd.DataFrame(rows).astype(numbers)
