"""The shards still to be ranked, and what was collected of the others."""

import hashlib
import json
import os
import reprlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import keras
import numpy as np

from kit.ranking import Ranking, TopK

# Opening a reader takes a third of a second, so it is not done for each of
# thousands of small shards.
TURNS = 100


def fingerprint(model: keras.Model) -> str:
    """Tells trained models apart: a hash of the weights."""
    digest = hashlib.blake2b(digest_size=8)
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()


def remaining(
    tops: Mapping[str, TopK],
    shards: Sequence[str],
    folder,
    about: Mapping,
    save_every: float = 300.0,
) -> Iterator[list[str]]:
    """The shards that are still to be ranked, in a hundred turns at most.

    A loop over it may be killed at any time: what the collectors hold is
    written now and then, between two turns, and the same loop goes on from
    there to the same result.  When it ends, each ranking is in `folder`, under
    the name of its collector; where it ended before, nothing is left to do.

    Several machines share the work if each ranks `shards[i::n]` in a folder of
    its own; `Ranking.merge` of what they leave is the ranking of all.

    Args:
        tops: Name to collector, to which the loop adds what a turn gives.
            They are emptied at the start, and when the loop ends.
        shards: From `data.list_shards`.
        folder: Where the rankings go, and until then what was collected.
        about: What makes the ranking what it is, such as the `fingerprint` of
            the model and the shifts: values that JSON can hold.
        save_every: Seconds between two writes.  At full size one takes about
            ten seconds a collector.

    Yields:
        The next of `shards`, a few at a time where there are many.

    Raises:
        ValueError: Where `folder` holds rankings of other shards, collectors
            or `about`; it says what differs.
        OSError: Where a ranking cannot be written.

    Example:

    ```python
    about = {"model": inference.fingerprint(model), "shifts": shifts}
    top = TopK(models.class_ids(model))
    for some in inference.remaining({"test": top}, shards, folder, about):
        videos = data.videos(some, spec, with_ids=True)
        for inputs, ids in videos.as_numpy_iterator():
            windows, rows, starts = shifted_windows(inputs, spec, shifts)
            scores = predict(model, windows).mean(axis=0)
            top.add(scores, ids[rows], starts)
    ranking = Ranking.load(folder / "test")
    ```
    """
    one = isinstance(shards, str | os.PathLike)
    shards = [shards] if one else list(shards)
    state = _State(Path(folder), tops, shards, about)
    done, finished = state.restore()
    if finished:
        print(f"ranked before: {folder}")
        return
    progress = _Progress(done, len(shards), state.segments)
    saved = time.monotonic()
    # The same turns whenever it is killed, hence the same batches and bits.
    size = -(-len(shards) // TURNS)
    while done < len(shards):
        yield shards[done : done + size]
        done = min(done + size, len(shards))
        progress.show(done)
        if done < len(shards) and time.monotonic() - saved >= save_every:
            state.save(done)
            saved = time.monotonic()
    state.finish()
    progress.end(state.segments)


class _State:
    """What was collected of the first shards, as it is kept on disk.

    `about.json` says of how many; it is replaced once the rankings of that
    many are complete, which lie in `state-<number of shards>` and at the end
    in the folder itself.
    """

    def __init__(self, folder, tops, shards, about):
        self.folder, self.tops, self.segments = folder, tops, 0
        about = {
            **about,
            "lists": {name: top.k for name, top in tops.items()},
            "shards": [os.path.basename(shard) for shard in shards],
        }
        # As JSON gives it back: lists for tuples, text for what it lacks.
        self.about = json.loads(json.dumps(about, default=str))

    def restore(self):
        """Number of shards done, and whether the rankings are complete."""
        for top in self.tops.values():
            top.ranking()  # of a loop that was broken off in this process
        path = self.folder / "about.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        done = kept.get("done", 0)
        if kept:
            self._check(kept["about"])
        if kept and done == len(self.about["shards"]):
            return done, True
        self._remove_states(but=done)
        if done:
            self._load(done)
        return done, False

    def save(self, done):
        """Keeps what the collectors hold of the first `done` shards."""
        try:
            self._write(self._state(done), done)
        except OSError:  # such as a full disk
            shutil.rmtree(self._state(done), ignore_errors=True)
            raise
        self._remove_states(but=done)
        self._load(done)

    def finish(self):
        """Leaves the rankings of all shards."""
        self._write(self.folder, len(self.about["shards"]))
        self._remove_states()

    def _check(self, kept):
        now = self.about
        differ = [k for k in {**now, **kept} if kept.get(k) != now.get(k)]
        if differ:
            short = reprlib.repr
            pairs = [
                f"{key}: {short(kept.get(key))} there, {short(now.get(key))}"
                for key in differ
            ]
            raise ValueError(
                "A folder holds the rankings of one model, of one list of "
                "shards and scored in one way: give another folder, or remove "
                f"this one to rank anew. Received: folder={str(self.folder)!r}"
                f", {'; '.join(pairs)} now"
            )

    def _write(self, folder, done):
        for name, top in self.tops.items():
            ranking = top.ranking()
            self.segments = len(ranking.starts)
            ranking.save(folder / name)
        path = self.folder / "about.json"
        scratch = path.with_suffix(".tmp")
        record = {"done": done, "about": self.about}
        scratch.write_text(json.dumps(record, indent=1))
        scratch.replace(path)

    def _load(self, done):
        for name, top in self.tops.items():
            ranking = Ranking.load(self._state(done) / name, mmap=True)
            top.add_ranking(ranking)
            self.segments = len(ranking.starts)

    def _state(self, done):
        return self.folder / f"state-{done}"

    def _remove_states(self, but=None):
        for folder in self.folder.glob("state-*"):
            if folder != self._state(but):
                shutil.rmtree(folder)


class _Progress:
    """Tells how far a loop is: live on a terminal, elsewhere now and then."""

    def __init__(self, done, total, segments):
        self.done, self.total, self.segments = done, total, segments
        self.start = self.told = time.monotonic()
        self.live = sys.stdout.isatty()
        if done:
            print(f"{done} of {total} shards were ranked before")

    def show(self, done):
        now = time.monotonic()
        if now - self.told < (1 if self.live else 30):
            return
        self.told = now
        left = (now - self.start) / (done - self.done) * (self.total - done)
        line = f"{done}/{self.total} shards, {_clock(left)} to go"
        print(line, end="   \r" if self.live else "\n", flush=True)

    def end(self, segments):
        spent = time.monotonic() - self.start
        rate = (segments - self.segments) / max(spent, 1.0)
        line = f"{self.total} shards, {segments:,} segments, {_clock(spent)}"
        if rate > 1:
            line += f", {rate:,.0f} segments/s"
        print(line, flush=True)


def _clock(seconds):
    return str(timedelta(seconds=round(seconds)))
