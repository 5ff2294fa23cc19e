"""The format of a pack on the disk, and what its header must say."""

import dataclasses
import json
import os

import numpy as np

from kit.spec import FrameSpec
from kit.splits import Holdout

VERSION = 2
HEADER = "pack.json"
KINDS = ("snippets", "segments")

# `ids.bin` holds the ids of all videos read, packed or not, in order, each
# ended by a zero byte, which no id has.
# An entry is what carries labels: a video, or a rated segment.  `video` is
# the number of its id.  Its ratings end at `end` and begin where those of the
# entry before end.
ENTRY = np.dtype([("video", "<u4"), ("end", "<u8")])
RATING = np.dtype([("class", "<i4"), ("score", "i1")])
# A row is one example: `count` frames from row `first` of its window on.
ROW = np.dtype(
    [("entry", "<u4"), ("start", "<i4"), ("first", "<u2"), ("count", "<u2")]
)
# Read whole when a pack is opened; the header has the checksum of each.
CHECKED = ("ids.bin", "entries.bin", "ratings.bin")


def read_header(folder) -> dict:
    """The header of a pack of ours, checked."""
    path = os.path.join(folder, HEADER)
    try:
        with open(path, encoding="utf-8") as file:
            header = json.load(file)
        if header["format"] != "kit-pack":
            raise ValueError(header["format"])
        if header["version"] == VERSION:
            _check(header)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"A pack is a folder with our `{HEADER}`: make one by "
            f"`kit.pack`. Received: file={path!r}, error={error!r}"
        ) from error
    if header["version"] != VERSION:
        raise ValueError(
            f"This kit reads packs of version {VERSION}: pack the shards "
            f"again. Received: version={header['version']!r}"
        )
    return header


def _check(header):
    """Raises where what is used of a header is missing or makes no sense."""
    spec, rows = FrameSpec(**header["spec"]), header["rows"]
    Holdout(**header["holdout"])
    counts = ("ids", "entries", "ratings", "left_out", "beyond_last_frame")
    numbers = [header[name] for name in (*counts, "seed", "context")]
    planned, complete = header["planned"], header["complete"]
    shards, sums = header["shards"], header["checksums"]
    rules = {
        "counts": all(
            type(number) is int and number >= 0 for number in [*numbers, *rows]
        ),
        "kind": header["kind"] in KINDS,
        "complete": complete is False or complete is True and sum(rows) > 0,
        "rows": type(rows) is list and len(rows) == header["blocks"] > 0,
        "length": header["length"]
        == spec.segment_frames + 2 * header["context"],
        "shards": type(shards) is list and {*map(type, shards)} <= {str},
        "planned": planned is None or type(planned) is int,
        "ended": type(header["ended"]) is dict,
        "checksums": type(sums) is dict and {*sums} == {*CHECKED},
        "spec": dataclasses.asdict(spec) == header["spec"],
    }
    wrong = [name for name, kept in rules.items() if not kept]
    if wrong:
        raise ValueError(f"wrong {', '.join(wrong)}")


def file_sizes(header) -> dict[str, int]:
    """File -> bytes that the header calls for."""
    spec = header["spec"]
    frame = header["length"] * (spec["rgb"] + spec["audio"])
    sizes = {
        "ids.bin": header["ids"],
        "entries.bin": header["entries"] * ENTRY.itemsize,
        "ratings.bin": header["ratings"] * RATING.itemsize,
    }
    for block, count in enumerate(header["rows"]):
        sizes[f"rows-{block:03d}.bin"] = count * ROW.itemsize
        sizes[f"frames-{block:03d}.bin"] = count * frame
    return sizes


def size(folder, name: str) -> int:
    """Bytes of a file of a pack; 0 where there is none."""
    path = os.path.join(folder, name)
    return os.path.getsize(path) if os.path.exists(path) else 0
