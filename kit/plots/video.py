"""One video in time: its features, and what a model makes of it.

Each function takes a `film`, its pictures, waveform and rate, as from
`kit.sample.film`, and draws a strip of thumbnails on top.  YouTube-8M ships no
pictures: there `film` is None, and the rest is the same.
"""

import matplotlib.pyplot as plt
import numpy as np

from kit.plots import style


def film(film: tuple, ratings, spec, names: dict) -> plt.Figure:
    """What does one see and hear in a video, and what did people say of it?

    Args:
        film: Pictures, uint8 `(num_frames, H, W, 3)`; the waveform, `(n,)`;
            and its rate, samples a second.
        ratings: This video's `start`, `label` and `score`.
        spec: How long a segment is.
        names: Class id to name.
    """
    pictures, waveform, rate = film
    heights = [1.5, _height(ratings)]
    figure, (sound, answers) = style.time_axes(heights, len(pictures), film)
    # Decibels: what is below -85 of them is hardly heard.
    look = {"cmap": "cividis", "vmin": -85, "xextent": (0, len(pictures))}
    sound.specgram(waveform, NFFT=512, Fs=rate, noverlap=112, **look)
    sound.set_ylabel("pitch (Hz)", fontsize=9)
    _draw_ratings(answers, ratings, spec, names)
    return figure


def video_strip(values, spec, ratings, names: dict, film=None) -> plt.Figure:
    """What does one video look like, and which of its segments were rated?

    Args:
        values: Dequantised frames, `(num_frames, dim)`.
        spec: Which of the features are visual, and how long a segment is.
        ratings: This video's `start`, `label` and `score`.
        names: Class id to name.
        film: Of the video, see above.
    """
    parts = {
        f"visual feature\n(of {spec.rgb:,})": values[:, : spec.rgb][:, :64],
        f"audio feature\n(of {spec.audio:,})": values[:, spec.rgb :][:, :32],
    }
    images = {label: part for label, part in parts.items() if part.size}
    limit = np.abs(values).max()
    figure, axes, image = _images(images, (-limit, limit), ratings, film)
    figure.colorbar(image, ax=axes[:-1], label="value (no unit)")
    _draw_ratings(axes[-1], ratings, spec, names)
    return figure


