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
        "name": ["Guitar", ""] * 4,
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
for name, share in {"BERTMean": 0.3, "GatedNetVLAD": 0.7}.items():
    SEARCH[f"weight of {name}"] = share + 0.2 * RNG.random(13)
GAINS = pd.DataFrame({"class_id": [3, 7, 9], "gain": [0.1, -0.2, 0.0]})
BYTES = RNG.integers(0, 256, (20, 96), dtype=np.uint8)
SHARES = {
    "visual": RNG.dirichlet(np.ones(8), 18),
    "audio": RNG.dirichlet(np.ones(4), 18),
}
ATTENTION = RNG.dirichlet(np.ones(5), (2, 4, 5))
GATES, SAID = RNG.dirichlet(np.ones(3), 6), RNG.random((6, 2))
ANSWERS = [1, 1, 1, 0, 0, 0]
AREA = (GATES[:, :-1] * SAID).sum(axis=1)
SHIFTED = pd.DataFrame(
    [
        (shift, start, seen, score)
        for shift, start, seen, score in (
            (-1, 0, (0, 1, 2, 3), 0.1),
            (-1, 5, (4, 5, 6, 7), 0.2),
            (0, 0, (0, 1, 2, 3, 4), 0.3),
            (0, 5, (5, 6, 7), 0.4),
            (1, 0, (1, 2, 3, 4, 5), 0.5),
            (1, 5, (6, 7), 0.9),
        )
    ],
    columns=["shift", "start", "frames", "score"],
)
BY_PLACE = pd.DataFrame(
    {"BERTMean": [0.9, 0.5, 0.1], "GatedNetVLAD": [0.6, 0.3, 0.0]},
    index=[1, 10, 100],
)

