import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.cbook import is_math_text
from matplotlib.text import Text

from kit import plots
from kit.inference import shifted_windows
from kit.spec import FrameSpec

matplotlib.use("Agg")
RNG = np.random.default_rng(0)
SPEC = FrameSpec(rgb=64, audio=32)
# A formula, what a legend leaves out, and what DejaVu Sans does not have.
NAMES = {3: "Make $100 or $5_000$", 7: "_hidden", 9: "吉他 🎸 قيثارة\n\ta\\$b$"}
ONE, TWO = MEMBERS = NAMES[3], NAMES[7]
RATINGS = pd.DataFrame(
    {"start": [0, 5, 15, 15], "label": [3, 3, 7, 9], "score": [1, 0, 1, 0]}
)
HISTORY = pd.DataFrame(
    {"epoch": [0, 1, 2], "loss": [3.0, 2.0, 1.0], "val_map": [0.5, 0.7, 0.6]}
)
SCORES = pd.DataFrame(
    {
        "start": np.repeat([0, 5, 10, 15], 3),
        "end": np.repeat([5, 10, 15, 18], 3),
        "class_id": [3, 7, 9] * 4,
        "name": list(NAMES.values()) * 4,
        "score": RNG.random(12),
    }
)
GAINS = pd.DataFrame({"a": [0.5, 0.4], "b": [0.6, 0.3]}, MEMBERS)
VALUES = RNG.integers(0, 256, (18, 96)) * (4 / 255) + (4 / 512 - 2)
SHARES = {"visual": RNG.dirichlet(np.ones(8), 18)}
SHARES["audio"] = RNG.dirichlet(np.ones(4), 18)
MANY = {"visual": RNG.dirichlet(np.ones(112), 18)}
ATTENTION = RNG.dirichlet(np.ones(5), (2, 4, 5))
GATES, VOTES = RNG.dirichlet(np.ones(3), 5), RNG.random((5, 2))
ANSWERS = [1, 1, 1, 0, 0]
AREA = (GATES[:, :-1] * VOTES).sum(axis=1)
SHIFTS, SHORT = (-1, 0, 1), (RNG.integers(0, 256, (8, 9, 9, 3)), None, None)
WINDOWS, _, STARTS = shifted_windows(
    {"frame": np.arange(8)[None], "mask": np.ones((1, 8), bool)}, SPEC, SHIFTS
)
SHIFTED = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.9]])
BY_PLACE = {ONE: np.array([0.9, 0.5]), TWO: np.array([0.6, 0.0])}
# A second, of 1,000 samples, a frame.
PICTURES = RNG.integers(0, 256, (18, 12, 12, 3), dtype=np.uint8)
FILM = PICTURES, RNG.normal(size=18_000).astype(np.float32), 1_000


def draw_many_heads():
    return plots.attention(RNG.dirichlet(np.ones(5), (3, 12, 5)))


