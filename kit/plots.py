"""Every figure a notebook shows; each answers one question.

A function takes plain arrays or tables and returns a `matplotlib` figure,
which `show` displays in a notebook and saves beside the run's results.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

# Okabe and Ito's palette: told apart under every common colour blindness.
COLOURS = [
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#000000",
]
YES, NO, UNSURE = COLOURS[0], COLOURS[5], "#BBBBBB"


def show(figure: plt.Figure, output_dir, name: str) -> None:
    """Saves a figure as `figures/<name>.png` and displays it in a notebook."""
    path = Path(output_dir, "figures", f"{name}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    if "ipykernel" in sys.modules:
        from IPython.display import display

        display(figure)
    else:
        print(f"figure: {path}")
    plt.close(figure)


def frames_per_video(num_frames) -> plt.Figure:
    """How long are the videos?"""
    figure, axes = _axes(8, 3)
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
    figure, axes = _axes(8, 3)
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
    figure, axes = _axes(8, max(3, 0.22 * len(groups)))
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


def learning_curves(histories: dict, floor: float, levels=None) -> plt.Figure:
    """Is it learning, and how far above chance is it?

    Args:
        histories: Name to the table `kit.training.fit` returns.
        floor: MAP of a random order on the same candidates.
        levels: Name to the MAP the member started from, if known.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 3.5), layout="constrained"
    )
    for place, (name, history) in enumerate(histories.items()):
        colour = COLOURS[place % len(COLOURS)]
        left.plot(history["step"], history["loss"], color=colour, label=name)
        right.plot(history["step"], history["map"], color=colour, marker=".")
        if levels:
            right.axhline(levels[name], color=colour, linestyle=":")
    right.axhline(floor, color="black", linestyle="--", label="random order")
    left.set_yscale("log")
    left.set_xlabel("step")
    left.set_ylabel("training loss (log)")
    right.set_xlabel("step")
    right.set_ylabel("MAP on the hold-out")
    if levels:
        right.set_title("dotted: where it started", fontsize=9)
    left.legend(fontsize=8)
    right.legend(fontsize=8, loc="lower right")
    return figure


