"""The ensemble: its members, and what each adds."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from kit.plots import style


def score_scales(scores: Mapping[str, np.ndarray]) -> plt.Figure:
    """How do members' scores compare with the ranks of eq. 20?

    Args:
        scores: Member to its scores of one class, best first: of a `Ranking`,
            `ranking.scores[ranking.span(class_id)]`.
    """
    figure, (left, right) = style.page(8, 3.5, columns=2, sharex=True)
    for number, (name, values) in enumerate(scores.items()):
        place = np.arange(1, len(values) + 1)
        line = style.line_of(number)
        left.plot(place, values, label=style.as_text(name), **line)
        right.plot(place, 1 / place, color="black")
    left.legend(fontsize=7)
    left.set_title("scores: each member has its own scale", fontsize=9)
    right.set_title("eq. 20: one scale for all members", fontsize=9)
    for axes, label in ((left, "its score there"), (right, "1 / place")):
        axes.set(xscale="log", ylim=(0, 1.05), ylabel=label)
        axes.set_xlabel("place in a member's list (log)")
    return figure


def member_weights(weights, losses, names: Sequence[str]) -> plt.Figure:
    """Who carries the ensemble?

    Args:
        weights: Of each member.
        losses: What the ensemble's MAP loses without each of them.
        names: Of the members.
    """
    height, place = 1.4 + 0.35 * len(names), np.arange(len(names))
    figure, (left, right) = style.page(9, height, columns=2, sharey=True)
    shares, losses = 100 * np.asarray(weights), np.asarray(losses)
    left.barh(place, shares / np.sum(weights), color=style.YES)
    left.set_xlabel("weight (%)")
    colours = np.where(losses >= 0, style.YES, style.NO)
    right.barh(place, losses, color=colours)
    right.axvline(0, color="black", linewidth=0.8)
    right.set_xlabel("MAP lost without it")
    right.locator_params(axis="x", nbins=5)
    style.name_rows(left, names)
    return figure


def agreement(correlation, names: Sequence[str]) -> plt.Figure:
    """Which members say the same?

    Args:
        correlation: Rank correlation of members, `(num_members, num_members)`.
        names: Of the members.
    """
    correlation = np.asarray(correlation)
    labels, places = [style.as_text(name) for name in names], range(len(names))
    figure, axes = style.page(3.5 + 0.6 * len(names), 2.5 + 0.6 * len(names))
    image = axes.imshow(correlation, cmap="cividis", vmin=0, vmax=1)
    axes.set_xticks(places, labels, rotation=30, ha="right")
    axes.set_yticks(places, labels)
    for (row, column), value in np.ndenumerate(correlation):
        colour = "black" if value > 0.5 else "white"
        look = {"ha": "center", "va": "center", "color": colour}
        axes.text(column, row, f"{value:.2f}", **look)
    figure.colorbar(image, label="rank correlation", shrink=0.8)
    return figure


def class_gains(gains, names: Sequence[str], most: int = 40) -> plt.Figure:
    """Which classes does fusing help, and which does it hurt?

    Args:
        gains: AP of the ensemble less that of its best member, `(C,)`.
        names: Of the classes.
        most: Draw so many classes, those that change most.
    """
    gains = np.asarray(gains)
    order = np.argsort(-np.abs(gains), kind="stable")[:most]
    order = order[np.argsort(-gains[order], kind="stable")]
    figure, axes = style.page(8, 1.2 + 0.2 * len(order))
    colours = np.where(gains[order] >= 0, style.YES, style.NO)
    axes.barh(np.arange(len(order)), gains[order], color=colours)
    style.name_rows(axes, [names[row] for row in order])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("AP of the ensemble less AP of the best single member")
    return figure
