"""What all figures share: colours, names, rows, the axis of time, saving."""

import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

# Okabe and Ito's palette without yellow, which is too pale for a line: told
# apart under every common colour blindness.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"]
YES, NO, UNSURE = COLOURS[0], COLOURS[5], "#BBBBBB"
DASHES = ["-", "--", ":", "-."]
STRIP = 0.55  # inches, of the height of thumbnails


def show(figure: plt.Figure, output_dir, name: str) -> None:
    """Saves a figure as `figures/<name>.png` and displays it in a notebook.

    A character that no font of `rcParams["font.family"]` has is a box.
    """
    path = Path(output_dir, "figures", f"{name}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        for text in ("Glyph .* missing", "Matplotlib currently does not"):
            warnings.filterwarnings("ignore", text)
        figure.savefig(path, dpi=120, bbox_inches="tight")
        if "ipykernel" in sys.modules:
            from IPython.display import display

            display(figure)
        else:
            print(f"figure: {path}")
    plt.close(figure)


def page(width: float, height: float, rows: int = 1, columns: int = 1, **more):
    """A figure and its axes, so many inches wide and high."""
    size = {"figsize": (width, height), "layout": "constrained"}
    return plt.subplots(rows, columns, **size, **more)


def as_text(name, most: int = 36) -> str:
    """A user's text as a label: a line, not too long, and never a formula."""
    words = " ".join(str(name).split())
    if len(words) > most:
        words = words[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
    # A legend leaves out what begins with an underscore.
    return (" " * words.startswith("_") + words).replace("$", r"\$")


def class_name(names: Mapping[int, str], class_id: int) -> str:
    """The name of a class, or its number where it has none."""
    return names.get(class_id) or f"class {class_id}"


def name_rows(axes: plt.Axes, names: Sequence[str]) -> None:
    """Names the rows of a figure, the first on top."""
    labels = [as_text(name) for name in names]
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.4, -0.6)


def whole_numbers(axes: plt.Axes) -> None:
    """Has ticks at whole numbers only, as of epochs and frames."""
    axes.xaxis.get_major_locator().set_params(integer=True)


def line_of(place: int) -> dict:
    """Colour and dashes that tell line number `place` from two dozen others."""
    dashes = DASHES[place // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": dashes}


def time_axes(
    heights: Sequence[float], num_frames: int, film=None, figure=None
):
    """Panels one above the other, on one axis of time.

    Args:
        heights: Of the panels, in inches.
        num_frames: Frames in the video.
        film: Its pictures, uint8 `(num_frames, H, W, 3)`, and more, as from
            `kit.sample.film`: drawn as a strip of thumbnails on top.  None
            where there are none, as of YouTube-8M.
        figure: Part of a figure to draw on; None: a figure of its own.

    Returns:
        The figure, and the axes of each panel.
    """
    heights = [STRIP] * (film is not None) + list(heights)
    if figure is None:
        size = (8, sum(heights) + 0.7)
        figure = plt.figure(figsize=size, layout="constrained")
    look = {"sharex": True, "height_ratios": heights, "squeeze": False}
    panels = list(figure.subplots(len(heights), 1, **look)[:, 0])
    if film is not None:
        _thumbnails(panels.pop(0), film[0])
    panels[-1].set(xlim=(0, num_frames), xlabel="frame (one a second)")
    whole_numbers(panels[-1])
    return figure, panels


def _thumbnails(axes, pictures, most=15):
    """A strip of pictures, each that of the middle of its stretch of time."""
    edges = np.linspace(0, len(pictures), min(most, len(pictures)) + 1)
    strip = pictures[((edges[1:] + edges[:-1]) / 2).astype(int)]
    strip = np.pad(strip, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=255)
    extent = (0, len(pictures), 0, 1)
    axes.imshow(np.concatenate(strip, axis=1), aspect="auto", extent=extent)
    axes.set_axis_off()
