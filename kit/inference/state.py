"""What a long run has collected, kept on disk, to go on after a kill."""

import json
import os
import time
from pathlib import Path

from kit.ranking import Ranking

SAVE_SECONDS = 300


class State:
    """What a run of `rank_segments` has collected, kept on disk.

    Attributes:
        done: Batches of videos that have been taken.
    """

    def __init__(self, folder, best, run):
        self.folder = None if folder is None else Path(folder)
        self.best, self.run = best, run
        self.done = self.kept = 0
        self.saved = time.monotonic()

    def restore(self) -> int:
        """Fills the collectors with what was kept; returns its segments."""
        if self.folder is None or not (self.folder / "state.json").exists():
            return 0
        try:
            there = json.loads((self.folder / "state.json").read_text())
            run, done = there["run"], there["done"]
            if run == self.run:
                for name, collector in self.best.items():
                    ranking = Ranking.load(self._file(name, done))
                    collector.add_ranking(ranking)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                "The state of a run must be whole to go on from: remove the "
                f"folder to start again. Received: folder={str(self.folder)!r} "
                f"({error})"
            ) from error
        if run != self.run:
            different = [
                key for key in self.run if run.get(key) != self.run[key]
            ]
            raise ValueError(
                "A run goes on from the state of the same run; give another "
                "folder, or remove this one to start again. Received: "
                f"folder={str(self.folder)!r}, which differs in {different}"
            )
        self.done = self.kept = done
        return len(ranking.starts)

    def took_batch(self) -> None:
        """Writes the state, if five minutes have passed since the last."""
        self.done += 1
        waited = time.monotonic() - self.saved
        if self.folder is None or waited < SAVE_SECONDS:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, collector in self.best.items():
            ranking = collector.ranking()
            ranking.save(self._file(name, self.done))
            collector.add_ranking(ranking)
        write_json(
            self.folder / "state.json", {"run": self.run, "done": self.done}
        )
        self._unlink(self.kept)
        self.kept, self.saved = self.done, time.monotonic()

    def remove(self) -> None:
        """Forgets the state of a run whose result is safe."""
        if self.kept:
            (self.folder / "state.json").unlink(missing_ok=True)
            self._unlink(self.kept)

    def _unlink(self, done):
        for name in self.best:
            self._file(name, done).unlink(missing_ok=True)

    def _file(self, name, done):
        return self.folder / f"{name}-{done}.npz"


def write_json(path, content) -> None:
    """Writes a JSON file: whole or not at all."""
    scratch = path.with_name(path.name + ".tmp")
    scratch.write_text(json.dumps(content))
    os.replace(scratch, path)
