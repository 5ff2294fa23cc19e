"""Every segment of every video ranked, some shards after the other."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import keras

from kit import data, models
from kit.inference.scoring import Scoring, weights_digest
from kit.inference.state import State
from kit.ranking import Ranking, TopK
from kit.splits import Holdout

FORMAT = 2


def rank_segments(
    model: keras.Model,
    shards,
    *,
    shifts: tuple[int, int] = (0, 0),
    averaging: str = "mean",
    leave_out: tuple[int, int] = (0, 0),
    video_level: Callable | None = None,
    multiply: bool = True,
    top_classes: int | None = None,
    plain: bool = True,
    holdout: Holdout | None = None,
    part: str = "all",
    k: int = 100_000,
    batch_size: int = 32,
    on_error="stop",
    folder=None,
    progress: Callable | None = None,
) -> dict[str, Ranking]:
    """Ranks every segment of every video for each class of the model.

    To spread the work over machines or GPUs give each a slice of the shards
    and `Ranking.merge` the results: that is the ranking of a single run.

    Args:
        model: Its classes are the ones ranked; see `models.restrict_classes`.
        shards: From `data.list_shards`.
        shifts, averaging, leave_out, video_level, multiply, top_classes, plain:
            See `Scoring`.
        holdout: The hold-out that `part` speaks of.
        part: Which videos, see `kit.splits`.
        k: Longest list of a class.
        batch_size: Videos read at a time.
        on_error: `"stop"`, `"skip"` or a `Report`, see `kit.data`.
        folder: Scratch in which the state is kept every five minutes, so that
            the same call goes on after a kill, to the identical result; what
            was ranked is read again, but not by the model.  At full size it
            takes 0.8 GB a list.  It is empty when the call returns:
            `rank_part` is for results that must outlive the process.
        progress: Called with (shards read, shards, segments so far) as it
            goes on, such as `print_progress()`.

    Returns:
        `"tta"` and, where asked for, `"plain"`: the `Ranking` with and
        without shifts, both from the same pass.

    Raises:
        ValueError: For bad options, or a `folder` that holds the state of
            another run.  For bad records and a video in two shards what
            `data.videos` raises.
    """
    scoring = Scoring(
        shifts,
        averaging,
        leave_out,
        video_level,
        multiply,
        top_classes,
        plain,
        models.frame_spec(model).segment_frames,
    )
    shards = check_shards(shards)
    reading = dict(
        holdout=holdout or Holdout(),
        part=part,
        batch_size=batch_size,
        on_error=on_error,
    )
    run = describe_run(model, shards, scoring, k, reading) if folder else {}
    lists, state = collect_lists(
        model, shards, scoring, k, reading, folder, run, progress
    )
    state.remove()
    return scoring.finish(lists, k)


def check_shards(shards) -> list[str]:
    """At least one path, as a list of text."""
    one = isinstance(shards, str | os.PathLike)
    shards = [str(shard) for shard in ([shards] if one else shards)]
    if not shards:
        raise ValueError(
            "`shards` must name at least one file: see `data.list_shards`. "
            "Received: shards=[]"
        )
    return shards


def collect_lists(
    model, shards, scoring, k, reading, folder, run, progress
) -> tuple[dict[str, Ranking], State]:
    """The lists of `Scoring.names` over all segments, before they are fused.

    Arguments are those of `rank_segments`; `reading` holds the ones that
    `data.videos` takes, `run` is from `describe_run`, and a slice of `shards`
    may be empty.

    Returns:
        The lists, and the state, to be removed once what they become is safe.
    """
    class_ids = models.class_ids(model)
    scoring.check_classes(class_ids)
    best = {name: TopK(class_ids, k) for name in scoring.names}
    # Batches are counted, so they must be the same when the run goes on.
    run = run | {"batch_size": reading["batch_size"]}
    state = State(folder, best, run)
    count = state.restore()
    report = data.Report.of(reading.get("on_error", "stop"))
    # All in one pass, which finds a video that is in two shards.
    videos = (
        shards
        and data.videos(
            shards,
            num_classes=None,
            spec=models.frame_spec(model),
            with_ids=True,
            empty_ok=True,
            **reading | {"on_error": report},
        )
        .skip(state.done)
        .as_numpy_iterator()
    )
    for inputs, _, ids in videos:
        rows, starts, scores = scoring.of_videos(model, **inputs)
        for name, values in scores.items():
            best[name].add(values, ids[rows], starts)
        count += len(rows)
        state.took_batch()
        if progress:
            # The last shard that was begun is not yet done.
            progress(len(report.kept) - 1, len(shards), count)
    if progress and shards:
        progress(len(shards), len(shards), count)
    lists = {name: collector.ranking() for name, collector in best.items()}
    return lists, state


def describe_run(model, shards, scoring, k, reading) -> dict:
    """What two runs must have in common to be one, as JSON has it."""
    by_video = scoring.video_level
    top = scoring.top_classes
    return {
        "format": FORMAT,
        "model": weights_digest(model),
        "shards": _names_and_sizes(shards),
        "shifts": list(map(int, scoring.shifts)),
        "averaging": scoring.averaging,
        "lists": scoring.names,
        "leave_out": list(map(int, scoring.leave_out)),
        "video_level": by_video and getattr(by_video, "digest", "unknown"),
        "multiply": scoring.multiply,
        "top_classes": None if top is None else int(top),
        "videos": repr((reading.get("holdout"), reading.get("part"))),
        "k": int(k),
    }


def _names_and_sizes(shards):
    """What tells data sets apart, wherever they are mounted."""
    from tensorflow.io import gfile

    def size(shard):
        return gfile.stat(shard).length if gfile.exists(shard) else None

    with ThreadPoolExecutor(32) as pool:  # a bucket takes its time to answer
        sizes = list(pool.map(size, shards))
    names = map(os.path.basename, shards)
    return [[*pair] for pair in zip(names, sizes, strict=True)]


def print_progress(what: str = "", seconds: float = 10.0) -> Callable:
    """Prints shards, segments a second and the time left, now and then.

    Args:
        what: Stands before each line.
    """
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
        line = f"{what}shard {done}/{shards}: "
        line += f"{segments:,} segments, {rate:,.0f}/s"
        if done > begin[1]:
            left = spent / (done - begin[1]) * (shards - done)
            line += f", {left / 60:.1f} min left"
        print(line, flush=True)

    return progress
