"""Writing packs: appending to plain arrays so that a kill costs one shard."""

import contextlib
import fcntl
import json
import os
import zlib

import numpy as np

from kit.data.seen import SeenIds
from kit.pack.header import (
    CHECKED,
    ENTRY,
    HEADER,
    RATING,
    ROW,
    VERSION,
    file_sizes,
    read_header,
    size,
)


@contextlib.contextmanager
def locked(folder):
    """Holds a folder against other packers; a kill lets go of it."""
    os.makedirs(folder, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise ValueError(
            "One process packs into a folder at a time: wait for the other, "
            f"or end it. Received: folder={folder!r}"
        ) from None
    except OSError:
        pass  # a mount that knows no locks, such as Drive
    try:
        yield
    finally:
        os.close(held)


class Ids:
    """The ids of a pack, numbered in the order in which they are read."""

    def __init__(self, written: bytes):
        before = written.split(b"\0")[:-1]
        self.seen = SeenIds(map(SeenIds.key, before))
        self.count = len(before)
        self.new = {}

    def add(self, video_id: bytes) -> bool:
        """Notes an id; false where it was there already."""
        fresh = self.seen.add(video_id)
        if fresh:
            self.new[video_id] = self.count
            self.count += 1
        return fresh


class Writer:
    """Appends to the arrays of a pack.

    The header says how much of each array counts; what a killed run wrote
    beyond that is cut off when the pack is opened again.

    Args:
        folder: Where the pack is, or begins.
        made: What it is made of, as its header says it.
    """

    def __init__(self, folder, made):
        self.folder = folder
        self._forget()
        if os.path.exists(os.path.join(folder, HEADER)):
            self._resume(made)
        elif set(os.listdir(folder)) - {HEADER + ".new"}:
            raise ValueError(
                "A new pack needs an empty folder: give another, or empty it. "
                f"Received: folder={folder!r}"
            )
        else:
            self._begin(made)
        self.sizes = file_sizes(self.header)
        with open(os.path.join(folder, "ids.bin"), "ab+") as file:
            file.seek(0)
            self.ids = Ids(file.read())

    def _begin(self, made):
        self.header = {
            "format": "kit-pack",
            "version": VERSION,
            **made,
            "complete": False,
            "shards": [],
            "planned": None,
            "ids": 0,
            "entries": 0,
            "ratings": 0,
            "rows": [0] * made["blocks"],
            "left_out": 0,
            "beyond_last_frame": 0,
            "ended": {},
            "checksums": dict.fromkeys(CHECKED, 0),
        }
        self._save()

    def _resume(self, made):
        self.header = found = read_header(self.folder)
        differs = {
            name: found.get(name)
            for name, value in made.items()
            if found.get(name) != value
        }
        if differs and not found["shards"]:  # nothing is packed as yet
            for name in file_sizes(found):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(os.path.join(self.folder, name))
            return self._begin(made)
        if differs:
            raise ValueError(
                "The folder holds a pack made otherwise: give the same "
                "options to go on with it, or another folder. Received: "
                f"folder={self.folder!r}, found there={differs}"
            )
        for name, needed in file_sizes(found).items():
            there = size(self.folder, name)
            path = os.path.join(self.folder, name)
            if there < needed:
                raise ValueError(
                    "A pack to go on with must be whole: delete the folder "
                    f"and start again. Received: file={path!r}, bytes={there}, "
                    f"needed={needed}"
                )
            if there > needed:
                os.truncate(path, needed)

    def _forget(self):
        self.entries, self.ratings, self.rows, self.frames = [], [], [], []

    def add(self, examples, video_id, rng):
        """Notes the examples of one video, whose id was noted before."""
        header = self.header
        for at, example in enumerate(examples):
            if at == 0 or header["kind"] == "segments":
                scores = example.scores.tolist()
                pairs = zip(example.classes.tolist(), scores, strict=True)
                self.ratings += pairs
                header["ratings"] += len(scores)
                video = self.ids.new[video_id]
                self.entries.append((video, header["ratings"]))
                header["entries"] += 1
            frames = np.hstack([example.rgb, example.audio])
            window = np.zeros((header["length"], frames.shape[1]), np.uint8)
            window[example.first : example.first + len(frames)] = frames
            self.frames.append(window)
            entry = header["entries"] - 1
            self.rows.append((entry, example.start, example.first, len(frames)))
        if len(self.rows) >= 8192:
            self._write(rng)

    def _write(self, rng):
        """Appends what was noted, each row to a random block."""
        ids = b"".join(video_id + b"\0" for video_id in self.ids.new)
        self._append("ids.bin", ids)
        self.header["ids"] += len(ids)
        self.ids.new.clear()
        self._append("entries.bin", np.array(self.entries, ENTRY).tobytes())
        self._append("ratings.bin", np.array(self.ratings, RATING).tobytes())
        rows = np.array(self.rows, ROW)
        blocks = rng.integers(self.header["blocks"], size=len(rows))
        order = rng.permutation(len(rows))
        for block in np.unique(blocks).tolist():
            here = order[blocks[order] == block]
            self._append(f"rows-{block:03d}.bin", rows[here].tobytes())
            frames = b"".join(self.frames[at].tobytes() for at in here)
            self._append(f"frames-{block:03d}.bin", frames)
            self.header["rows"][block] += len(here)
        self._forget()

    def _append(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "ab") as file:
            # Where a mount knows no locks, this finds the other packer.
            if file.tell() != self.sizes[name]:
                raise ValueError(
                    "Nobody else can write to a pack that is being made: end "
                    "the other process and run the same again. Received: "
                    f"file={path!r}, bytes={file.tell()}, "
                    f"written={self.sizes[name]}"
                )
            file.write(content)
        self.sizes[name] += len(content)
        sums = self.header["checksums"]
        if name in sums:
            sums[name] = zlib.crc32(content, sums[name])

    def shard_done(self, path, report, rng):
        """Enters a shard in the header: from here on it is packed."""
        self._write(rng)
        header = self.header
        header["shards"].append(path)
        reasons = report.reasons.get(path, {}).values()
        header["left_out"] += sum(count for count, _ in reasons)
        header["beyond_last_frame"] += int(report.beyond_last_frame[path])
        if path in report.ended:
            header["ended"][path] = report.ended[path]
        header["complete"] = False
        self._save()

    def finish(self) -> dict:
        """Says in the header that the pack is whole, and returns it."""
        header = self.header
        shards, planned = header["shards"], header["planned"] or 0
        if len(shards) < planned:
            raise ValueError(
                "A pack is finished with all the shards that it was begun "
                "with: give the others again. Received: "
                f"folder={self.folder!r}, with {len(shards)} of {planned}"
            )
        if not sum(header["rows"]):
            raise ValueError(
                "There was nothing to pack: give frame-level shards (rated "
                "ones, from 3/frame/validate, for segments). Received: "
                f"shards={shards[:3]}"
            )
        header["complete"] = True
        self._save()
        return header

    def _save(self):
        path = os.path.join(self.folder, HEADER)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.header, file, indent=1)
        os.replace(path + ".new", path)
