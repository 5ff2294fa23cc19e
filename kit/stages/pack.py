"""`python -m kit.stages.pack`: shards -> a pack of snippets to pre-train on."""

from kit import data, pack, runtime

data_dir = None  # folder or glob of TFRecord shards; None: look, or simulate
output_dir = None  # where a sample would be generated
pack_dir = None  # where the pack goes; None: snippets/ in the output folder
snippets = 4  # runs of frames a video: 22 GB each for all of YouTube-8M
num_classes = None  # size of the vocabulary of video labels
frame_spec = None  # rgb, audio, max_frames, segment_frames of other features
seed = 0  # of the runs and of the mixing
holdout_fraction = None  # share of the validate videos never trained on


def main() -> None:
    given = runtime.flags(globals())
    folder = given["pack_dir"]
    if folder is None:
        folder = runtime.workspace(given["output_dir"]) / "snippets"
    try:
        run = runtime.settings(given, needs=("train",))
    except ValueError:
        # Where shards are dropped once packed, a run that was cut off late
        # leaves none.
        place = given["data_dir"]
        gone = place is not None and not _shards(place, "train")
        if not gone or not pack.packed_shards(folder):
            raise
        header = pack.finish(folder)
    else:
        header = _pack(run, folder)
    print(
        f"{sum(header['rows']):,} snippets of {header['entries']:,} videos in "
        f"{folder}: pre-train on them with --pack-dir"
    )


def _pack(run, folder) -> dict:
    shards = _shards(run.data_dir, "train")
    rated = _shards(run.data_dir, "validate")
    if rated:  # simulated ones are not to be mixed in
        needs = ("train", "validate")
        runtime.find_data(run.data_dir, run.output_dir, run.seed, needs)
    return pack.pack_snippets(
        shards + rated,
        folder,
        snippets=run.snippets,
        num_classes=run.num_classes,
        spec=run.spec,
        holdout=run.holdout,
        part="training",
        seed=run.seed,
    )


def _shards(data_dir, split) -> list[str]:
    """The shards of a split, if any."""
    try:
        return data.list_shards(data_dir, split)
    except ValueError:
        return []


if __name__ == "__main__":
    main()
