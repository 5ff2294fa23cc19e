"""The ensemble: the search of its weights, and its members."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np

from kit.plots.style import COLOURS, NO, YES, single_axes

# Methods that look for nothing: what they score is one value.
FIXED = ("best single", "equal weights")


def convergence(history) -> plt.Figure:
    """Did the optimiser find anything, and when?

    Args:
        history: Columns `method`, `evaluation`, `map` and `best`, from
            `kit.ensemble.search_weights`.
    """
    figure, axes = single_axes(8, 3.5)
    for place, (method, tried) in enumerate(
        history.groupby("method", sort=False)
    ):
        colour = COLOURS[place]
        if method in FIXED:
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
    figure, axes = single_axes(size + 1, size)
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
    figure, axes = single_axes(8, 1 + 0.22 * len(shown))
    place = np.arange(len(shown))
    axes.barh(place, shown["gain"], color=np.where(shown["gain"] >= 0, YES, NO))
    labels = [(names or {}).get(i, f"class {i}") for i in shown["class_id"]]
    axes.set_yticks(place, labels, fontsize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("AP of the ensemble less AP of the best single member")
    return figure


def score_scales(table) -> plt.Figure:
    """Why are ranks fused, and not scores?

    Args:
        table: From `kit.results.scores_by_place`.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8, 3.5), layout="constrained", sharex=True
    )
    lines = cycle(["-", "--", ":"])
    for place, member in enumerate(table):
        left.plot(
            table[member],
            color=COLOURS[place % len(COLOURS)],
            linestyle=next(lines),
            label=member,
        )
    right.plot(table.index, 1 / table.index, color="black")
    left.legend(fontsize=7)
    for axes, label, title in (
        (left, "its score there (median of classes)",
         "scores: each member has its own scale"),
        (right, "1 / place", "eq. 20: one scale for all members"),
    ):  # fmt: skip
        axes.set_title(title, fontsize=9)
        axes.set(xscale="log", ylim=(0, 1.05), ylabel=label)
        axes.set_xlabel("place in a member's list (log)")
    return figure


def tried_weights(history, method="Bayesian optimisation") -> plt.Figure:
    """Where did the optimiser look?

    Args:
        history: From `kit.ensemble.search_weights`: `method`, `map` and a
            `weight of ...` each member.
        method: The search to draw.
    """
    tried = history[history["method"] == method].sort_values("map")
    weights = 100 * tried.filter(like="weight of ")
    figure, axes = single_axes(8, 1.2 + 0.5 * weights.shape[1])
    place = np.arange(weights.shape[1])
    for row in range(len(place)):
        dots = axes.scatter(
            weights.iloc[:, row],
            row + np.linspace(-0.3, 0.3, len(tried)),
            c=tried["map"],
            cmap="viridis",
            s=18,
        )
    axes.plot(
        weights.iloc[-1], place + 0.3, "D", mfc="none", mec=NO, ms=10, mew=2
    )
    axes.set_yticks(place, [c.removeprefix("weight of ") for c in weights])
    axes.invert_yaxis()
    axes.set_xlabel("weight (%)")
    axes.set_title(
        "a dot: one weight tried; lower in its row: better; diamond: best",
        fontsize=9,
    )
    figure.colorbar(dots, label="local MAP")
    return figure
