"""The shards spread over several machines or GPUs, and put together again."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import keras

from kit import models
from kit.inference.rank import check_shards, collect_lists, describe_run
from kit.inference.scoring import Scoring
from kit.inference.state import write_json
from kit.ranking import Ranking


def parse_part(part: str, name: str = "part") -> tuple[int, int]:
    """The number of a part and how many there are, from `"i/n"`.

    Raises:
        ValueError: Where it is not of that form.
    """
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", part)
    number, count = map(int, match.groups()) if match else (1, 0)
    if number > count:
        raise ValueError(
            f"`{name}` is the number of a part and how many there are, such as "
            f"'2/4'. Received: {name}={part!r}"
        )
    return number, count


def rank_part(
    model: keras.Model,
    shards,
    share: str,
    folder,
    *,
    split: str = "test",
    scratch=None,
    scoring: dict | None = None,
    k: int = 100_000,
    batch_size: int = 128,
    progress: Callable | None = None,
    **reading,
) -> dict[str, Ranking]:
    """Ranks every n-th shard, and leaves a ranking when all n parts are there.

    What the same call left before, of the same model, shards and options, is
    not made again.  Shards are the same where their names and sizes are, in
    order; folders may differ.

    Args:
        model, shards, k, batch_size, progress: As for `rank_segments`.
        share: `"i/n"`, i from 1.  `"1/1"` ranks all shards in a single run.
        folder: Where the ranking is left, as `<split>.npz`, with a JSON file
            that tells of what; and before that the parts, as
            `part-<run>-i-of-n-<list>.npz`.  Parts made elsewhere are copied
            here.
        split: Names the ranking.
        scratch: Where the unshifted ranking is left, as `<split>-plain.npz`,
            and the state of a run that is not over; None: in `folder`.
        scoring: Options of `Scoring`.
        reading: Options of `data.videos`.

    Returns:
        What `rank_segments` returns for all shards in a single run, on disk
        until it is used, or nothing while other parts are missing: see
        `stop_unless_merged`.

    Raises:
        ValueError: Where `share` is not of that form, and as `rank_segments`.
    """
    number, count = parse_part(share, "share")
    spec = models.frame_spec(model)
    scoring = Scoring(**(scoring or {}), segment_frames=spec.segment_frames)
    shards = check_shards(shards)
    reading["batch_size"] = batch_size
    run = describe_run(model, shards, scoring, k, reading)
    left = _Left(folder, scratch, split, run, scoring.plain)
    if left.is_there():
        return left.load()
    mine = [left.part(number, count, name) for name in scoring.names]
    if not all(path.exists() for path in mine):
        lists, state = collect_lists(
            model,
            shards[number - 1 :: count],
            scoring,
            k,
            reading,
            left.state(number, count),
            run | {"share": share},
            progress,
        )
        if count == 1:
            left.save(scoring.finish(lists, k))
        else:
            for name, path in zip(scoring.names, mine, strict=True):
                lists.pop(name).save(path)
        state.remove()  # now that what it held is safe
        left.forget_others()
    if count > 1:
        merged = left.merge_parts(count, scoring.names, k)
        if merged is None:
            return {}
        left.save(scoring.finish(merged, k))
    return left.load()


class _Left:
    """What `rank_part` leaves on disk of one run."""

    def __init__(self, folder, scratch, split, run, plain):
        self.folder, self.scratch = Path(folder), Path(scratch or folder)
        self.run, self.about = run, self.folder / f"{split}.json"
        text = json.dumps(run).encode()
        self.mark = hashlib.blake2b(text, digest_size=4).hexdigest()
        self.states = f"{split}-state"
        self.files = {"tta": self.folder / f"{split}.npz"}
        if plain:
            self.files["plain"] = self.scratch / f"{split}-plain.npz"

    def part(self, number, count, name) -> Path:
        name = f"part-{self.mark}-{number}-of-{count}-{name}.npz"
        return self.folder / name

    def state(self, number, count) -> Path:
        """Where a part keeps what it has, should it be cut off."""
        name = f"{self.states}-{self.mark}-{number}-of-{count}"
        return self.scratch / name

    def forget_others(self) -> None:
        """Removes what is left of states, of runs with other options too."""
        for folder in self.scratch.glob(f"{self.states}-*"):
            ours = folder.name.startswith(f"{self.states}-{self.mark}-")
            # Another part of this run may be at work.
            if not ours or not any(folder.iterdir()):
                shutil.rmtree(folder)

    def merge_parts(self, count, names, k):
        """All parts of each list in one, or None where some are missing."""
        files = {
            name: [self.part(i, count, name) for i in range(1, count + 1)]
            for name in names
        }
        missing = sum(not p.exists() for paths in files.values() for p in paths)
        if missing:
            print(f"this part is done; {missing} lists of others are missing")
            return None
        return {
            name: Ranking.merge(map(Ranking.load, paths), k)
            for name, paths in files.items()
        }

    def is_there(self) -> bool:
        """Whether rankings of this run are there, and not of another."""
        if not all(p.exists() for p in (self.about, *self.files.values())):
            return False
        return self.about.read_text() == json.dumps(self.run)

    def save(self, rankings) -> None:
        # While a ranking is replaced, nothing says of what it is.
        self.about.unlink(missing_ok=True)
        for name, path in self.files.items():
            rankings.pop(name).save(path)
        write_json(self.about, self.run)

    def load(self) -> dict[str, Ranking]:
        """The rankings, on disk until they are used: each has 0.8 GB."""
        return {
            name: Ranking.load(path, mmap=True)
            for name, path in self.files.items()
        }


def stop_unless_merged(rankings) -> None:
    """Ends a run whose rankings still lack parts.

    Args:
        rankings: What `rank_part` returned, one for each member.

    Raises:
        SystemExit: With 0, since this part is done.
    """
    if not all(rankings):
        print(
            "This part is done. Run the other parts, copy what they left into "
            "this workspace, and run this one again: it will merge them."
        )
        raise SystemExit(0)
