"""Members: how they learn, what a step gains, what their layers do."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch

from kit.plots import style


def learning_curves(histories: dict, floor: float, levels=None) -> plt.Figure:
    """Is it learning, and how far above chance is it?

    Args:
        histories: Name to a table with the columns `epoch`, `loss` and
            `val_map`, from `kit.training.history`.
        floor: MAP of a random order on the same candidates.
        levels: Name to the MAP the member started from, if known.
    """
    figure, (left, right) = style.page(9, 3.5, columns=2)
    for place, (name, history) in enumerate(histories.items()):
        line, epoch = style.line_of(place), history["epoch"]
        left.plot(epoch, history["loss"], label=style.as_text(name), **line)
        right.plot(epoch, history["val_map"], marker=".", **line)
        if levels:
            look = {"color": line["color"], "linestyle": ":", "linewidth": 1}
            right.axhline(levels[name], **look)
    right.axhline(floor, color="black", linestyle="--", label="random order")
    left.set(xlabel="epoch", ylabel="training loss (log)", yscale="log")
    right.set(xlabel="epoch", ylabel="MAP on the hold-out")
    style.whole_numbers(left)
    style.whole_numbers(right)
    if levels:
        right.set_title("thin and dotted: where it started", fontsize=9)
    figure.legend(fontsize=8, loc="outside right upper")
    return figure


def gains(table, before: str, after: str, label: str) -> plt.Figure:
    """What did a step gain each member?

    Args:
        table: A row per member, its name as index.
        before: Column before the step.
        after: Column after it.
        label: What the axis says.
    """
    figure, axes = style.page(8, 1.2 + 0.35 * len(table))
    place, (old, new) = np.arange(len(table)), (table[before], table[after])
    axes.hlines(place, old, new, color=style.UNSURE, linewidth=3)
    axes.plot(old, place, "o", color=style.NO, label=before)
    axes.plot(new, place, "D", color=style.YES, label=after)
    style.name_rows(axes, table.index)
    axes.set_xlabel(label)
    figure.legend(fontsize=8, loc="outside upper center", ncols=2)
    return figure


def attention(weights) -> plt.Figure:
    """Which frames does each head look at?

    Args:
        weights: Of one segment, `(num_layers, num_heads, T, T)`, from
            `kit.explain.attention`.
    """
    layers, heads, length, _ = weights.shape
    height, same = 0.9 + layers * (6 / heads + 0.3), {"squeeze": False}
    same |= {"sharex": True, "sharey": True}
    figure, axes = style.page(8, height, layers, heads, **same)
    limits = {"vmin": 0, "vmax": weights.max(), "cmap": "cividis"}
    ticks = {"ticks": range(length), "labels": range(1, length + 1)}
    for (layer, head), axis in np.ndenumerate(axes):
        image = axis.imshow(weights[layer, head], **limits)
        axis.set_title(f"head {head + 1}", fontsize=8)
        axis.set_xticks(**ticks, fontsize=9 if heads < 7 else 6)
        axis.set_yticks(**ticks, fontsize=9 if heads < 7 else 6)
    for layer, axis in enumerate(axes[:, 0]):
        axis.set_ylabel(f"layer {layer + 1}\nframe", fontsize=9)
    figure.supxlabel("frame of the segment that it attends to", fontsize=9)
    figure.suptitle("one even colour: equal weight on all frames", fontsize=9)
    figure.colorbar(image, ax=axes, label="weight; a row sums to 1")
    return figure


def experts(gates, votes, probability, answers, name: str) -> plt.Figure:
    """Which expert decides, and what does it say?

    Args:
        gates, votes, probability: Of one class, from `kit.explain.experts`:
            `(num_segments, num_mixtures + 1)`, the last of which is the null
            expert's, `(num_segments, num_mixtures)` and `(num_segments,)`.
        answers: 1 or 0 for each segment, what was rated.
        name: Of the class.
    """
    same = {"sharex": True, "sharey": True, "squeeze": False}
    figure, axes = style.page(8, 4.6, 2, -(-len(answers) // 2), **same)
    axes[0, 0].set(xlim=(0, 1), ylim=(0, 1))
    for spare in axes.flat[len(answers) :]:
        spare.set_axis_off()
    colours = [style.line_of(i)["color"] for i in range(votes.shape[1])]
    segments = zip(gates, votes, probability, answers, strict=True)
    for axis, segment in zip(axes.flat, segments, strict=False):
        gate, vote, value, answer = segment
        left = np.cumsum(gate) - gate
        axis.bar(left[:-1], vote, gate[:-1], align="edge", color=colours)
        axis.axvspan(left[-1], 1, color=style.UNSURE, linewidth=0)
        word = "yes" if answer else "no"
        axis.set_title(f"rated {word}, model {value:.2f}", fontsize=9)
    area = (gates[:, :-1] * votes).sum(axis=1)
    gated = not np.allclose(area, probability, atol=0.005)
    title = f"{style.as_text(name)}: coloured area = probability"
    title += " before the output gate" if gated else ""
    figure.legend(
        [Patch(color=colour) for colour in [*colours, style.UNSURE]],
        [*range(1, len(colours) + 1), "null, says 0"],
        title=f"{title}.  Expert:",
        loc="outside upper center",
        ncols=len(colours) + 1,
        fontsize=8,
    )
    figure.supxlabel("gate: share that each expert has", fontsize=9)
    figure.supylabel("what the expert says", fontsize=9)
    return figure