def timeline(scores, truth, spec, names: dict) -> plt.Figure:
    """When does the model see each concept, and when was it there?

    Args:
        scores: From `kit.inference.localize`, for the classes to draw.
        truth: Columns `start`, `label`, `score`, what was rated or planted.
        spec: How long a segment is.
        names: Class id to name.
    """
    classes = sorted(set(scores["class_id"]))
    figure, axes = plt.subplots(
        len(classes),
        1,
        figsize=(8, 1 + 1.1 * len(classes)),
        sharex=True,
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for axis, class_id in zip(axes[:, 0], classes, strict=True):
        of_class = scores[scores["class_id"] == class_id]
        edges = [*of_class["start"], of_class["end"].iloc[-1]]
        axis.stairs(of_class["score"], edges, color="black", linewidth=1.5)
        known = truth[truth["label"] == class_id]
        for start, score in zip(known["start"], known["score"], strict=True):
            colour, hatch = (YES, None) if score else (NO, "//")
            axis.axvspan(
                start,
                start + spec.segment_frames,
                color=colour,
                alpha=0.3 if score else 0.1,
                hatch=hatch,
                linewidth=0,
            )
        axis.set_title(
            names.get(class_id, str(class_id)), fontsize=9, loc="left"
        )
        axis.set_ylim(0, 1)
    axes[-1, 0].set_xlabel("frame (one a second)")
    figure.supylabel("probability", fontsize=9)
    figure.suptitle("blue: there; hatched: known not to be there", fontsize=9)
    return figure


def gains(table, before: str, after: str, label: str) -> plt.Figure:
    """What did a step gain each member?

    Args:
        table: A row per member, its name as index.
        before: Column before the step.
        after: Column after it.
        label: What the axis says.
    """
    figure, axes = _axes(8, 1.2 + 0.45 * len(table))
    place = np.arange(len(table))
    axes.hlines(place, table[before], table[after], color=UNSURE, linewidth=3)
    axes.plot(table[before], place, "o", color=COLOURS[5], label=before)
    axes.plot(table[after], place, "D", color=COLOURS[0], label=after)
    axes.set_yticks(place, table.index)
    axes.invert_yaxis()
    axes.margins(y=0.25)
    axes.set_xlabel(label)
    figure.legend(fontsize=8, loc="outside upper center", ncols=2)
    return figure


def convergence(history) -> plt.Figure:
    """Did the optimiser find anything, and when?

    Args:
        history: Columns `method`, `evaluation`, `map` and `best`, from
            `kit.ensemble.search_weights`.
    """
    figure, axes = _axes(8, 3.5)
    for place, (method, tried) in enumerate(
        history.groupby("method", sort=False)
    ):
        colour = COLOURS[place]
        if len(tried) <= len(set(history.columns)):
            axes.axhline(
                tried["map"].max(), color=colour, linestyle="--", label=method
            )
            continue
        axes.plot(
            tried["evaluation"], tried["best"], color=colour, label=method
        )
        axes.plot(
            tried["evaluation"], tried["map"], ".", color=colour, alpha=0.3
        )
    axes.set_xlabel("evaluation")
    axes.set_ylabel("MAP where the weights are chosen")
    axes.set_title("dots: tried; lines: best so far", fontsize=9)
    axes.legend(fontsize=8)
    return figure


def member_weights(members) -> plt.Figure:
    """Who carries the ensemble?

    Args:
        members: Columns `member`, `weight` and `gain`, from
            `kit.ensemble.search_weights`.
    """
    figure, (left, right) = plt.subplots(
        1,
        2,
        figsize=(9, 1.4 + 0.4 * len(members)),
        sharey=True,
        layout="constrained",
    )
    place = np.arange(len(members))
    left.barh(place, 100 * members["weight"], color=YES)
    left.set_yticks(place, members["member"])
    left.invert_yaxis()
    left.set_xlabel("weight (%)")
    gain = members["gain"].fillna(0)
    right.barh(place, gain, color=np.where(gain >= 0, YES, NO))
    right.axvline(0, color="black", linewidth=0.8)
    right.set_xlabel("MAP lost without it")
    return figure


def agreement(correlation) -> plt.Figure:
    """Which members say the same?

    Args:
        correlation: Rank correlation of members, a square table.
    """
    size = 2.5 + 0.6 * len(correlation)
    figure, axes = _axes(size + 1, size)
    image = axes.imshow(correlation, cmap="cividis", vmin=0, vmax=1)
    places = range(len(correlation))
    axes.set_xticks(places, correlation.columns, rotation=30, ha="right")
    axes.set_yticks(places, correlation.index)
    for row in places:
        for column in places:
            value = correlation.iloc[row, column]
            axes.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                color="black" if value > 0.5 else "white",
            )
    figure.colorbar(image, label="rank correlation", shrink=0.8)
    return figure


def class_gains(classes, names=None, most: int = 40) -> plt.Figure:
    """Which classes does fusing help, and which does it hurt?

    Args:
        classes: Columns `class_id` and `gain`, from
            `kit.ensemble.search_weights`.
        names: Class id to name, where known.
        most: Draw so many classes, those that change most.
    """
    order = classes["gain"].abs().sort_values().index[-most:]
    shown = classes.loc[order].sort_values("gain")
    figure, axes = _axes(8, 1 + 0.22 * len(shown))
    place = np.arange(len(shown))
    axes.barh(place, shown["gain"], color=np.where(shown["gain"] >= 0, YES, NO))
    labels = [(names or {}).get(i, f"class {i}") for i in shown["class_id"]]
    axes.set_yticks(place, labels, fontsize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("AP of the ensemble less AP of the best single member")
    return figure


def _axes(width, height):
    return plt.subplots(figsize=(width, height), layout="constrained")