def assignment(shares, ratings, spec, names: dict, film=None) -> plt.Figure:
    """Which frames go to which cluster?

    Args:
        shares: Modality to `(num_frames, num_clusters)`, from
            `kit.explain.assignments`.
        ratings: This video's `start`, `label` and `score`.
        spec: How long a segment is.
        names: Class id to name.
        film: Of the video, see above.
    """
    # The cluster with the largest share of the video on top.
    orders = [
        np.argsort(-x.sum(axis=0), kind="stable") for x in shares.values()
    ]
    images = {
        f"{modality} cluster": share[:, order]
        for order, (modality, share) in zip(orders, shares.items(), strict=True)
    }
    limit = max(share.max() for share in shares.values())
    figure, axes, image = _images(images, (0, limit), ratings, film)
    for axis, order in zip(axes, orders, strict=False):
        few = np.arange(0, len(order), -(-len(order) // 16))
        axis.set_yticks(few + 0.5, order[few] + 1, fontsize=7)
    title = "a column is a frame, shared out among the clusters: it sums to 1"
    axes[0].set_title(title, fontsize=9)
    figure.colorbar(image, ax=axes[:-1], label="share of the frame")
    _draw_ratings(axes[-1], ratings, spec, names)
    return figure


def timeline(scores, truth=None, most: int = 6, film=None) -> plt.Figure:
    """When does the model see each concept, and when was it there?

    Args:
        scores: From `kit.inference.localize`, a row or more.
        truth: Columns `start`, `label`, `score`, what was rated or planted;
            None where nothing is known.
        most: Draw so many classes, those with the highest score anywhere.
        film: Of the video, see above.
    """
    best = scores.groupby("class_id")["score"].max().nlargest(most)
    figure, axes = style.time_axes([1] * len(best), scores["end"].max(), film)
    length = (scores["end"] - scores["start"]).max()
    for axis, class_id in zip(axes, sorted(best.index), strict=True):
        rows = scores[scores["class_id"] == class_id].set_index("start")
        # A segment without a row leaves a gap.
        edges = np.union1d(rows.index, rows["end"])
        values = rows["score"].reindex(edges[:-1])
        axis.stairs(values, edges, color="black", linewidth=1.5)
        if truth is not None:
            _shade(axis, truth[truth["label"] == class_id], length)
        name = style.as_text(rows["name"].iloc[0])
        axis.set_title(name, fontsize=9, loc="left")
        axis.set_ylim(0, 1)
    figure.supylabel("probability", fontsize=9)
    if truth is not None:
        title = "blue: there; hatched: known not to be there"
        figure.suptitle(title, fontsize=9)
    return figure


def answers(clips, right, names) -> plt.Figure:
    """Which of a model's answers are right?

    Args:
        clips: Of each answer, the surest first, the pictures of its segment,
            uint8 `(segment_frames, H, W, 3)`.
        right: Whether each is right.
        names: Of the class of each.
    """
    rows = -(-len(clips) // 2)
    figure, axes = style.page(6.5, 0.95 * rows, rows, 2, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    shown = zip(axes.flat, clips, right, names, strict=False)
    for place, (axis, pictures, good, name) in enumerate(shown, start=1):
        word, colour = ("right", style.YES) if good else ("wrong", style.NO)
        axis.set_axis_on()
        axis.imshow(np.concatenate(pictures, axis=1))
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(place, rotation=0, labelpad=8, size=8)
        axis.set_title(f"{style.as_text(name)}: {word}", size=8, loc="left")
        for side in axis.spines.values():
            side.set(color=colour, linewidth=4)
    return figure


def shifts(windows, starts, shifts, scores, name, film=None) -> plt.Figure:
    """What does a shift see, and what does it change?

    Args:
        windows: `frame`, the number of the frame at each place, and `mask`,
            both `(num_shifts, num_segments, segment_frames)`: from
            `kit.inference.shifted_windows` of one video, whose inputs have
            the key `frame`, 0 to `num_frames - 1`.
        starts: First frame of each segment, `(num_segments,)`.
        shifts: The shifts, in frames, `(num_shifts,)`.
        scores: Probabilities of one class, `(num_shifts, num_segments)`.
        name: Of the class.
        film: Of the video, see above.
    """
    frame, mask = np.asarray(windows["frame"]), np.asarray(windows["mask"])
    edges = [*starts, frame[mask].max() + 1]
    height = 5 if film is None else 5 + style.STRIP
    figure = plt.figure(figsize=(8, height), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[2, height - 2])
    ends = above.subplots(1, 2)
    for axis, number, edge in zip(ends, (0, -1), (0, edges[-1]), strict=True):
        _draw_windows(axis, frame[:, number], mask[:, number], shifts)
        axis.set_title(f"segment at {starts[number]}; hatched: masked", size=9)
        axis.axvline(edge, color="black")
    _, (axis,) = style.time_axes([2.6], edges[-1], film, below)
    for place, (shift, values) in enumerate(zip(shifts, scores, strict=True)):
        line = style.line_of(place) | {"label": f"shift {shift:+d}"}
        axis.stairs(values, edges, linewidth=1.5, **line)
    mean = np.mean(scores, axis=0)
    axis.stairs(mean, edges, color="black", ls="--", lw=2, label="mean")
    axis.set(ylim=(0, 1), ylabel="probability")
    axis.set_title(f"{style.as_text(name)}, every segment", fontsize=9)
    below.legend(fontsize=8, ncols=9, loc="outside lower center")
    return figure


def _images(images, limits, ratings, film):
    """Panels of `(num_frames, rows)`, and one beneath them for the ratings."""
    heights = [1.4 + part.shape[1] / 80 for part in images.values()]
    heights.append(_height(ratings))
    num_frames = len(next(iter(images.values())))
    figure, axes = style.time_axes(heights, num_frames, film)
    look = dict(zip(("vmin", "vmax"), limits, strict=True), cmap="cividis")
    for axis, (label, part) in zip(axes, images.items(), strict=False):
        extent = (0, *part.shape, 0)
        image = axis.imshow(part.T, aspect="auto", extent=extent, **look)
        axis.set_ylabel(label, fontsize=9)
    return figure, axes, image


def _height(ratings):
    """Of the panel in which ratings are drawn, in inches."""
    return 0.3 + 0.2 * ratings["label"].nunique()


def _draw_ratings(axes, ratings, spec, names):
    """Which segments of a video were rated yes or no, a row a class."""
    labels, length = sorted(set(ratings["label"])), spec.segment_frames
    columns = (ratings[name] for name in ("start", "label", "score"))
    for start, label, score in zip(*columns, strict=True):
        row, colour = labels.index(label), style.YES if score else style.NO
        axes.barh(row, length, left=start, color=colour)
        mark = "\N{CHECK MARK}" if score else "\N{BALLOT X}"
        look = {"ha": "center", "va": "center", "color": "white", "size": 7}
        axes.text(start + length / 2, row, mark, **look)
    style.name_rows(axes, [style.class_name(names, label) for label in labels])


def _shade(axes, known, length):
    """Where a concept is known to be, and where known not to be."""
    for start, score in zip(known["start"], known["score"], strict=True):
        look = {"color": style.YES, "alpha": 0.3}
        if not score:
            look = {"color": style.NO, "alpha": 0.1, "hatch": "//"}
        axes.axvspan(start, start + length, linewidth=0, **look)


def _draw_windows(axes, frame, mask, shifts):
    """The frames of one segment, a row a shift; hatched what is missing."""
    places = np.arange(mask.shape[1])
    for row, (numbers, real) in enumerate(zip(frame, mask, strict=True)):
        left = (numbers - places)[real][0] + places
        colour = style.line_of(row)["color"]
        look = {
            "color": [colour if each else "white" for each in real],
            "hatch": ["" if each else "///" for each in real],
        }
        axes.barh(row, 1, left=left, edgecolor="grey", **look)
    style.name_rows(axes, [f"{shift:+d}" for shift in shifts])
    axes.set(xlabel="frame (one a second)", ylabel="shift (frames)")
    style.whole_numbers(axes)
