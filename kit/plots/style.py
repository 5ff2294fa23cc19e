"""What all figures share: colours, sizes, saving."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

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


def single_axes(width, height):
    return plt.subplots(figsize=(width, height), layout="constrained")
