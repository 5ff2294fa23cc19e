"""The ideas of the paper at work: what a layer, a head, a shift makes."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch

from kit.plots.data import rated_strip
from kit.plots.style import COLOURS, NO, UNSURE


def assignment(shares: dict, ratings, spec, names: dict) -> plt.Figure:
    """Which frames go to which cluster?

    Args:
        shares: Modality to `(num_frames, num_clusters)`, from
            `kit.inference.assignments`.
        ratings: This video's `start`, `label` and `score`.
        spec: How long a segment is.
        names: Class id to name.
    """
    figure, axes = plt.subplots(
        len(shares) + 1,
        1,
        figsize=(8, 2.2 * len(shares) + 1),
        sharex=True,
        layout="constrained",
        height_ratios=[2] * len(shares) + [1],
    )
    highest = max(share.max() for share in shares.values())
    for axis, (modality, share) in zip(axes, shares.items(), strict=False):
        order = np.argsort(-share.sum(axis=0), kind="stable")
        image = axis.imshow(
            share[:, order].T,
            aspect="auto",
            cmap="cividis",
            vmin=0,
            vmax=highest,
            extent=(0, len(share), len(order), 0),
        )
        few = slice(None, None, -(-len(order) // 16))
        axis.set_yticks(
            np.arange(len(order))[few] + 0.5, order[few] + 1, fontsize=7
        )
        axis.set_ylabel(f"{modality} cluster")
    figure.colorbar(image, ax=axes[:-1], label="share of the frame")
    axes[0].set_title(
        "a column is a frame, shared out among the clusters: it sums to 1",
        fontsize=9,
    )
    rated_strip(axes[-1], ratings, spec, names)
    axes[-1].set_xlim(0, len(share))
    return figure


def attention(weights) -> plt.Figure:
    """Which frames does each head look at?

    Args:
        weights: Of one segment, `(num_layers, num_heads, T, T)`, from
            `kit.inference.attention`.
    """
    num_layers, num_heads, length, _ = weights.shape
    figure, axes = plt.subplots(
        num_layers,
        num_heads,
        figsize=(8, 0.9 + num_layers * (6 / num_heads + 0.3)),
        sharex=True,
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for row, column in np.ndindex(num_layers, num_heads):
        image = axes[row, column].imshow(
            weights[row, column], cmap="cividis", vmin=0, vmax=weights.max()
        )
        axes[row, column].set_title(f"head {column + 1}", fontsize=8)
    ticks = dict(ticks=range(length), labels=range(1, length + 1))
    for axis in axes.flat:
        axis.set_xticks(**ticks, fontsize=9 if num_heads < 7 else 6)
        axis.set_yticks(**ticks, fontsize=9 if num_heads < 7 else 6)
    for row, axis in enumerate(axes[:, 0]):
        axis.set_ylabel(f"layer {row + 1}\nthis frame", fontsize=9)
    figure.supxlabel("... takes from this frame of the segment", fontsize=9)
    figure.suptitle("one colour throughout: from every frame alike", fontsize=9)
    figure.colorbar(image, ax=axes, label="weight; a row sums to 1")
    return figure


def experts(gates, said, probability, answers, name: str) -> plt.Figure:
    """Which expert decides, and what does it say?

    Args:
        gates, said, probability: From `kit.inference.experts`.
        answers: 1 or 0 for each segment, what was rated.
        name: Of the class.
    """
    figure, axes = plt.subplots(
        2,
        -(-len(answers) // 2),
        figsize=(8, 4.6),
        sharex=True,
        sharey=True,
        layout="constrained",
        squeeze=False,
        subplot_kw={"xlim": (0, 1), "ylim": (0, 1)},
    )
    colours = [COLOURS[i % 7] for i in range(said.shape[1])]
    for axis, gate, says, value, answer in zip(
        axes.flat, gates, said, probability, answers, strict=False
    ):
        left = np.cumsum(gate) - gate
        axis.bar(left[:-1], says, gate[:-1], align="edge", color=colours)
        axis.axvspan(left[-1], 1, color=UNSURE, linewidth=0)
        word = "yes" if answer else "no"
        axis.set_title(f"rated {word}, model {value:.2f}", fontsize=9)
    area = (gates[:, :-1] * said).sum(axis=1)
    gated = not np.allclose(area, probability, atol=0.005)
    figure.legend(
        [Patch(color=colour) for colour in [*colours, UNSURE]],
        [*range(1, len(colours) + 1), "null, says 0"],
        title=f"{name}: coloured area = probability"
        f"{' before the output gate' if gated else ''}.  Expert:",
        loc="outside upper center",
        ncols=len(colours) + 1,
        fontsize=8,
    )
    figure.supxlabel("gate: share that each expert has", fontsize=9)
    figure.supylabel("what the expert says", fontsize=9)
    return figure


def shifted(table, num_frames: int, spec, name: str) -> plt.Figure:
    """What does a shift see, and what does it change?

    Args:
        table: From `kit.inference.shifted`.
        num_frames: Frames in the video.
        spec: How long a segment is.
        name: Of the class.
    """
    figure, axes = plt.subplot_mosaic(
        [["first", "last"], ["score", "score"]],
        figsize=(8, 5),
        layout="constrained",
        height_ratios=[2, 3],
    )
    _windows(axes["first"], table, table["start"].min(), spec.segment_frames)
    _windows(axes["last"], table, table["start"].max(), spec.segment_frames)
    axes["first"].axvline(0, color="black")
    axes["last"].axvline(num_frames, color="black")
    scores = table.pivot(index="start", columns="shift", values="score")
    edges = [*scores.index, num_frames]
    for row, shift in enumerate(scores):
        axes["score"].stairs(
            scores[shift],
            edges,
            color=COLOURS[row % 7],
            linewidth=1.5,
            label=f"shift {shift:+d}",
        )
    axes["score"].stairs(
        scores.mean(axis=1), edges, color="black", ls="--", lw=2, label="mean"
    )
    axes["score"].set(xlabel="frame (one a second)", ylim=(0, 1))
    axes["score"].set_ylabel("probability")
    axes["score"].set_title(f"{name}, every segment", fontsize=9)
    axes["score"].legend(fontsize=8, ncols=len(edges))
    return figure


def _windows(axes, table, start, length):
    """The frames of one segment, a row a shift; hatched what is missing."""
    of_segment = table[table["start"] == start]
    for row, (shift, seen) in enumerate(
        zip(of_segment["shift"], of_segment["frames"], strict=True)
    ):
        look = {"align": "edge", "edgecolor": "white"}
        axes.barh(row, 1, left=seen, color=COLOURS[row % 7], **look)
        missing = np.setdiff1d(start + shift + np.arange(length), seen)
        look = {"align": "edge", "edgecolor": NO, "hatch": "///"}
        axes.barh(row, 1, left=missing, color="white", **look)
    axes.set_yticks(np.arange(row + 1) + 0.4, of_segment["shift"])
    axes.invert_yaxis()
    axes.set(xlim=(start - 3, start + length + 3), ylabel="shift (frames)")
    axes.set_xlabel("frame (one a second)")
    axes.set_title(f"segment at {start}; hatched: masked", fontsize=9)