VIDEO = (RATINGS, SPEC, NAMES)
COUNTS = np.array([5, 0, 40, 2])
TWO_BY_TWO = [[1, 0.3], [0.3, 1]]
NO_MORE = (GATES[:1], VOTES[:1], AREA[:1], ANSWERS[:1])
# Name -> function, arguments, which names it must show.
DRAWN = {
    "labels_per_class": (plots.labels_per_class, [COUNTS, [2]], []),
    "ratings_per_class": (plots.ratings_per_class, [RATINGS, NAMES], NAMES),
    "film": (plots.film, [FILM, *VIDEO], NAMES),
    "video": (plots.video_strip, [VALUES, SPEC, RATINGS, NAMES], NAMES),
    "video_strip": (
        plots.video_strip, [VALUES, SPEC, RATINGS, NAMES, FILM], NAMES
    ),
    "learning_curves": (
        plots.learning_curves, [{ONE: HISTORY, TWO: HISTORY}, 0.4], [3, 7]
    ),
    "learning_curves_from": (
        plots.learning_curves, [{ONE: HISTORY}, 0.4, {ONE: 0.5}], [3]
    ),
    "learning_curves_of_none": (plots.learning_curves, [{}, 0.4], []),
    "timeline": (plots.timeline, [SCORES, RATINGS], NAMES),
    "timeline_strip": (plots.timeline, [SCORES, None, 6, FILM], NAMES),
    "gains": (plots.gains, [GAINS, "a", "b", "MAP"], [3, 7]),
    "member_weights": (
        plots.member_weights, [[0.7, 0.3], [0.02, -0.01], MEMBERS], [3, 7]
    ),
    "agreement": (plots.agreement, [TWO_BY_TWO, MEMBERS], [3, 7]),
    "class_gains": (
        plots.class_gains, [[0.1, -0.2, 0.0], list(NAMES.values())], NAMES
    ),
    "answers": (plots.answers, [[SHORT[0]] * 3, [1, 0, 1], [ONE] * 3], [3]),
    "assignment": (plots.assignment, [SHARES, *VIDEO], NAMES),
    "assignment_strip": (plots.assignment, [MANY, *VIDEO, FILM], NAMES),
    "attention": (plots.attention, [ATTENTION], []),
    "attention_of_many": (draw_many_heads, [], []),
    "experts": (plots.experts, [GATES, VOTES, AREA, ANSWERS, NAMES[3]], [3]),
    "experts_of_one": (plots.experts, [*NO_MORE, NAMES[9]], [9]),
    "shifts": (plots.shifts, [WINDOWS, STARTS, SHIFTS, SHIFTED, ONE], [3]),
    "shifts_strip": (
        plots.shifts, [WINDOWS, STARTS, SHIFTS, SHIFTED, ONE, SHORT], [3]
    ),
    "score_scales": (plots.score_scales, [BY_PLACE], [3, 7]),
}  # fmt: skip


