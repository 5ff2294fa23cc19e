"""Shards -> packs: one pass over each shard."""

import hashlib
import json
import os
from pathlib import Path

import keras
import numpy as np

from kit.data.reading import problem_list, read_shard, warn_left_out
from kit.data.shards import as_paths
from kit.ranking.table import check_classes
from kit.replacing import replacing
from kit.spec import MINED, UNRATED, FrameSpec


def pack_snippets(
    shards,
    folder,
    spec: FrameSpec,
    num_classes: int,
    snippets: int = 4,
    num_frames: int = 5,
    num_windows: int = 0,
    seed: int = 0,
    on_error: str = "stop",
) -> None:
    """Packs random runs of frames of each video, with the video's labels.

    The choice is a pure function of the seed and the video's id. A row is one
    run, or the runs of a bag as `data.Bags` has them. Rows of one run differ
    where the video has enough frames.

    Args:
        shards: From `data.list_shards`, or any list of paths.
        folder: A local folder, new or with a pack to continue.
        spec: What a frame looks like.
        num_classes: Size of the vocabulary; a label outside it is an error.
        snippets: Rows a video.
        num_frames: Frames a run; shorter videos are padded.
        num_windows: Runs of a bag; 0 for rows of one run.
        seed: Whole number of at least 0.
        on_error: `"stop"` at the first bad record, or `"skip"` what is bad
            and warn of it.

    Raises:
        ValueError: For bad input, and a folder that holds another pack.
    """

    def cut(video):
        count = len(video.frames)
        choices = max(count - num_frames, 0) + 1
        rng = np.random.default_rng([seed, *video.video_id])
        if num_windows:
            filled = min(num_windows, -(-count // spec.segment_frames))
            place = np.arange(filled) + rng.random((snippets, filled))
            starts = np.full((snippets, num_windows), count)  # beyond the end
            starts[:, :filled] = place * choices / filled
        else:
            starts = rng.choice(choices, snippets, replace=choices < snippets)
        for start in starts:
            yield start, [(label, 1) for label in video.labels]

    header = {
        "kind": "snippets",
        "num_classes": int(num_classes),
        "others": 0,
        "snippets": int(snippets),
        "num_frames": int(num_frames),
        "num_windows": int(num_windows),
        "seed": int(seed),
    }
    _pack(shards, folder, spec, header, cut, on_error)


def pack_segments(
    shards,
    folder,
    spec: FrameSpec,
    class_ids,
    context: int = 0,
    on_error: str = "stop",
) -> None:
    """Packs the rated segments, each once, with all its ratings.

    Targets hold 1 yes, 0 no, and of classes that nobody rated in the segment
    -1 where they are a label of the video, else -2; all -1 where the video has
    no labels.

    Args:
        shards: From `data.list_shards`, or any list of paths.
        folder: A local folder, new or with a pack to continue.
        spec: What a frame and a segment look like.
        class_ids: Vocabulary ids of the segment task; a rating of another
            class is an error.
        context: Frames to add on each side, where the video has them.
        on_error: `"stop"` at the first bad record, or `"skip"` what is bad
            and warn of it.

    Raises:
        ValueError: For bad input, and a folder that holds another pack.
    """

    class_ids = np.sort(check_classes(class_ids))

    def cut(video):
        labels = video.labels if len(video.labels) else class_ids
        for start in np.unique(video.ratings[:, 0]).tolist():
            targets = video.ratings[video.ratings[:, 0] == start, 1:]
            unrated = np.setdiff1d(labels, targets[:, 0])
            unrated = np.intersect1d(unrated, class_ids).tolist()
            pairs = [(label, UNRATED) for label in unrated]
            yield start - context, targets.tolist() + pairs

    header = {
        "kind": "segments",
        "class_ids": class_ids.tolist(),
        "others": MINED,
        "num_frames": int(spec.segment_frames + 2 * context),
        "context": int(context),
    }
    _pack(shards, folder, spec, header, cut, on_error)


def read_header(folder) -> dict:
    """The header of a pack; raises `ValueError` where there is none."""
    path = Path(folder, "pack.json")
    header = json.loads(path.read_text()) if path.exists() else {}
    if "others" not in header:
        rule = "The folder must hold a pack: make one anew in a new folder."
        raise ValueError(f"{rule} Received: folder={str(folder)!r}")
    return header


def row_shape(header) -> tuple[int, ...]:
    """Of the frames of a row: `(T,)`, or `(N, T)` of a bag."""
    windows = header["num_windows"]
    return (windows,) * (windows > 0) + (header["num_frames"],)


def pair(folder, shard: str) -> list[Path]:
    """The files of a shard: its table and its frames.

    The frames appear last: where they exist, the shard is packed. Shards of
    one name in different folders are different shards.
    """
    name = os.path.basename(shard).removesuffix(".tfrecord")
    name += "-" + hashlib.sha256(shard.encode()).hexdigest()[:8]
    return [Path(folder, f"{name}.{end}.npy") for end in ("table", "frames")]


def _pack(shards, folder, spec, header, cut, on_error) -> None:
    """Packs the shards that are not yet packed."""
    folder, problems = Path(folder), problem_list(on_error)
    paths = as_paths(shards)
    shards = [p if "://" in p else os.path.abspath(p) for p in paths]
    header = {"context": 0, "num_windows": 0, **header, "spec": vars(spec)}
    low = {k: v for k, v in header.items() if isinstance(v, int) and v < 0}
    low.pop("others", None)  # a target
    if low:
        raise ValueError(f"Arguments must be at least 0. Received: {low}")
    _begin(folder, header, shards)
    bar = keras.utils.Progbar(len(shards), unit_name="shard")
    for number, shard in enumerate(shards, 1):
        files = pair(folder, shard)
        if not files[-1].exists():
            arrays = _arrays(shard, spec, header, cut, problems)
            for path, array in zip(files, arrays, strict=True):
                with replacing(path) as partial:
                    np.save(partial, array)
        bar.update(number)
    warn_left_out(problems)


def _begin(folder, header, shards) -> None:
    """Writes the header, or adds shards to one that says the same."""
    path, packed = folder / "pack.json", []
    if path.exists():
        present = read_header(folder)
        packed = present["shards"]
        for name, value in header.items():
            if value != present.get(name):
                raise ValueError(
                    f"A pack goes on as it was begun: give the same `{name}`, "
                    f"or another folder. Received: {name}={value!r}, in "
                    f"{str(path)!r} {name}={present.get(name)!r}"
                )
    listed = sorted({*packed, *shards})
    if listed != packed:
        with replacing(path) as partial:
            text = json.dumps({**header, "shards": listed}, indent=1)
            partial.write_text(text)


def _arrays(shard, spec, header, cut, problems):
    """The table and the frames of a shard.

    A row of the table describes a row of frames. These are the frames `start`
    to `start + T` of a video; a bag has a `start` for each window. Frames
    outside of 0 to `num_frames` do not exist and are zeros. `targets` are
    pairs of a class and its target; class -1 fills up a shorter row, and
    classes that are in no pair have the target `others` of the header.
    """
    rows, shape = [], row_shape(header)
    classes = header.get("num_classes"), header.get("class_ids")
    for video in read_shard(shard, spec, *classes, problems=problems):
        count = len(video.frames)
        for number, (start, targets) in enumerate(cut(video)):
            start = np.atleast_1d(start)
            index = (start[:, None] + np.arange(shape[-1])).reshape(shape)
            window = video.frames.take(index, axis=0, mode="clip")
            window[(index < 0) | (index >= count)] = 0
            row = video.video_id, start, count, targets
            rows.append((number, window, row))
    # First window 0 of each video, then window 1 of each and so on, so that
    # what is read together is of many videos.
    rows.sort(key=lambda row: row[0])
    table = [row for _, _, row in rows]
    longest = max([1, *(len(video_id) for video_id, *_ in table)])
    width = max([1, *(len(targets) for *_, targets in table)])
    for *_, targets in table:
        targets.extend([(-1, 0)] * (width - len(targets)))
    names = "video_id", "start", "num_frames", "targets"
    windows = header["num_windows"] or 1
    formats = f"S{longest}", f"({windows},)<i8", "<i4", f"({width},2)<i4"
    dtype = list(zip(names, formats, strict=True))
    frames = np.array([window for _, window, _ in rows], np.uint8)
    return np.array(table, dtype), frames.reshape(-1, *shape, spec.dim)
