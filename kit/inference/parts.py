"""The shards spread over several machines or GPUs, and put together again."""

import re
from pathlib import Path

import keras

from kit.inference.rank import model_digest, rank_segments
from kit.ranking import Ranking


def rank_part(
    model: keras.Model, shards, part: str, folder, **options
) -> dict[str, Ranking]:
    """Ranks every n-th shard, and merges when all n parts are there.

    Args:
        model, shards, options: As for `rank_segments`.
        part: `"i/n"`, i from 1.  `"1/1"` ranks all shards.
        folder: Where the parts are left, as `part-<model>-i-of-n-<list>.npz`.
            Parts made elsewhere are copied here; one that is here is not made
            again.

    Returns:
        What `rank_segments` returns for all shards in a single run.

    Raises:
        ValueError: Where `part` is not of that form.
        SystemExit: With 0 and a line that says what is missing, while other
            parts are.
    """
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", part)
    number, count = map(int, match.groups()) if match else (1, 0)
    if number > count:
        raise ValueError(
            "`part` is the number of a part and how many there are, such as "
            f"'2/4'. Received: part={part!r}"
        )
    folder = Path(folder)
    if count == 1:
        return rank_segments(model, shards, folder=folder / "state", **options)
    stem = f"part-{model_digest(model)[:8]}"
    if not (folder / f"{stem}-{number}-of-{count}-tta.npz").exists():
        made = rank_segments(
            model,
            shards[number - 1 :: count],
            folder=folder / f"state-{number}",
            **options,
        )
        for name, ranking in sorted(made.items()):  # tta last: it is the mark
            ranking.save(folder / f"{stem}-{number}-of-{count}-{name}.npz")
    files = {
        name: [
            folder / f"{stem}-{other}-of-{count}-{name}.npz"
            for other in range(1, count + 1)
        ]
        for name in ("plain", "tta")
    }
    missing = [p.name for paths in files.values() for p in paths
               if not p.exists()]  # fmt: skip
    if missing:
        print(
            f"Part {part} is done and lies in {folder}. Run the other parts, "
            f"or copy them here and run this one again: {', '.join(missing)}"
        )
        raise SystemExit(0)
    k = options.get("k", 100_000)
    return {
        name: Ranking.merge(map(Ranking.load, paths), k)
        for name, paths in files.items()
    }
