"""The shards still to be ranked, and what was collected of the others."""

import hashlib
import json
import os
import reprlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from kit.ranking import Ranking, TopK
from kit.replacing import last_whole, replacing

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
    """Yields the shards still to be ranked, in a hundred groups at most.

    A loop over it may be killed at any time.  What the collectors hold is
    saved now and then, between two groups, and the same loop, run again,
    resumes from there with the same result.  When it ends, each ranking is in
    `folder`, under the name of its collector.  A loop that has ended before
    gets no shards.

    Several machines share the work if each ranks `shards[i::n]` in a folder of
    its own; `Ranking.merge` of what they leave is the ranking of all.

    Args:
        tops: Name to collector, to which the loop adds what a group gives.
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
        ValueError: Where `folder` holds rankings of shards of other names, of
            other collectors or `about`; it says what differs.
        OSError: Where a ranking cannot be written.

    Example:

    ```python
    about = {"model": inference.fingerprint(model), "shifts": shifts}
    top = TopK(models.class_ids(model))
    for some in inference.remaining({"test": top}, shards, folder, about):
        videos = data.videos(some, spec, with_ids=True)
        for inputs, ids in videos.as_numpy_iterator():
            windows, rows, starts = inference.shifted_windows(
                inputs, spec, shifts, context=models.context(model)
            )
            scores = inference.predict(model, windows).mean(axis=0)
            top.add(scores, ids[rows], starts)
    ranking = Ranking.load(folder / "test")
    ```
    """
    one = isinstance(shards, str | os.PathLike)
    shards = [shards] if one else list(shards)
    state = _State(Path(folder), tops, shards, about)
    done = state.restore()
    if shards and done == len(shards):
        print(f"ranked before: {folder}")
        return
    bar = keras.utils.Progbar(len(shards), unit_name="shard")
    bar.update(done)
    saved = time.monotonic()
    # The same turns whenever it is killed, hence the same batches and bits.
    size = -(-len(shards) // TURNS)
    while done < len(shards):
        yield shards[done : done + size]
        done = min(done + size, len(shards))
        bar.update(done)
        if done < len(shards) and time.monotonic() - saved >= save_every:
            state.save(done)
            saved = time.monotonic()
    state.finish()


class _State:
    """What was collected of the first shards, as it is kept on disk.

    `partial` in the folder holds what was collected so far, the folder itself
    the rankings of all shards.  `about.json` in either is written last: where
    it is, the rankings beside it are complete.
    """

    def __init__(self, folder, tops, shards, about):
        self.folder, self.partial, self.tops = folder, folder / "partial", tops
        about = {
            **about,
            "lists": {n: [t.k, *t.class_ids.tolist()] for n, t in tops.items()},
            "shards": [os.path.basename(shard) for shard in shards],
        }
        # As JSON gives it back: lists for tuples, text for what it lacks.
        self.about = json.loads(json.dumps(about, default=str))

    def restore(self) -> int:
        """Collects anew what was kept, and says of how many shards that is."""
        for top in self.tops.values():
            top.ranking()  # of a loop that was broken off in this process
        done = self._done(self.folder)
        if done == len(self.about["shards"]):
            return done
        done = self._done(self.partial)
        if done:
            self._load()
        return done

    def save(self, done: int) -> None:
        """Keeps what the collectors hold of the first `done` shards."""
        with replacing(self.partial) as folder:
            self._write(folder, done)
        self._load()

    def finish(self) -> None:
        """Leaves the rankings of all shards."""
        self._write(self.folder, len(self.about["shards"]))
        for folder in self.folder.glob("*partial"):
            shutil.rmtree(folder)

    def _done(self, folder):
        """Number of shards that a folder has complete rankings of."""
        path = last_whole(folder) / "about.json"
        if not path.exists():
            return 0
        kept, now = json.loads(path.read_text()), self.about
        differ = [
            f"{key} was {reprlib.repr(kept['about'].get(key))} and is "
            f"{reprlib.repr(now.get(key))}"
            for key in {**now, **kept["about"]}
            if kept["about"].get(key) != now.get(key)
        ]
        if differ:
            raise ValueError(
                "A folder holds rankings of one model, one list of shards and "
                "one way to score: give another, or remove this one to rank "
                f"anew. Received: {'; '.join(differ)} (in {path})"
            )
        return kept["done"]

    def _write(self, folder, done):
        for name, top in self.tops.items():
            top.ranking().save(folder / name)
        with replacing(folder / "about.json") as path:
            path.write_text(json.dumps({"done": done, "about": self.about}))

    def _load(self):
        for name, top in self.tops.items():
            folder = last_whole(self.partial) / name
            top.add_ranking(Ranking.load(folder, mmap=True))
