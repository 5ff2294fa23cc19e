"""What a long run has collected, kept on disk, to go on after a kill."""

import json
import os
import time
from pathlib import Path

from kit.ranking import Ranking

SAVE_SECONDS = 300


class State:
    """What a run of `rank_segments` has collected, kept on disk."""

    def __init__(self, folder, best, run):
        self.folder = None if folder is None else Path(folder)
        self.best, self.run = best, run
        self.done, self.saved = 0, time.monotonic()

    def restore(self) -> int:
        """Fills the collectors with what was kept; returns its segments."""
        if self.folder is None or not (self.folder / "state.json").exists():
            return 0
        kept = json.loads((self.folder / "state.json").read_text())
        if kept["run"] != self.run:
            different = [
                key for key in self.run if kept["run"].get(key) != self.run[key]
            ]
            raise ValueError(
                "A run goes on from the state of the same run; give another "
                "folder, or remove this one to start again. Received: "
                f"folder={str(self.folder)!r}, which differs in {different}"
            )
        self.done = kept["done"]
        for name, collector in self.best.items():
            ranking = Ranking.load(self._file(name, self.done))
            collector.add_ranking(ranking)
        return len(ranking.starts)

    def keep(self, done, now=False) -> None:
        """Writes the state, if five minutes have passed since the last."""
        waited = time.monotonic() - self.saved
        if self.folder is None or (waited < SAVE_SECONDS and not now):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, collector in self.best.items():
            ranking = collector.ranking()
            ranking.save(self._file(name, done))
            collector.add_ranking(ranking)
        scratch = self.folder / "state.json.tmp"
        scratch.write_text(json.dumps({"run": self.run, "done": done}))
        os.replace(scratch, self.folder / "state.json")
        for name in self.best:
            if self.done:
                self._file(name, self.done).unlink(missing_ok=True)
        self.done, self.saved = done, time.monotonic()

    def remove(self) -> None:
        """Forgets the state of a run that ended."""
        if self.folder is not None and self.done:
            (self.folder / "state.json").unlink(missing_ok=True)
            for name in self.best:
                self._file(name, self.done).unlink(missing_ok=True)

    def _file(self, name, done):
        return self.folder / f"{name}-{done}.npz"
