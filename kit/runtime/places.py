"""Where a notebook runs, where its data are, where results go."""

import os
import tempfile
from pathlib import Path

from kit import data, synthetic

WORKSPACES = {
    "kaggle": "/kaggle/working",
    "colab": "/content/outputs",
    "here": "outputs",
}
# Folders under which a host shows what a user attached.
INPUTS = {
    "kaggle": ["/kaggle/input"],
    "colab": ["/content/yt8m", "/content/drive/MyDrive/yt8m"],
    "here": [],
}
# How deep below these the output of another notebook may lie: mounts were
# `<slug>/` and are `notebooks/<owner>/<slug>/`.
DEPTHS = ("*", "*/*", "*/*/*", "*/*/*/*")


def host() -> str:
    """`"kaggle"`, `"colab"` or `"here"`."""
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "kaggle"
    return "colab" if "COLAB_RELEASE_TAG" in os.environ else "here"


def workspace(output_dir: str | None = None) -> Path:
    """The folder a run writes to, created and checked to be writable.

    Raises:
        ValueError: Where it cannot be created or written.
    """
    folder = Path(output_dir or WORKSPACES[host()])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            "The output folder must be one that can be created and written: "
            "give another with --output-dir. Received: "
            f"output_dir={str(folder)!r} ({error.strerror})"
        ) from error
    return folder


def find_data(data_dir, output_dir, seed, needs):
    """The data set of a run: the given one, the host's, or the sample.

    Args:
        data_dir: Folder, glob or `gs://` pattern, a list of these, or `None`
            to look among the host's inputs and, failing that, to generate the
            sample of `seed` in the workspace.
        output_dir: The workspace.
        seed: Seed of the generated sample.
        needs: The splits that must be there.

    Returns:
        What `data.list_shards` takes, and whether it is a sample; a sample is
        named by its folder.

    Raises:
        ValueError: Where a needed split has no shard, naming what was looked
            for and where; or where real shards and simulated ones are mixed.
    """
    if data_dir is None:
        data_dir = _attached_data()
    if data_dir is None:
        data_dir = str(Path(output_dir, f"sample-{seed}"))
        if not synthetic.is_sample(data_dir):
            print(
                f"No data set given or attached: simulating one in {data_dir} "
                "(about 120 MB). Give --data-dir to use real shards."
            )
            synthetic.write_sample(data_dir, seed=seed)
    shards = []
    for split in needs:
        try:
            shards += data.list_shards(data_dir, split)
        except ValueError as error:
            raise ValueError(
                f"{error}. Frame-level shards come from the YouTube-8M "
                "download page: `train` from partition 2/frame, `validate` and "
                "`test` from 3/frame. Leave --data-dir out to simulate a "
                "sample instead."
            ) from error
    samples = {_sample_of(shard) for shard in shards}
    if samples == {None}:
        return data_dir, False
    if len(samples) > 1:
        raise ValueError(
            "Simulated shards cannot be mixed with others: name the folders "
            "to use in --data-dir, separated by commas. Received: "
            f"data_dir={data_dir!r}, with shards of {samples}"
        )
    return samples.pop(), True


def find_output(output_dir, name: str, made_by: str) -> Path:
    """What an earlier notebook left, here or in an attached output.

    Args:
        output_dir: The workspace, looked at first.
        name: Path inside the workspace, such as `BERTMean/model.keras`.
        made_by: The notebook that makes it, for the error.

    Raises:
        ValueError: Where it is nowhere.
    """
    here = Path(output_dir, name)
    if here.exists():
        return here
    for root in INPUTS[host()]:
        for depth in DEPTHS:
            for found in sorted(Path(root).glob(f"{depth}/{name}")):
                return found
    raise ValueError(
        f"`{name}` is made by notebook {made_by}: run that first, with the "
        "same --output-dir, or attach its output. Looked in: "
        f"{', '.join([str(output_dir), *INPUTS[host()]])}"
    )


def _sample_of(shard: str):
    """The sample that a shard is part of, as text, or None."""
    if "://" in shard:
        return None
    for folder in list(Path(shard).parents)[:3]:
        if synthetic.is_sample(folder):
            return str(folder)
    return None


def _attached_data():
    """Folders among the host's inputs with real shards, else a sample."""
    roots = [Path(root) for root in INPUTS[host()] if Path(root).is_dir()]
    samples = [
        card.parent for root in roots for card in root.rglob(synthetic.CARD)
    ]
    patterns = ("*.tfrecord", "vocabulary.csv", "segment_label_ids.csv")
    files = [
        path
        for root in roots
        for pattern in patterns
        for path in root.rglob(pattern)
        if not any(sample in path.parents for sample in samples)
    ]
    if any(path.suffix == ".tfrecord" for path in files):
        return sorted({str(path.parent) for path in files})
    return str(min(samples)) if samples else None