DRAWN = {
    "frames_per_video": lambda: plots.frames_per_video([120, 200, 300, 299]),
    "labels_per_class": lambda: plots.labels_per_class(
        np.array([5, 0, 40, 2]), [2]
    ),
    "ratings_per_class": lambda: plots.ratings_per_class(RATINGS, NAMES),
    "value_ranges": lambda: plots.value_ranges(
        BYTES, BYTES * (4 / 255) + (4 / 512 - 2), SPEC
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
    "timeline": lambda: plots.timeline(SCORES, RATINGS),
    "timeline_alone": lambda: plots.timeline(SCORES),
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
    "assignment": lambda: plots.assignment(SHARES, RATINGS, SPEC, NAMES),
    "assignment_of_many": lambda: plots.assignment(
        {"visual": RNG.dirichlet(np.ones(112), 18)}, RATINGS, SPEC, NAMES
    ),
    "attention": lambda: plots.attention(ATTENTION),
    "attention_of_twelve": lambda: plots.attention(
        RNG.dirichlet(np.ones(5), (3, 12, 5))
    ),
    "experts": lambda: plots.experts(GATES, SAID, AREA, ANSWERS, "Guitar"),
    "experts_of_one": lambda: plots.experts(
        GATES[:1], SAID[:1], AREA[:1], ANSWERS[:1], "Guitar"
    ),
    "shifted": lambda: plots.shifted(SHIFTED, 8, SPEC, "Guitar"),
    "score_scales": lambda: plots.score_scales(BY_PLACE),
    "tried_weights": lambda: plots.tried_weights(SEARCH),
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
    shuffled = SCORES.sample(frac=1, random_state=0)
    figure = plots.timeline(shuffled, RATINGS)
    try:
        assert [axes.get_title(loc="left") for axes in figure.axes] == [
            "Guitar",
            "",
        ]
        drawn = figure.axes[0].patches[0].get_data()
        expected = SCORES[SCORES["class_id"] == 3]["score"]
        np.testing.assert_allclose(drawn.values, expected)
        assert list(drawn.edges) == [0, 5, 10, 15, 18]
        shades = [
            (patch.get_x(), patch.get_width())
            for patch in figure.axes[0].patches[1:]
        ]
        assert shades == [(0, 5), (5, 5)]
    finally:
        plt.close(figure)


def test_the_timeline_of_a_thousand_classes_shows_the_best_few():
    count = 1000
    table = pd.DataFrame({"start": np.repeat([0, 5, 10], count)})
    table["end"] = table["start"] + 5
    table["class_id"] = np.tile(np.arange(count), 3)
    table["name"] = [f"class {i}" for i in table["class_id"]]
    table["score"] = 0.1
    best = [7, 900, 30, 411, 2, 5]
    table.loc[table["class_id"].isin(best) & (table["start"] == 5), "score"] = 1
    figure = plots.timeline(table)
    try:
        titles = [axes.get_title(loc="left") for axes in figure.axes]
        assert titles == [f"class {i}" for i in sorted(best)]
        assert figure.get_size_inches()[1] < 10
    finally:
        plt.close(figure)
    figure = plots.timeline(table.nlargest(3, "score"), most=9)  # gaps
    try:
        assert len(figure.axes) == 3
        assert list(figure.axes[0].patches[0].get_data().edges) == [5, 10]
    finally:
        plt.close(figure)
    gap = table[(table["class_id"] == 7) & (table["start"] != 5)]
    figure = plots.timeline(gap)
    try:
        drawn = figure.axes[0].patches[0].get_data()
        assert list(drawn.edges) == [0, 5, 10, 15]
        np.testing.assert_array_equal(drawn.values, [0.1, np.nan, 0.1])
    finally:
        plt.close(figure)
    with pytest.raises(ValueError, match="a row of `localize`"):
        plots.timeline(table[:0])


@pytest.fixture
def drawn():
    """Draws by name; closes what was drawn."""
    figures = []

    def draw(name):
        figures.append(DRAWN[name]())
        return figures[-1]

    yield draw
    for figure in figures:
        plt.close(figure)


def test_the_values_stand_above_their_bytes(drawn):
    (axes,) = drawn("value_ranges").axes
    (above,) = axes.child_axes
    axes.figure.canvas.draw()
    np.testing.assert_allclose(
        above.get_xlim(), np.array(axes.get_xlim()) * 4 / 255 - 1.9921875
    )
    zero, byte_zero = (line.get_xdata()[0] for line in axes.lines)
    assert zero == pytest.approx(1.9921875 * 255 / 4) and byte_zero == 0
    heights = [patch.get_xy()[:, 1].sum() for patch in axes.patches]
    assert heights == pytest.approx([200, 200])  # both sides of each step


def test_the_assignment_draws_every_share_the_largest_cluster_on_top(drawn):
    figure = drawn("assignment")
    for axes, (modality, share) in zip(
        figure.axes, SHARES.items(), strict=False
    ):
        (image,) = axes.images
        rows = [int(text.get_text()) - 1 for text in axes.get_yticklabels()]
        np.testing.assert_array_equal(image.get_array(), share.T[rows])
        mass = share.sum(axis=0)[rows]
        assert (np.diff(mass) <= 0).all()
        assert axes.get_ylabel() == f"{modality} cluster"
    strip = figure.axes[2]
    left = sorted(bar.get_x() for bar in strip.patches)
    assert left == sorted(RATINGS["start"])


def test_the_attention_draws_the_square_of_each_head(drawn):
    axes = [axis for axis in drawn("attention").axes if axis.images]
    squares = [axis.images[0] for axis in axes[:8]]
    for square, weights in zip(
        squares, ATTENTION.reshape(8, 5, 5), strict=True
    ):
        np.testing.assert_array_equal(square.get_array(), weights)
        assert square.get_clim() == (0, ATTENTION.max())


def test_the_coloured_area_is_what_the_experts_say_times_their_gates(drawn):
    figure = drawn("experts")
    for axes, area, answer in zip(figure.axes, AREA, ANSWERS, strict=True):
        *bars, null = axes.patches
        drawn_area = sum(bar.get_width() * bar.get_height() for bar in bars)
        assert drawn_area == pytest.approx(area)
        width = sum(bar.get_width() for bar in [*bars, null])
        assert width == pytest.approx(1)
        word = "yes" if answer else "no"
        assert axes.get_title() == f"rated {word}, model {area:.2f}"
    (legend,) = figure.legends
    assert "output gate" not in legend.get_title().get_text()
    gated = plots.experts(GATES, SAID, AREA / 2, ANSWERS, "Guitar")
    assert "before the output gate" in gated.legends[0].get_title().get_text()
    plt.close(gated)


def test_the_shifts_draw_their_frames_and_scores(drawn):
    first, last, score = drawn("shifted").axes
    for axes, start in ((first, 0), (last, 5)):
        seen = SHIFTED[SHIFTED["start"] == start]
        for row, (shift, frames) in enumerate(
            zip(seen["shift"], seen["frames"], strict=True)
        ):
            bars = [bar for bar in axes.patches if bar.get_y() == row]
            drawn_frames = {bar.get_x() for bar in bars if not bar.get_hatch()}
            masked = {bar.get_x() for bar in bars if bar.get_hatch()}
            assert drawn_frames == set(frames)
            asked = set(range(start + shift, start + shift + 5))
            assert masked == asked - set(frames)
    *curves, mean = [patch.get_data().values for patch in score.patches]
    np.testing.assert_allclose(curves, [[0.1, 0.2], [0.3, 0.4], [0.5, 0.9]])
    np.testing.assert_allclose(mean, [0.3, 0.5])


def test_the_scales_draw_scores_by_place_and_one_over_it(drawn):
    left, right = drawn("score_scales").axes
    for line, member in zip(left.lines, BY_PLACE, strict=True):
        assert line.get_label() == member
        np.testing.assert_array_equal(line.get_xdata(), [1, 10, 100])
        np.testing.assert_array_equal(line.get_ydata(), BY_PLACE[member])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [1, 0.1, 0.01])


def test_every_weight_tried_is_a_dot_the_better_ones_lower(drawn):
    axes = drawn("tried_weights").axes[0]
    tried = SEARCH[SEARCH["method"] == "Bayesian optimisation"]
    tried = tried.sort_values("map")
    for dots, name in zip(
        axes.collections, ("BERTMean", "GatedNetVLAD"), strict=True
    ):
        across, down = np.array(dots.get_offsets()).T
        np.testing.assert_allclose(across, 100 * tried[f"weight of {name}"])
        np.testing.assert_array_equal(dots.get_array(), tried["map"])
        assert (np.diff(down) > 0).all() and axes.yaxis_inverted()
        chosen = axes.lines[0].get_ydata()[int(down[-1])]
        assert chosen == pytest.approx(down[-1])
    best = axes.lines[0].get_xdata()
    np.testing.assert_allclose(
        best, 100 * tried.filter(like="weight of ").iloc[-1]
    )


def test_the_colours_differ_in_lightness():
    # Told apart by lightness too, where hue is lost.
    channels = np.array(
        [matplotlib.colors.to_rgb(colour) for colour in plots.COLOURS]
    )
    lightness = channels @ [0.2126, 0.7152, 0.0722]
    assert abs(np.subtract.outer(lightness, lightness)[0, 1]) > 0.2
