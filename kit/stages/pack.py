"""`python -m kit.stages.pack`: shards -> a pack of snippets to pre-train on."""

from kit import data, pack, runtime

data_dir = None  # folder or glob of TFRecord shards; None: look, or simulate
output_dir = None  # where a sample would be generated
pack_dir = None  # where the pack goes; None: snippets/ in the output folder
snippets = 4  # runs of frames a video: 22 GB each for all of YouTube-8M
frame_spec = None  # rgb, audio, max_frames, segment_frames of other features
seed = 0  # of the runs and of the mixing
holdout_fraction = None  # share of the validate videos never trained on


def main() -> None:
    run = runtime.settings(globals(), needs=("train", "validate"))
    shards = data.list_shards(run.data_dir, "train")
    shards += data.list_shards(run.data_dir, "validate")
    folder = run.pack_dir or run.output_dir / "snippets"
    header = pack.pack_snippets(
        shards,
        folder,
        snippets=run.snippets,
        spec=run.spec,
        holdout=run.holdout,
        part="training",
        seed=run.seed,
    )
    print(
        f"{sum(header['rows']):,} snippets of {header['entries']:,} videos in "
        f"{folder}: pre-train on them with --pack-dir"
    )


if __name__ == "__main__":
    main()
