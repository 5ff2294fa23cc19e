"""Writing packs: appending to plain arrays so that a kill costs one shard."""

import json
import os

import numpy as np

from kit.pack.reader import (
    ENTRY,
    HEADER,
    RATING,
    ROW,
    VERSION,
    file_sizes,
    read_header,
)


class Writer:
    """Appends to the arrays of a pack.

    The header says how much of each array counts; what a killed run wrote
    beyond that is cut off when the pack is opened again.
    """

    def __init__(self, folder, made):
        self.folder = os.fspath(folder)
        self.header = {
            "format": "kit-pack",
            "version": VERSION,
            **made,
            "complete": False,
            "shards": [],
            "entries": 0,
            "ratings": 0,
            "rows": [0] * made["blocks"],
            "left_out": 0,
            "beyond_last_frame": 0,
        }
        self._forget()
        os.makedirs(self.folder, exist_ok=True)
        if os.path.exists(os.path.join(self.folder, HEADER)):
            self._resume(made)
        elif os.listdir(self.folder):
            raise ValueError(
                "A new pack needs an empty folder: give another, or empty it. "
                f"Received: folder={self.folder!r}"
            )
        else:
            self._save()

    def _resume(self, made):
        found = read_header(self.folder)
        differs = {
            name: found.get(name)
            for name, value in made.items()
            if found.get(name) != value
        }
        if differs:
            raise ValueError(
                "The folder holds a pack made otherwise: give the same "
                "options to go on with it, or another folder. Received: "
                f"folder={self.folder!r}, found there={differs}"
            )
        self.header = found
        for name, size in file_sizes(found).items():
            path = os.path.join(self.folder, name)
            there = os.path.getsize(path) if os.path.exists(path) else 0
            if there < size:
                raise ValueError(
                    "A pack to go on with must be whole: delete the folder "
                    f"and start again. Received: file={path!r}, bytes={there}, "
                    f"needed={size}"
                )
            if there > size:
                os.truncate(path, size)

    def _forget(self):
        self.entries, self.ratings, self.rows, self.frames = [], [], [], []

    def ids(self) -> np.ndarray:
        """Ids of the videos packed so far."""
        if not self.header["entries"]:
            return np.empty(0, ENTRY["id"])
        path = os.path.join(self.folder, "entries.bin")
        return np.unique(np.fromfile(path, ENTRY)["id"])

    def add(self, examples, video_id, rng):
        """Notes the examples of one video."""
        header = self.header
        if len(video_id) > ENTRY["id"].itemsize:
            raise ValueError(
                f"A pack takes ids of at most {ENTRY['id'].itemsize} bytes: "
                f"shorten them. Received: id={video_id!r}"
            )
        for at, example in enumerate(examples):
            if at == 0 or header["kind"] == "segments":
                scores = example.scores.tolist()
                pairs = zip(example.classes.tolist(), scores, strict=True)
                self.ratings += pairs
                header["ratings"] += len(scores)
                self.entries.append((video_id, header["ratings"]))
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
        self._append("entries.bin", np.array(self.entries, ENTRY))
        self._append("ratings.bin", np.array(self.ratings, RATING))
        rows = np.array(self.rows, ROW)
        blocks = rng.integers(self.header["blocks"], size=len(rows))
        order = rng.permutation(len(rows))
        for block in np.unique(blocks).tolist():
            here = order[blocks[order] == block]
            self._append(f"rows-{block:03d}.bin", rows[here])
            frames = np.stack([self.frames[at] for at in here])
            self._append(f"frames-{block:03d}.bin", frames)
            self.header["rows"][block] += len(here)
        self._forget()

    def _append(self, name, array):
        with open(os.path.join(self.folder, name), "ab") as file:
            file.write(array.tobytes())

    def shard_done(self, path, report, rng):
        """Enters a shard in the header: from here on it is packed."""
        self._write(rng)
        self.header["shards"].append(path)
        left_out = report.reasons.get(path, {})
        self.header["left_out"] += sum(left_out.values())
        beyond = report.beyond_last_frame[path]
        self.header["beyond_last_frame"] += int(beyond)
        self.header["complete"] = False
        self._save()

    def finish(self) -> dict:
        if not sum(self.header["rows"]):
            raise ValueError(
                "There was nothing to pack: give frame-level shards (rated "
                "ones, from 3/frame/validate, for segments). Received: "
                f"shards={self.header['shards'][:3]}"
            )
        self.header["complete"] = True
        self._save()
        return self.header

    def _save(self):
        path = os.path.join(self.folder, HEADER)
        with open(path + ".new", "w") as file:
            json.dump(self.header, file, indent=1)
        os.replace(path + ".new", path)
