"""The folder of a stage: its checkpoints, and what it leaves when finished."""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from kit.training import checkpoint
from kit.training.checkpoint import FORMAT, check_same, replace, replace_text

CHECKPOINTS = "checkpoint-*.npz"
# What a finished stage is; the last says that it is whole.
LEFT = ("stage.weights.h5", "history.csv", "config.json")
RESTARTED = "restarted"


class Stage:
    """Where a stage of training lives on the disk.

    A checkpoint is one `.npz` with a checksum on each array, and the record of
    the stage as JSON inside.  The newest two stay, so that a damaged one costs
    an interval and not the run; none stays when the stage is finished.

    Args:
        folder: What the stage leaves: weights, `history.csv`, `config.json`.
        scratch: Where checkpoints are written; `folder` where it is None.
            Kaggle keeps 20 GB of the working folder, and the optimizer takes
            twice the room of the weights.
        earlier: Folders of the same stage that an earlier run left, such as an
            attached output; they are only read.
    """

    def __init__(self, folder, scratch=None, earlier: Iterable = ()):
        self.folder = Path(folder)
        self.scratch = Path(scratch or folder)
        self.places = list(dict.fromkeys([self.folder, *map(Path, earlier)]))
        self.damaged = {}  # path to what was wrong

    @contextlib.contextmanager
    def locked(self):
        """Holds the stage against other processes; a kill lets go of it."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        path = self.scratch / "lock"
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    "One process trains a stage at a time: wait for the other, "
                    "or end it. Received: it is at work in "
                    f"{self.folder}"
                ) from None
            except OSError:
                pass  # a mount that knows no locks, such as Drive
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forgets what is in the folder, and what there was elsewhere."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / RESTARTED).touch()
        # First what says that the others are there.
        for name in reversed(LEFT):
            (self.folder / name).unlink(missing_ok=True)
        self.tidy()

    def sources(self) -> list[Path]:
        """The folders to go on from: our own where there is a way on.

        What was begun anew wins over what it was to replace.
        """
        own = [self.folder / name for name in (RESTARTED, "config.json")]
        if self._written() or any(path.exists() for path in own):
            return [self.folder]
        marked = [p for p in self.places if (p / RESTARTED).exists()]
        return marked or self.places

    def adopt(self, place: Path) -> None:
        """Copies a finished stage from elsewhere, so that the next session
        needs this output alone."""
        for name in LEFT:
            replace(
                self.folder / name,
                lambda path, name=name: shutil.copyfile(place / name, path),
            )

    def finished(self, plan: dict) -> Path | None:
        """The place where the stage is finished, if it is.

        Raises:
            ValueError: Where that was another stage than `plan` says.
        """
        for place in self.sources():
            path = place / "config.json"
            if path.exists():
                try:
                    config = json.loads(path.read_text())
                except ValueError as error:
                    raise ValueError(
                        "A finished stage must have a whole config.json: begin "
                        "it anew with `restart` (--restart yes). "
                        f"Received: {path} ({error})"
                    ) from error
                check_same(config, {"format": FORMAT, **plan}, place)
                return place
        return None

    def history(self) -> pd.DataFrame:
        """What `fit` returned, or what there is of it so far."""
        begun = [p for p in self.sources() if (p / "history.csv").exists()]
        done = [p for p in begun if (p / "config.json").exists()]
        if not begun:
            return pd.DataFrame()
        place = (done or begun)[0]
        table = pd.read_csv(place / "history.csv")
        table.attrs["finished"] = bool(done)
        return table

    def checkpoints(self) -> list[Path]:
        """All there are, the newest first, but for those found damaged."""
        return self._whole([self.scratch, *self.sources()])

    def save(self, interval: int, record: dict, arrays: Iterable) -> None:
        """Writes a checkpoint and lets go of the last but one.

        Args:
            interval: Intervals done.
            record: Anything that JSON can hold.
            arrays: Pairs of name and array, taken one after the other.

        Raises:
            ValueError: Where the disk is full.
        """
        self.scratch.mkdir(parents=True, exist_ok=True)
        for path in self._written()[1:]:
            path.unlink()
        path = self.scratch / f"checkpoint-{interval:06d}.npz"
        checkpoint.write(path, record, arrays)
        self.damaged.pop(path, None)

    def load(self, plan: dict, take) -> dict | None:
        """Restores the newest whole checkpoint; returns its record.

        Args:
            plan: What the stage is to be.
            take: Called with the record and the arrays by name.

        Raises:
            ValueError: Where there are checkpoints and none is whole, or they
                are of another stage.
        """
        while found := self.checkpoints():
            path = found[0]
            try:
                record = checkpoint.read(path, plan, take)
            except checkpoint.Damaged as error:
                print(f"{path} is damaged ({error}): falling back")
                self.damaged[path] = error.__cause__
                continue
            self._forget_damaged()
            return record
        if self.damaged:
            raise ValueError(
                "A checkpoint must be whole, and none of this stage is: begin "
                "it anew with `restart` (--restart yes). Received: "
                f"{', '.join(map(str, self.damaged))}"
            )
        return None

    def _forget_damaged(self):
        """Has no whole checkpoint make room for a damaged one of ours."""
        for path, error in list(self.damaged.items()):
            own = path.parent in (self.scratch, self.folder)
            # A disk that did not answer says nothing of what is on it.
            if own and not isinstance(error, OSError):
                path.unlink(missing_ok=True)  # another host may be faster
                del self.damaged[path]

    def keep_for_later(self) -> None:
        """Has the newest checkpoint where it outlives the session."""
        found = self.checkpoints()
        if found and found[0].parent != self.folder:
            replace(
                self.folder / found[0].name,
                lambda copy: shutil.copyfile(found[0], copy),
            )

    def finish(self, config: dict) -> None:
        """Says that all is done, which makes the checkpoints superfluous."""
        replace_text(self.folder / "config.json", json.dumps(config, indent=1))
        self.tidy()

    def tidy(self) -> None:
        """Removes the checkpoints, also halves that a kill has left."""
        for place in {self.scratch, self.folder}:
            for pattern in (CHECKPOINTS, f"partial-{CHECKPOINTS}"):
                for path in place.glob(pattern):
                    path.unlink()

    def check_room(self, size: int) -> None:
        """Raises where two checkpoints of `size` bytes will not fit."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.scratch).free
        free += sum(path.stat().st_size for path in self._written())
        if free < 2 * size:
            raise ValueError(
                "Two checkpoints must fit on the disk: free some room, or give "
                f"another --output-dir. Received: {free / 1e9:.1f} GB free in "
                f"{self.scratch}, {2 * size / 1e9:.1f} GB needed"
            )

    def _written(self):
        """Checkpoints in our own folders, the newest first."""
        return self._whole([self.scratch, self.folder])

    def _whole(self, places):
        found = {path for place in places for path in place.glob(CHECKPOINTS)}
        found -= set(self.damaged)
        return sorted(found, key=lambda path: path.name, reverse=True)
