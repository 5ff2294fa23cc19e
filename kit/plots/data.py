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


def value_ranges(raw, values, spec) -> plt.Figure:
    """What do the bytes become?

    Args:
        raw: uint8 features of real frames, `(num_frames, dim)`.
        values: The same, dequantised.
        spec: Which of the features are visual.
    """
    figure, axes = single_axes(8, 3.5)
    for name, part, colour in (
        ("visual", raw[:, : spec.rgb], COLOURS[0]),
        ("audio", raw[:, spec.rgb :], COLOURS[1]),
    ):
        if not part.size:
            continue
        axes.hist(
            np.ravel(part),
            bins=np.arange(0, 257, 4),
            weights=np.full(part.size, 100 / part.size),
            histtype="step",
            linewidth=2,
            color=colour,
            label=f"{name}, {part.shape[1]:,} features",
        )
    slope, offset = np.polyfit(np.ravel(raw), np.ravel(values), 1)
    above = axes.secondary_xaxis(
        "top", (lambda q: slope * q + offset, lambda x: (x - offset) / slope)
    )
    above.set_xlabel("value in the model (no unit)")
    for byte, style, text in (
        (-offset / slope, "--", "padding\nis 0"),
        (0, ":", f"byte 0 is\n{offset:.2f}"),
    ):
        axes.axvline(byte, color=NO, linestyle=style)
        axes.text(byte + 2, 0.5, text, fontsize=8, color=NO,
                  transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set_xlabel("byte on disk")
    axes.set_ylabel("% of the bytes, four values a bin")
    axes.legend(fontsize=8)
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
    limit = np.abs(values).max()
    for axes, part, most, label in (
        (top, values[:, : spec.rgb], 64, "visual"),
        (middle, values[:, spec.rgb :], 32, "audio"),
    ):
        if not part.size:
            axes.set_visible(False)
            continue
        image = axes.imshow(
            part[:, :most].T,
            aspect="auto",
            cmap="cividis",
            vmin=-limit,
            vmax=limit,
            extent=(0, len(values), min(most, part.shape[1]), 0),
        )
        axes.set_ylabel(f"{label} feature\n(of {part.shape[1]:,})")
    figure.colorbar(image, ax=[top, middle], label="value (no unit)")
    rated_strip(bottom, ratings, spec, names)
    bottom.set_xlim(0, len(values))
    return figure


def rated_strip(axes, ratings, spec, names: dict) -> None:
    """Draws which segments of a video were rated yes or no, a row a class."""
    labels = sorted(set(ratings["label"]))
    for start, label, score in zip(
        ratings["start"], ratings["label"], ratings["score"], strict=True
    ):
        row, middle = labels.index(label), start + spec.segment_frames / 2
        colour, word = (
            (YES, "\N{CHECK MARK}") if score else (NO, "\N{BALLOT X}")
        )
        axes.barh(row, spec.segment_frames, left=start, color=colour)
        axes.text(
            middle,
            row,
            word,
            ha="center",
            va="center",
            color="white",
            fontsize=7,
        )
    axes.set_yticks(
        range(len(labels)), [names.get(i, str(i)) for i in labels], fontsize=7
    )
    axes.set_xlabel("frame (one a second)")