def draw(name):
    function, arguments, _ = DRAWN[name]
    return function(*arguments)


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_fits_its_page_and_has_its_axes_and_names(name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a glyph that no font has, say
        figure = draw(name)
        plots.show(figure, tmp_path, name)
    assert figure.get_size_inches()[0] <= 9
    assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 5_000
    assert not plt.fignum_exists(figure.number)
    labels = [axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes]
    # A square of members names them at its ticks.
    assert any(labels) or figure.get_supxlabel() or name == "agreement"
    texts = [text.get_text() for text in figure.findobj(Text)]
    # Powers of ten at the ticks of a logarithm are formulas.
    assert all("mathdefault" in text for text in texts if is_math_text(text))
    for class_id in DRAWN[name][2]:
        label = " ".join(NAMES[class_id].split()).replace("$", r"\$")
        # Alone, or before what is said of it; a legend leaves out what has no
        # space before its underscore.
        heads = label + ":", label + ","
        assert any(x.strip() == label or x.startswith(heads) for x in texts)


def test_a_class_without_a_name_has_its_number_and_a_long_one_is_cut():
    names = {3: "", 9: "A name longer than names are " * 3}
    figure = plots.ratings_per_class(RATINGS, names)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels[:2] == ["class 3", "class 7"]
    assert labels[2].startswith("A name longer") and len(labels[2]) < 40


@pytest.mark.parametrize(
    "name", ["film", "video_strip", "timeline_strip", "assignment_strip"]
)
def test_figures_of_a_video_share_one_axis_of_time_with_its_pictures(name):
    drawn = draw(name).axes
    first, *others = [x for x in drawn if x.get_label() != "<colorbar>"]
    assert len(others) > 1
    strip = first.images[0]
    assert strip.get_extent() == [0, 18, 0, 1]
    # Fifteen pictures side by side, each in a frame of white.
    thumbnails = np.split(strip.get_array(), 15, axis=1)
    for number, picture in enumerate(thumbnails):
        stretch = PICTURES[18 * number // 15 : 18 * (number + 1) // 15 + 1]
        same = stretch == picture[1:-1, 1:-1]
        assert same.all(axis=(1, 2, 3)).sum() == 1
    for axes in others:
        assert axes.get_xlim() == first.get_xlim() == (0, 18)
        assert axes in first.get_shared_x_axes().get_siblings(first)


def test_the_timeline_draws_what_it_was_given():
    figure = plots.timeline(SCORES.sample(frac=1, random_state=0), RATINGS)
    steps, *shades = figure.axes[0].patches
    expected = SCORES[SCORES["class_id"] == 3]["score"]
    np.testing.assert_allclose(steps.get_data().values, expected)
    assert list(steps.get_data().edges) == [0, 5, 10, 15, 18]
    assert [(x.get_x(), x.get_width()) for x in shades] == [(0, 5), (5, 5)]


def test_the_timeline_of_a_thousand_classes_shows_the_best_few():
    start, class_id = np.repeat([0, 5, 10], 1000), np.tile(np.arange(1000), 3)
    places = {"start": start, "end": start + 5, "class_id": class_id}
    table = pd.DataFrame(places)
    table["name"] = [f"class {i}" for i in class_id]
    best = [7, 900, 30, 411, 2, 5]
    table["score"] = np.where(table["class_id"].isin(best), 0.5, 0.1)
    figure = plots.timeline(table)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"class {i}" for i in sorted(best)]
    gap = table[(table["class_id"] == 7) & (table["start"] != 5)]
    steps = plots.timeline(gap).axes[0].patches[0].get_data()
    assert list(steps.edges) == [0, 5, 10, 15]
    np.testing.assert_array_equal(steps.values, [0.5, np.nan, 0.5])


def test_the_assignment_draws_every_share_the_largest_cluster_on_top():
    figure = draw("assignment")
    for axes, (name, share) in zip(figure.axes, SHARES.items(), strict=False):
        rows = [int(text.get_text()) - 1 for text in axes.get_yticklabels()]
        np.testing.assert_array_equal(axes.images[0].get_array(), share.T[rows])
        assert (np.diff(share.sum(axis=0)[rows]) <= 0).all()
        assert axes.get_ylabel() == f"{name} cluster"
    left = sorted(bar.get_x() for bar in figure.axes[2].patches)
    assert left == sorted(RATINGS["start"])


def test_the_attention_draws_the_square_of_each_head():
    squares = [axes.images[0] for axes in draw("attention").axes[:8]]
    weights = ATTENTION.reshape(8, 5, 5)
    for square, expected in zip(squares, weights, strict=True):
        np.testing.assert_array_equal(square.get_array(), expected)
        assert square.get_clim() == (0, ATTENTION.max())


def test_the_coloured_area_is_what_the_experts_say_times_their_gates():
    figure = draw("experts")
    for axes, area, answer in zip(figure.axes, AREA, ANSWERS, strict=False):
        *bars, null = axes.patches
        areas = [bar.get_width() * bar.get_height() for bar in bars]
        assert sum(areas) == pytest.approx(area)
        width = sum(bar.get_width() for bar in [*bars, null])
        assert width == pytest.approx(1)
        word = "yes" if answer else "no"
        assert axes.get_title() == f"rated {word}, model {area:.2f}"
    assert "gate" not in figure.legends[0].get_title().get_text()
    gated = plots.experts(GATES, VOTES, AREA / 2, ANSWERS, "Guitar")
    assert "before the output gate" in gated.legends[0].get_title().get_text()


def test_the_shifts_draw_their_frames_and_scores():
    first, last, score = draw("shifts").axes
    for axes, start in ((first, 0), (last, 5)):
        for row, shift in enumerate(SHIFTS):
            bars = [bar for bar in axes.patches if bar.get_y() == row - 0.4]
            asked = set(range(start + shift, start + shift + 5))
            real = {bar.get_x() for bar in bars if not bar.get_hatch()}
            assert real == asked & set(range(8))
            assert {bar.get_x() for bar in bars} == asked
    *curves, mean = [patch.get_data().values for patch in score.patches]
    np.testing.assert_allclose(curves, SHIFTED)
    np.testing.assert_allclose(mean, [0.3, 0.5])


def test_answers_are_framed_by_right_or_wrong():
    words = [axes.get_title("left")[-5:] for axes in draw("answers").axes]
    assert words[:3] == ["right", "wrong", "right"]


def test_two_dozen_lines_are_told_apart():
    lines = {tuple(plots.style.line_of(i).values()) for i in range(24)}
    assert len(lines) == 24
