"""The data: videos, labels, ratings, features."""

import matplotlib.pyplot as plt
import numpy as np

from kit.plots.style import COLOURS, NO, UNSURE, YES, single_axes


def frames_per_video(num_frames) -> plt.Figure:
    """How long are the videos?"""
    figure, axes = single_axes(8, 3)
    axes.hist(num_frames, bins=40, color=COLOURS[0])
    axes.axvline(np.mean(num_frames), color=COLOURS[5], linestyle="--")
    axes.set_xlabel("frames in a video (one a second)")
    axes.set_ylabel("videos")
    axes.set_title(
        f"{len(num_frames):,} videos, {np.mean(num_frames):.0f} frames on "
        "average (dashed)"
    )
    return figure


def labels_per_class(counts, segment_class_ids) -> plt.Figure:
    """How many videos carry each label, and which are segment classes?

    Args:
        counts: Videos per class, `(num_classes,)`.
        segment_class_ids: The classes of the segment task.
    """
    figure, axes = single_axes(8, 3)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    rank = np.arange(1, len(order) + 1)
    chosen = np.isin(order, segment_class_ids)
    for mask, colour, label in (
        (~chosen, UNSURE, "video label only"),
        (chosen, COLOURS[0], "also a segment class"),
    ):
        axes.bar(rank[mask], counts[order][mask], color=colour, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("class, by number of videos")
    axes.set_ylabel("videos (log)")
    axes.set_title("Labels are few and far from even")
    axes.legend()
    return figure


def ratings_per_class(table, names: dict) -> plt.Figure:
    """How often was each class rated, and how often was the label right there?

    Args:
        table: Columns `label` and `score`, a row a rating.
        names: Class id to name.
    """
    groups = table.groupby("label")["score"].agg(["sum", "count"])
    groups = groups.sort_values("count", ascending=False).head(40)
    figure, axes = single_axes(8, max(3, 0.22 * len(groups)))
    place = np.arange(len(groups))
    yes = groups["sum"].to_numpy()
    axes.barh(place, yes, color=YES, label="shows it")
    axes.barh(place, groups["count"] - yes, left=yes, color=NO, label="no")
    labels = [names.get(label, str(label)) for label in groups.index]
    axes.set_yticks(place, labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("rated segments")
    axes.set_title(f"{table['score'].mean():.0%} of all ratings say yes")
    axes.legend()
    return figure


def value_ranges(raw, values) -> plt.Figure:
    """What do the bytes become?

    Args:
        raw: uint8 features of real frames.
        values: The same, dequantised.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8, 3), layout="constrained"
    )
    left.hist(np.ravel(raw), bins=64, color=COLOURS[0])
    left.set_xlabel("byte on disk")
    left.set_ylabel("features")
    right.hist(np.ravel(values), bins=64, color=COLOURS[2])
    right.set_xlabel("value in the model (no unit)")
    right.set_title(
        f"{np.min(values):.2f} to {np.max(values):.2f}", fontsize=10
    )
    left.set_title(f"{np.min(raw)} to {np.max(raw)}", fontsize=10)
    return figure


def video_strip(values, spec, ratings, names: dict) -> plt.Figure:
    """What does one video look like, and which of its segments were rated?

    Args:
        values: Dequantised frames, `(num_frames, dim)`.
        spec: Which of the features are visual, and how long a segment is.
        ratings: This video's `start`, `label` and `score`.
        names: Class id to name.
    """
    figure, (top, middle, bottom) = plt.subplots(
        3,
        1,
        figsize=(8, 4.5),
        sharex=True,
        layout="constrained",
        height_ratios=[3, 1.5, 1],
    )
    for axes, part, label in (
        (top, values[:, : spec.rgb][:, :64], "visual"),
        (middle, values[:, spec.rgb :][:, :32], "audio"),
    ):
        limit = np.abs(part).max() if part.size else 1
        axes.imshow(
            part.T,
            aspect="auto",
            cmap="cividis",
            vmin=-limit,
            vmax=limit,
            extent=(0, len(values), part.shape[1], 0),
        )
        axes.set_ylabel(f"{label}\nfeature")
    labels = sorted(set(ratings["label"]))
    for start, label, score in zip(
        ratings["start"], ratings["label"], ratings["score"], strict=True
    ):
        bottom.barh(
            labels.index(label),
            spec.segment_frames,
            align="center",
            left=start,
            color=YES if score else NO,
        )
        bottom.text(
            start + spec.segment_frames / 2,
            labels.index(label),
            "yes" if score else "no",
            ha="center",
            va="center",
            color="white",
            fontsize=7,
        )
    bottom.set_yticks(
        range(len(labels)), [names.get(i, str(i)) for i in labels], fontsize=7
    )
    bottom.set_xlabel("frame (one a second)")
    bottom.set_xlim(0, len(values))
    return figure
