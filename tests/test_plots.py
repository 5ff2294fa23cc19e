import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from kit import plots
from kit.spec import FrameSpec

matplotlib.use("Agg")
RNG = np.random.default_rng(0)
SPEC = FrameSpec(rgb=64, audio=32)
NAMES = {3: "Guitar", 7: "", 9: "A name that is longer than most names are"}
RATINGS = pd.DataFrame(
    {
        "video_id": ["a"] * 4,
        "start": [0, 5, 15, 15],
        "label": [3, 3, 7, 9],
        "score": [1, 0, 1, 0],
    }
)
HISTORY = pd.DataFrame(
    {"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "map": [0.5, 0.7, 0.6]}
)
SCORES = pd.DataFrame(
    {
        "start": np.repeat([0, 5, 10, 15], 2),
        "end": np.repeat([5, 10, 15, 18], 2),
        "class_id": [3, 7] * 4,
        "score": RNG.random(8),
    }
)
SEARCH = pd.DataFrame(
    {
        "method": ["equal weights"] + ["Bayesian optimisation"] * 12,
        "evaluation": [1, *range(1, 13)],
        "map": RNG.random(13),
    }
).assign(best=lambda table: table.groupby("method")["map"].cummax())
MEMBERS = pd.DataFrame(
    {
        "member": ["BERTMean", "GatedNetVLAD"],
        "weight": [0.7, 0.3],
        "gain": [0.02, np.nan],
    }
)
GAINS = pd.DataFrame({"class_id": [3, 7, 9], "gain": [0.1, -0.2, 0.0]})

DRAWN = {
    "frames_per_video": lambda: plots.frames_per_video([120, 200, 300, 299]),
    "labels_per_class": lambda: plots.labels_per_class(
        np.array([5, 0, 40, 2]), [2]
    ),
    "ratings_per_class": lambda: plots.ratings_per_class(RATINGS, NAMES),
    "value_ranges": lambda: plots.value_ranges(
        RNG.integers(0, 256, (20, 96)), RNG.normal(size=(20, 96))
    ),
    "video_strip": lambda: plots.video_strip(
        RNG.normal(size=(18, 96)), SPEC, RATINGS, NAMES
    ),
    "learning_curves": lambda: plots.learning_curves(
        {"BERTMean": HISTORY, "GatedNetVLAD": HISTORY}, 0.4
    ),
    "learning_curves_from": lambda: plots.learning_curves(
        {"BERTMean": HISTORY}, 0.4, {"BERTMean": 0.5}
    ),
    "timeline": lambda: plots.timeline(SCORES, RATINGS, SPEC, NAMES),
    "gains": lambda: plots.gains(
        pd.DataFrame({"a": [0.5], "b": [0.6]}, index=["BERTMean"]),
        "a",
        "b",
        "MAP",
    ),
    "convergence": lambda: plots.convergence(SEARCH),
    "member_weights": lambda: plots.member_weights(MEMBERS),
    "agreement": lambda: plots.agreement(
        pd.DataFrame([[1, 0.3], [0.3, 1]], list("ab"), list("ab"))
    ),
    "class_gains": lambda: plots.class_gains(GAINS, NAMES),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_draws_without_a_warning_and_fits_its_page(name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = DRAWN[name]()
        width, _ = figure.get_size_inches()
        plots.show(figure, tmp_path, name)
    assert width <= 9
    assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 5_000
    assert not plt.fignum_exists(figure.number)


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_says_what_its_axes_are(name):
    figure = DRAWN[name]()
    try:
        figure.canvas.draw()
        said = [axes.get_xlabel() for axes in figure.axes]
        said += [axes.get_ylabel() for axes in figure.axes]
        labelled = any(said) or figure.get_supxlabel()
        # A square of members names them at its ticks.
        assert labelled or figure.axes[0].get_xticklabels()
    finally:
        plt.close(figure)


def test_the_timeline_draws_what_it_was_given():
    figure = plots.timeline(SCORES, RATINGS, SPEC, NAMES)
    try:
        assert [axes.get_title(loc="left") for axes in figure.axes] == [
            "Guitar",
            "",
        ]
        drawn = figure.axes[0].patches[0].get_data()
        expected = SCORES[SCORES["class_id"] == 3]["score"]
        np.testing.assert_allclose(drawn.values, expected)
        assert list(drawn.edges) == [0, 5, 10, 15, 18]
    finally:
        plt.close(figure)


def test_the_colours_differ_in_lightness():
    # Told apart by lightness too, where hue is lost.
    channels = np.array(
        [matplotlib.colors.to_rgb(colour) for colour in plots.COLOURS]
    )
    lightness = channels @ [0.2126, 0.7152, 0.0722]
    assert abs(np.subtract.outer(lightness, lightness)[0, 1]) > 0.2
