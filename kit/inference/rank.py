"""Every segment of every video ranked, some shards after the other."""

import hashlib
import time
from collections.abc import Callable

import keras
import numpy as np

from kit import data, models
from kit.inference.scoring import Scoring
from kit.inference.state import State
from kit.ranking import Ranking, TopK
from kit.splits import Holdout

FORMAT = 1
# Read in one stretch: a test shard holds a dozen videos, too few for a batch.
SHARDS_AT_ONCE = 32


def rank_segments(
    model: keras.Model,
    shards,
    *,
    shifts: tuple[int, int] = (0, 0),
    averaging: str = "mean",
    leave_out: tuple[int, int] = (0, 0),
    video_level: Callable | None = None,
    top_classes: int | None = None,
    plain: bool = True,
    holdout: Holdout | None = None,
    part: str = "all",
    k: int = 100_000,
    batch_size: int = 32,
    on_error: str = "stop",
    folder=None,
    progress: Callable | None = None,
) -> dict[str, Ranking]:
    """Ranks every segment of every video for each class of the model.

    To spread the work over machines or GPUs give each a slice of the shards
    and `Ranking.merge` the results: that is the ranking of a single run.

    Args:
        model: Its classes are the ones ranked; see `models.restrict_classes`.
        shards: From `data.list_shards`.
        shifts, averaging, leave_out, video_level, top_classes, plain: See
            `Scoring`.
        holdout: The hold-out that `part` speaks of.
        part: Which videos, see `kit.splits`.
        k: Longest list of a class.
        batch_size: Videos read at a time.
        on_error: `"stop"` or `"skip"`, see `kit.data`.
        folder: Scratch in which the state is kept every five minutes, so that
            the same call goes on after a kill, to the identical result.  At
            full size it takes 0.8 GB a list.
        progress: Called with (shards done, shards, segments so far) as it
            goes on, such as `print_progress()`.

    Returns:
        `"tta"` and, where asked for, `"plain"`: the `Ranking` with and
        without shifts, both from the same pass.

    Raises:
        ValueError: For bad options or records, a video in two shards, or a
            `folder` that holds the state of another run.
    """
    scoring = Scoring(
        shifts,
        averaging,
        leave_out,
        video_level,
        top_classes,
        plain,
        models.frame_spec(model).segment_frames,
    )
    reading = dict(
        holdout=holdout or Holdout(),
        part=part,
        batch_size=batch_size,
        on_error=on_error,
    )
    lists = collect_lists(model, shards, scoring, k, folder, progress, reading)
    return scoring.finish(lists, k)


def collect_lists(
    model, shards, scoring, k, folder, progress, reading
) -> dict[str, Ranking]:
    """The lists of `Scoring.names` over all segments, before they are fused.

    Arguments are those of `rank_segments`; `reading` holds the ones that
    `data.videos` takes.
    """
    class_ids = models.class_ids(model)
    best = {name: TopK(class_ids, k) for name in scoring.names}
    run = describe_run(model, scoring, k, reading) if folder else {}
    state = State(folder, best, {**run, "shards": [*map(str, shards)]})
    count = state.restore()
    progress = progress or (lambda done, total, segments: None)
    progress(state.done, len(shards), count)
    for first in range(state.done, len(shards), SHARDS_AT_ONCE):
        stretch = shards[first : first + SHARDS_AT_ONCE]
        videos = data.videos(
            stretch,
            num_classes=None,
            spec=models.frame_spec(model),
            with_ids=True,
            empty_ok=True,
            **reading,
        )
        for inputs, _, ids in videos.as_numpy_iterator():
            rows, starts, scores = scoring.of_videos(model, **inputs)
            for name, values in scores.items():
                best[name].add(values, ids[rows], starts)
            count += len(rows)
        state.keep(first + len(stretch))
        progress(first + len(stretch), len(shards), count)
    lists = {name: collector.ranking() for name, collector in best.items()}
    state.remove()
    return lists


def describe_run(model, scoring, k, reading) -> dict:
    """What makes two runs over the same shards the same."""
    digest = hashlib.blake2b(digest_size=16)
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights).data)
    return {
        "format": FORMAT,
        "model": digest.hexdigest(),
        "shifts": list(scoring.shifts),
        "averaging": scoring.averaging,
        "lists": scoring.names,
        "leave_out": list(scoring.leave_out),
        "video_level": scoring.video_level is not None,
        "top_classes": scoring.top_classes,
        "videos": repr((reading.get("holdout"), reading.get("part"))),
        "k": k,
    }


def print_progress(seconds: float = 10.0) -> Callable:
    """Prints shards, segments a second and the time left, now and then."""
    begin = last = None

    def progress(done, shards, segments):
        nonlocal begin, last
        now = time.monotonic()
        if begin is None:
            begin, last = (now, done, segments), now
            return
        if now - last < seconds and done < shards:
            return
        last = now
        spent = max(now - begin[0], 1e-9)
        rate = (segments - begin[2]) / spent
        left = spent / (done - begin[1]) * (shards - done)
        print(
            f"shard {done}/{shards}: {segments:,} segments, {rate:,.0f}/s, "
            f"{left / 60:.1f} min left",
            flush=True,
        )

    return progress
