"""Members: how they learn, what they gain, when they see what."""

import matplotlib.pyplot as plt
import numpy as np

from kit.plots.style import COLOURS, NO, UNSURE, YES, single_axes


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
    if histories:
        left.legend(fontsize=8)
    else:
        left.set_title("no member has been looked at yet", fontsize=9)
    right.legend(fontsize=8, loc="lower right")
    return figure


def gains(table, before: str, after: str, label: str) -> plt.Figure:
    """What did a step gain each member?

    Args:
        table: A row per member, its name as index.
        before: Column before the step.
        after: Column after it.
        label: What the axis says.
    """
    figure, axes = single_axes(8, 1.2 + 0.45 * len(table))
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


def timeline(scores, truth=None, most: int = 6) -> plt.Figure:
    """When does the model see each concept, and when was it there?

    Args:
        scores: From `kit.inference.localize`.
        truth: Columns `start`, `label`, `score`, what was rated or planted;
            None where nothing is known.
        most: Draw so many classes, those with the highest score anywhere.
    """
    if not len(scores):
        raise ValueError(
            "A timeline needs a row of `localize` to draw. Received: none"
        )
    best = scores.groupby("class_id")["score"].max().nlargest(most)
    classes = sorted(best.index)
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
        of_class = scores[scores["class_id"] == class_id].set_index("start")
        # A segment without a row leaves a gap.
        edges = np.union1d(of_class.index, of_class["end"])
        seen = of_class["score"].reindex(edges[:-1])
        axis.stairs(seen, edges, color="black", linewidth=1.5)
        if truth is not None:
            length = (scores["end"] - scores["start"]).max()
            _shade(axis, truth[truth["label"] == class_id], length)
        axis.set_title(of_class["name"].iloc[0], fontsize=9, loc="left")
        axis.set_ylim(0, 1)
    axes[-1, 0].set_xlabel("frame (one a second)")
    figure.supylabel("probability", fontsize=9)
    if truth is not None:
        title = "blue: there; hatched: known not to be there"
        figure.suptitle(title, fontsize=9)
    return figure


def _shade(axis, known, length):
    """Where a concept is known to be, and where known not to be."""
    for start, score in zip(known["start"], known["score"], strict=True):
        colour, hatch = (YES, None) if score else (NO, "//")
        axis.axvspan(
            start,
            start + length,
            color=colour,
            alpha=0.3 if score else 0.1,
            hatch=hatch,
            linewidth=0,
        )
