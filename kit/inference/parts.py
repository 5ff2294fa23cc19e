"""The shards spread over several machines or GPUs, and put together again."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import keras

from kit import models
from kit.inference.rank import collect_lists, describe_run
from kit.inference.scoring import Scoring
from kit.ranking import Ranking


def parse_part(part: str) -> tuple[int, int]:
    """The number of a part and how many there are, from `"i/n"`.

    Raises:
        ValueError: Where `part` is not of that form.
    """
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", part)
    number, count = map(int, match.groups()) if match else (1, 0)
    if number > count:
        raise ValueError(
            "`part` is the number of a part and how many there are, such as "
            f"'2/4'. Received: part={part!r}"
        )
    return number, count


def rank_part(
    model: keras.Model,
    shards,
    part: str,
    folder,
    *,
    scoring: dict | None = None,
    k: int = 100_000,
    progress: Callable | None = None,
    **reading,
) -> dict[str, Ranking]:
    """Ranks every n-th shard, and merges when all n parts are there.

    Args:
        model, shards, k, progress: As for `rank_segments`.
        part: `"i/n"`, i from 1.  `"1/1"` ranks all shards in a single run.
        folder: Where the parts are left, as `part-<run>-i-of-n-<list>.npz`.
            Parts made elsewhere are copied here; one that is here, of the same
            model and options, is not made again.
        scoring: Options of `Scoring`.
        reading: Options of `data.videos`.

    Returns:
        What `rank_segments` returns for all shards in a single run, or
        nothing while other parts are missing: see `stop_unless_merged`.

    Raises:
        ValueError: Where `part` is not of that form.
    """
    number, count = parse_part(part)
    folder = Path(folder)
    spec = models.frame_spec(model)
    scoring = Scoring(**(scoring or {}), segment_frames=spec.segment_frames)
    mine = shards[number - 1 :: count]
    if count == 1:
        lists = collect_lists(
            model, mine, scoring, k, folder / "state", progress, reading
        )
        return scoring.finish(lists, k)
    run = describe_run(model, scoring, k, reading)
    mark = hashlib.blake2b(json.dumps(run).encode(), digest_size=4).hexdigest()

    def file(part, name):
        return folder / f"part-{mark}-{part}-of-{count}-{name}.npz"

    if not all(file(number, name).exists() for name in scoring.names):
        scratch = folder / f"state-{number}"
        lists = collect_lists(
            model, mine, scoring, k, scratch, progress, reading
        )
        for name, ranking in lists.items():
            ranking.save(file(number, name))
    files = {
        name: [file(other, name) for other in range(1, count + 1)]
        for name in scoring.names
    }
    missing = sum((not p.exists()) for paths in files.values() for p in paths)
    if missing:
        print(f"part {part} is done; {missing} lists of others are missing")
        return {}
    merged = {
        name: Ranking.merge(map(Ranking.load, paths), k)
        for name, paths in files.items()
    }
    return scoring.finish(merged, k)


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
