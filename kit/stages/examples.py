"""The examples of each stage, an interval at a time."""

import hashlib
import os

from kit import data, pack, presets
from kit.training import hosts

# The numbers of the epochs of an interval begin at a multiple of this.
EPOCHS = 1_000_000


def video_batches(run, name: str):
    """Pre-training examples of a member, as `training.fit` takes them.

    Five frames in a row, from a pack of snippets where the run has one and the
    member sees a segment; 60 or 300 frames of a shard for MixNeXtVLAD.
    """
    sampling = presets.sampling(name, run.scale)
    options = {**_order(run), "num_classes": run.num_classes}
    if _from_pack(run, name):
        packed = pack.Snippets(run.pack_dir)
        return lambda interval: packed.batches(
            **options, first_epoch=_first_epoch(interval)
        )
    shards = _shards(run, "train", "validate")
    return lambda interval: data.videos(
        shards,
        **options,
        **sampling,
        spec=run.spec,
        first_epoch=_first_epoch(interval),
    )


def segment_batches(run):
    """Rated segments to fine-tune on, as `training.fit` takes them."""
    shards = _shards(run, "validate")
    return lambda interval: data.rated_segments(
        shards,
        class_ids=run.segment_classes,
        spec=run.spec,
        **_order(run),
        first_epoch=_first_epoch(interval),
    )


def video_data(run, name) -> str:
    """What pre-training reads, as a run records it.

    Raises:
        ValueError: Where it is not there.
    """
    if _from_pack(run, name):
        header = pack.read_header(run.pack_dir)
        return f"a pack of {sum(header['rows'])} snippets, {header['seed']}"
    return _named(_shards(run, "train", "validate"))


def segment_data(run) -> str:
    """What fine-tuning reads, as a run records it."""
    return _named(_shards(run, "validate"))


def _shards(run, *splits) -> list[str]:
    return [
        p for split in splits for p in data.list_shards(run.data_dir, split)
    ]


def _named(shards) -> str:
    """Shards by number and names, which are the same wherever they lie."""
    names = sorted(os.path.basename(path) for path in shards)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return f"{len(names)} shards, {digest[:12]}"


def _from_pack(run, name) -> bool:
    one_segment = presets.sampling(name, run.scale)["sampling"] == "run"
    return run.pack_dir is not None and one_segment


def _first_epoch(interval: int) -> int:
    """Of several hosts each has epochs of its own, or all would see the same
    examples."""
    number, count = hosts.host()
    return EPOCHS * (interval * count + number)


def _order(run) -> dict:
    """What every training reader is told; hosts share a batch."""
    count = hosts.host()[1]
    if run.batch_size % (count * hosts.devices()):
        raise ValueError(
            "A batch must divide among hosts and their devices: give another "
            f"--batch-size. Received: batch_size={run.batch_size} for {count} "
            f"hosts with {hosts.devices()} devices each"
        )
    return {
        "batch_size": run.batch_size // count,
        "holdout": run.holdout,
        "part": "training",
        "shuffle": True,
        "seed": run.seed,
        "repeat": True,
    }
