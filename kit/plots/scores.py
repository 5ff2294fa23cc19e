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
    left.legend(fontsize=8)
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
