"""The checked videos of some shards, in the order of a pass over them."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kit.data import ahead
from kit.data.records import Video
from kit.data.seen import SeenIds
from kit.data.shards import Report, read_shard
from kit.spec import FrameSpec
from kit.splits import Holdout, check_part

OPEN_SHARDS = 8


@dataclass(frozen=True)
class Source:
    """The videos of a part of some shards, checked as they are read."""

    shards: tuple[str, ...]
    spec: FrameSpec
    holdout: Holdout
    part: str
    report: Report
    num_classes: int | None = None
    class_ids: np.ndarray | None = None

    def __post_init__(self):
        check_part(self.part)

    def read(self, path: str, seen: SeenIds, reader=None) -> Iterator[Video]:
        """The wanted videos of one shard."""
        known = (self.spec, self.num_classes, self.class_ids)
        for video in read_shard(path, self.report, seen, *known, reader):
            if self.part == "all" or self.holdout.select(
                [video.video_id], self.part
            ):
                self.report.good(path, video)
                yield video

    def one_pass(self, rng=None) -> Iterator[Video]:
        """All of them once: in order, or mixed by `rng`."""
        self.report.start()
        reader = ahead.take(self.shards)
        try:
            seen = SeenIds()
            order = range(len(self.shards))
            if rng is not None:
                order = rng.permutation(len(self.shards))
            waiting = (self.read(self.shards[at], seen, reader) for at in order)
            width = 1 if rng is None else OPEN_SHARDS
            opened = list(itertools.islice(waiting, width))
            while opened:
                for videos in opened[:]:
                    video = next(videos, None)
                    if video is not None:
                        yield video
                        continue
                    at = opened.index(videos)
                    opened[at : at + 1] = itertools.islice(waiting, 1)
        finally:
            ahead.give_back(reader)
        self.report.finish()


def source(shards, spec, holdout, part, on_error, **known) -> Source:
    """A `Source` of at least one shard."""
    one = isinstance(shards, str | os.PathLike)
    shards = (str(shards),) if one else tuple(map(str, shards))
    if not shards:
        raise ValueError(
            "`shards` must name at least one file: see `list_shards`. "
            f"Received: shards={shards!r}"
        )
    return Source(shards, spec, holdout, part, Report.of(on_error), **known)


def check_whole(name: str, value, least: int) -> None:
    if not isinstance(value, int | np.integer) or value < least:
        raise ValueError(
            f"`{name}` must be a whole number of at least {least}. "
            f"Received: {name}={value!r}"
        )


def class_columns(class_ids) -> np.ndarray:
    """Class id -> column of the targets, -1 where there is none."""
    ids = np.asarray(class_ids)
    if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu":
        raise ValueError(
            "`class_ids` must be a list of vocabulary ids. "
            f"Received: class_ids={class_ids!r}"
        )
    if ids.min() < 0 or len(np.unique(ids)) < len(ids):
        raise ValueError(
            "`class_ids` must be different ids of at least 0. "
            f"Received: class_ids={class_ids!r}"
        )
    columns = np.full(ids.max() + 1, -1)
    columns[ids] = np.arange(len(ids))
    return columns
