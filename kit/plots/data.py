"""The data: videos, labels, ratings, features."""

import matplotlib.pyplot as plt
import numpy as np

from kit.plots import style


def frames_per_video(num_frames) -> plt.Figure:
    """How long are the videos?"""
    figure, axes = style.page(8, 3)
    axes.hist(num_frames, bins=40, color=style.COLOURS[0])
    axes.axvline(np.mean(num_frames), color=style.NO, linestyle="--")
    axes.set(xlabel="frames in a video (one a second)", ylabel="videos")
    mean = f"{np.mean(num_frames):.0f} frames on average (dashed)"
    axes.set_title(f"{len(num_frames):,} videos, {mean}")
    return figure


def labels_per_class(counts, segment_class_ids) -> plt.Figure:
    """How many videos carry each label, and which are segment classes?

    Args:
        counts: Videos per class, `(num_classes,)`.
        segment_class_ids: The classes of the segment task.
    """
    figure, axes = style.page(8, 3)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    place = np.arange(1, len(order) + 1)
    rated = np.isin(order, segment_class_ids)
    for mask, colour, label in (
        (~rated, style.UNSURE, "video label only"),
        (rated, style.YES, "also a segment class"),
    ):
        axes.bar(place[mask], counts[order][mask], color=colour, label=label)
    axes.set(yscale="log", ylabel="videos (log)")
    axes.set_xlabel("class, by number of videos")
    axes.set_title("Labels are few and far from even")
    axes.legend()
    return figure


def ratings_per_class(ratings, names: dict, most: int = 40) -> plt.Figure:
    """How often was each class rated, and how often was the label right there?

    Args:
        ratings: Columns `label` and `score`, a row a rating.
        names: Class id to name.
        most: Draw so many classes, those rated most often.
    """
    groups = ratings.groupby("label")["score"].agg(["sum", "count"])
    groups = groups.sort_values("count", ascending=False, kind="stable")
    groups = groups.head(most)
    figure, axes = style.page(8, 1.2 + 0.2 * len(groups))
    place, yes = np.arange(len(groups)), groups["sum"].to_numpy()
    no = groups["count"] - yes
    axes.barh(place, yes, color=style.YES, label="shows it")
    axes.barh(place, no, left=yes, color=style.NO, label="no")
    style.name_rows(axes, [style.class_name(names, i) for i in groups.index])
    axes.set_xlabel("rated segments")
    axes.set_title(f"{ratings['score'].mean():.0%} of all ratings say yes")
    axes.legend()
    return figure


def value_ranges(raw, values, spec) -> plt.Figure:
    """What do the bytes become?

    Args:
        raw: uint8 features of real frames, `(num_frames, dim)`.
        values: The same, dequantised.
        spec: Which of the features are visual.
    """
    figure, axes = style.page(8, 3.5)
    parts = {"visual": raw[:, : spec.rgb], "audio": raw[:, spec.rgb :]}
    for colour, (name, part) in zip(style.COLOURS, parts.items(), strict=False):
        count = np.bincount(np.ravel(part) // 4, minlength=64)
        share = 100 * count / max(part.size, 1)
        label = f"{name}, {part.shape[1]:,} features"
        axes.stairs(share, 4 * np.arange(65), lw=2, color=colour, label=label)
    slope, offset = np.polyfit(np.ravel(raw), np.ravel(values), 1)
    scales = lambda q: slope * q + offset, lambda x: (x - offset) / slope
    above = axes.secondary_xaxis("top", scales)
    above.set_xlabel("value in the model (no unit)")
    for byte, dashes, text in (
        (-offset / slope, "--", "padding\nis 0"),
        (0, ":", f"byte 0 is\n{offset:.2f}"),
    ):
        axes.axvline(byte, color=style.NO, linestyle=dashes)
        look = {"color": style.NO, "size": 8, "bbox": {"color": "white"}}
        axis = axes.get_xaxis_transform()
        axes.text(byte + 3, 0.5, text, transform=axis, **look)
    axes.set_xlabel("byte on disk")
    axes.set_ylabel("% of the bytes, four values a bin")
    axes.legend(fontsize=8)
    return figure
