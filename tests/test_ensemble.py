import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import metrics, plots, submission
from kit.ensemble import fuse, fuse_files, search_weights
from kit.ensemble.local_map import LocalMap
from kit.ensemble.optimise import regions, search
from kit.ranking import Ranking
from tests.test_ranking import listed

BAYES = "Bayesian optimisation"


def literal_fusion(members, weights, class_id, constant, k):
    """Eq. 20 word by word, with a dictionary."""
    relevance = {}
    for member, weight in zip(members, weights, strict=True):
        for place, segment in enumerate(listed(member, class_id), 1):
            if weight > 0:
                relevance.setdefault(segment, 0.0)
                relevance[segment] += weight / (constant + place)
    best = sorted(relevance.items(), key=lambda item: (-item[1], item[0]))
    return best[:k]


@st.composite
def ensembles(draw):
    """Members with tables, classes and lengths of their own."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    ending = draw(st.sampled_from(["", "-of-more-than-eight-bytes"]))
    members = []
    for _ in range(draw(st.integers(1, 4))):
        table = sorted(
            {
                (f"v{video}" + ending * int(rng.integers(0, 2)), start)
                for video, start in rng.integers(0, 7, (30, 2))
            }
        )
        classes = np.append(rng.permutation([5, 9, 2])[:2], 1)
        members.append(
            Ranking.from_scores(
                rng.integers(0, 5, (len(table), 3)) / 5,
                rng.permutation(classes),
                [video for video, _ in table],
                [start for _, start in table],
                int(rng.integers(1, 40)),
            )
        )
    weights = rng.integers(0, 3, len(members)).astype(float)
    weights[0] += not weights.any()
    constant = draw(st.sampled_from([0.0, 1.0, 60.5]))
    return members, weights, constant, draw(st.integers(1, 50))


@pytest.mark.parametrize("cells", [2**26, 5])
def test_segments_of_any_start_fuse_in_little_memory(
    cells, tmp_path, monkeypatch
):
    """Here each has a start of its own: 10^10 places for 10^5 segments."""
    monkeypatch.setattr("kit.ensemble.files.DENSE", cells)
    many = 100_000 if cells > 5 else 30
    pairs = [f"{at:06x}:{5 * at}" for at in range(many)]
    orders = [pairs, pairs[::-1], pairs[::2] + pairs[1::2]]
    paths = [tmp_path / f"{at}.csv" for at in range(3)]
    for path, order in zip(paths, orders, strict=True):
        path.write_text(f"Class,Segments\n3,{' '.join(order)}\n")
    fuse_files(paths, [3, 1, 2], tmp_path / "fused.csv")
    relevance = {}
    for weight, order in zip([3, 1, 2], orders, strict=True):
        for place, pair in enumerate(order, 1):
            relevance[pair] = relevance.get(pair, 0) + weight / place
    best = sorted(relevance, key=lambda pair: (-relevance[pair], pair))
    found = (tmp_path / "fused.csv").read_text().splitlines()[1]
    assert found == "3," + " ".join(best)


@settings(deadline=None, max_examples=100)
@given(ensembles())
def test_fusion_is_its_definition(ensemble):
    members, weights, constant, k = ensemble
    fused = fuse(members, weights, constant, k)
    weighing = [m for m, w in zip(members, weights, strict=True) if w > 0]
    classes = {int(c) for member in weighing for c in member.class_ids}
    assert fused.class_ids.tolist() == sorted(classes)
    for class_id in classes:
        expected = literal_fusion(members, weights, class_id, constant, k)
        assert listed(fused, class_id) == [segment for segment, _ in expected]
        np.testing.assert_array_equal(
            fused.scores[fused.span(class_id)],
            np.float32([score for _, score in expected]),
        )


@settings(deadline=None, max_examples=40)
@given(ensembles(), st.data())
def test_files_of_any_kind_fuse_to_the_same(tmp_path_factory, ensemble, data):
    members, weights, constant, k = ensemble
    folder = tmp_path_factory.mktemp("fuse")
    paths = []
    for number, member in enumerate(members):
        kind = data.draw(st.sampled_from(["csv", "csv.gz", "npz"]))
        paths.append(folder / f"{number}.{kind}")
        if kind == "npz":
            member.save(paths[-1])
        else:
            submission.write_csv(member, paths[-1])
    done = []
    fuse_files(
        paths,
        weights,
        folder / "fused.csv",
        constant,
        k,
        lambda *progress: done.append(progress),
    )
    submission.write_csv(
        fuse(members, weights, constant, k), folder / "expected.csv"
    )
    own, expected = folder / "fused.csv", folder / "expected.csv"
    assert own.read_bytes() == expected.read_bytes()
    assert done[-1][0] == done[-1][1] == len(done)


def test_means_of_scores_by_hand():
    ids, starts = ["a", "b", "c"], [0, 0, 0]
    one = Ranking.from_scores([[0.9], [0.4], [0.1]], [1], ids, starts, k=2)
    two = Ranking.from_scores([[0.2], [0.4], [0.8]], [1], ids, starts, k=3)
    # The first lists no "c": its lowest, 0.4, stands in.
    mean = fuse([one, two], [3, 1], method="arithmetic")
    assert listed(mean, 1) == [(b"a", 0), (b"c", 0), (b"b", 0)]
    np.testing.assert_allclose(mean.scores, [0.725, 0.5, 0.4], rtol=1e-6)
    root = fuse([one, two], [1, 1], method="geometric")
    np.testing.assert_allclose(
        sorted(root.scores), np.sqrt([0.16, 0.18, 0.32]), rtol=1e-6
    )
    with pytest.raises(ValueError, match="members with scores"):
        fuse(
            [one, Ranking([1], ["a"], [0], [0, 1], [0])],
            [1, 1],
            method="arithmetic",
        )
    with pytest.raises(ValueError, match="must be one of"):
        fuse([one], [1], method="median")


@pytest.mark.parametrize(
    "weights", [[1], [1, 2, 3], [1, -1], [0, 0], [1, np.nan], [1, np.inf], []]
)
def test_unusable_weights_are_refused(weights):
    member = Ranking.from_scores([[0.5]], [1], ["a"], [0])
    with pytest.raises(ValueError, match="one number a member"):
        fuse([member, member], weights)
    with pytest.raises(ValueError, match="one number a member"):
        LocalMap([member, member], RATING)(weights)


RATING = {"video_id": ["a"], "start": [0], "label": [1], "score": [1]}


def test_members_that_do_not_match_are_refused(tmp_path):
    one = Ranking.from_scores([[0.5]], [1], ["a"], [0])
    two = Ranking.from_scores([[0.5]], [2], ["a"], [0])
    with pytest.raises(ValueError, match="share a class"):
        fuse([one, one, two], [1, 1, 1])
    double = Ranking([1], ["a"], [0], [0, 2], [0, 0])
    with pytest.raises(ValueError, match="once.*class 1 of member 1"):
        fuse([one, double], [1, 1])
    assert listed(fuse([one, double], [1, 0]), 1) == [(b"a", 0)]
    one.save(tmp_path / "one.npz")
    double.save(tmp_path / "double.npz")
    (tmp_path / "twice.csv").write_text("Class,Segments\n2,b:0\n1,a:0 a:0\n")
    for name in ("twice.csv, line 3", "double.npz"):
        paths = [tmp_path / "one.npz", tmp_path / name.split(",")[0]]
        with pytest.raises(ValueError, match=f"class 1 of .*{name}"):
            fuse_files(paths, [1, 1], tmp_path / "fused.csv")
    for constant in (-1.0, np.nan):
        with pytest.raises(ValueError, match="constant"):
            fuse([one], [1], constant)
    with pytest.raises(ValueError, match="end in .csv"):
        fuse_files(["a.csv"], [1], "fused.txt")
    path = tmp_path / "notes.csv"
    path.write_text("no submission\n")
    with pytest.raises(ValueError, match="notes.csv, line 1"):
        fuse_files([path], [1], tmp_path / "fused.csv")
    assert not (tmp_path / "fused.csv").exists()
    empty = Ranking([1, 2], ["a"], [0], [0, 0, 1], [0])
    assert listed(fuse([empty, empty], [1, 1]), 1) == []


def test_only_members_that_weigh_give_classes(tmp_path):
    ids, starts = ["a", "b"], [0, 0]
    one = Ranking.from_scores([[0.9], [0.1]], [1], ids, starts)
    two = Ranking.from_scores([[0.9, 0.2], [0.1, 0.3]], [1, 9], ids, starts)
    assert fuse([one, two], [1, 0]).class_ids.tolist() == [1]
    paths = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for ranking, path in zip((one, two), paths, strict=True):
        ranking.save(path)
    fuse_files(paths, [1, 0], tmp_path / "fused.csv")
    submission.validate(tmp_path / "fused.csv", class_ids=[1])


@pytest.mark.parametrize("method", ["rank", "arithmetic", "geometric"])
@pytest.mark.parametrize(
    ("extreme", "plain"),
    [
        ([5e-324, 0], [1, 0]),
        ([1e308, 1e308], [1, 1]),
        ([2e-320, 1e-320], [2, 1]),
        ([1, 5e-324], [1, 1e-200]),
        ([1e308, 5e-324], [1, 1e-200]),
    ],
)
def test_only_proportions_of_weights_matter(method, extreme, plain):
    rng = np.random.default_rng(0)
    ids, starts = [f"{i:02d}" for i in range(40)], np.zeros(40)
    # Short lists: some segments are in one alone.
    pair = [
        Ranking.from_scores(rng.random((40, 1)), [3], ids, starts, 25)
        for _ in range(2)
    ]
    own, expected = (fuse(pair, w, method=method) for w in (extreme, plain))
    assert listed(own, 3) == listed(expected, 3)
    assert np.isfinite(own.scores).all()


def world(seed, num_videos=40, levels=8, k=100_000):
    """Four members, each better than the one before, and ratings."""
    rng = np.random.default_rng(seed)
    ids = np.repeat([f"v{i:03d}" for i in range(num_videos)], 6)
    starts = np.tile(np.arange(6) * 5, num_videos)
    truth = rng.random((len(ids), 5)) < 0.4
    members = []
    for skill in (0.2, 0.5, 0.8, 1.1):
        scores = skill * truth + rng.normal(size=truth.shape)
        scores = np.round(scores * levels) / levels
        members.append(
            Ranking.from_scores(scores, np.arange(5) * 3, ids, starts, k)
        )
    row, column = np.nonzero(rng.random(truth.shape) < 0.4)
    ratings = {
        "video_id": ids[row],
        "start": starts[row],
        "label": column * 3,
        "score": truth[row, column].astype(int),
    }
    return members, ratings


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.integers(1, 8),
    st.integers(5, 300),
    st.integers(5, 300),
    st.sampled_from([0.0, 3.5]),
)
def test_local_map_is_the_map_of_the_fused_list(seed, levels, length, k, c):
    # To the last bit: ties, the cut at k and members of weight 0 included.
    members, ratings = world(seed, levels=levels, k=length)
    weights = np.random.default_rng(seed).integers(0, 3, 4) / 3
    weights[1] += not weights.any()
    expected = metrics.mean_average_precision(
        fuse(members, weights, c, k), ratings, k=k
    )
    own = LocalMap(members, ratings, k=k)(weights, c)
    assert own == pytest.approx(expected, abs=1e-13)


def test_local_map_on_some_videos_scores_those_alone():
    members, ratings = world(1)
    local = LocalMap(members, ratings)
    videos = np.arange(0, 40, 3)
    keep = np.isin(ratings["video_id"], local.pairs.video_ids[videos])
    part = {name: values[keep] for name, values in ratings.items()}
    weights = [1, 2, 3, 4]
    assert local.only(videos)(weights) == pytest.approx(
        metrics.mean_average_precision(fuse(members, weights), part)
    )
    with pytest.raises(ValueError, match="needs positive ratings"):
        local.only([])


def test_regions_follow_the_scores():
    np.testing.assert_allclose(regions([0.7, 0.8, 0.75]), [0.25, 1, 0.625])
    np.testing.assert_allclose(regions([0.5, 0.5]), [1, 1])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    members, ratings = world(3)
    path = tmp_path_factory.mktemp("search") / "weights.json"
    names = ["poor", "fair", "good", "best"]
    options = {"max_evaluations": 14, "checkpoint": path, "names": names}
    result = search_weights(members, ratings, **options)
    return members, ratings, options, result


def test_search_finds_weights_and_says_how_it_fares(found):
    members, ratings, _, result = found
    assert result.weights.sum() == pytest.approx(1)
    assert not result.converged  # the budget ended it
    score = metrics.mean_average_precision(
        fuse(members, result.weights), ratings
    )
    chosen = result.comparison.set_index("method")["chosen"]
    assert chosen["Bayesian optimisation"] == score
    alone = [metrics.mean_average_precision(m, ratings) for m in members]
    np.testing.assert_allclose(result.members["alone"], alone)
    assert chosen["best single"] == max(alone)
    assert chosen["equal weights"] == pytest.approx(
        metrics.mean_average_precision(fuse(members, np.full(4, 0.25)), ratings)
    )
    # Each method starts from equal weights or better.
    assert chosen["Bayesian optimisation"] >= chosen["equal weights"]
    assert chosen["coordinate ascent"] >= chosen["equal weights"]
    without = fuse(members, np.where(np.arange(4) == 2, 0, result.weights))
    assert result.members["gain"][2] == pytest.approx(
        score - metrics.mean_average_precision(without, ratings)
    )
    assert result.comparison["cross_fitted"].between(0, 1).all()
    history = result.history.groupby("method")["evaluation"].max()
    assert history["Bayesian optimisation"] == 14
    assert (np.diag(result.agreement) > 0.999).all()
    gain = result.classes["gain"].mean()
    assert gain == pytest.approx(score - max(alone))


def test_search_cut_off_goes_on_to_the_identical_result(found):
    members, ratings, options, result = found
    path = options["checkpoint"]
    kept = json.loads(path.read_text())
    kept["points"]["all"] = kept["points"]["all"][:11]
    del kept["points"]["fold 2"]
    path.write_text(json.dumps(kept))
    seen = []
    again = search_weights(
        members, ratings, **options, progress=lambda *step: seen.append(step)
    )
    assert len(seen) == 3 + 14  # what was kept is not asked again
    np.testing.assert_array_equal(again.weights, result.weights)
    for name in ("comparison", "history", "members", "agreement", "classes"):
        assert getattr(again, name).equals(getattr(result, name))
    for other in ({"seed": 1}, {"k": 60}):
        with pytest.raises(ValueError, match="of the same.*another search"):
            search_weights(members, ratings, **options, **other)


@pytest.mark.parametrize("text", ["{}", "[]", '{"format": 1, "sea', "3"])
def test_a_file_that_is_no_checkpoint_is_named(text, tmp_path):
    path = tmp_path / "weights.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="weights.json.*no checkpoint"):
        search_weights(*world(3), checkpoint=path)


def test_a_checkpoint_of_lists_that_are_cut_is_of_those_lists(tmp_path):
    # Unrated segments trade places: no rated one moves, the cut does.
    members, ratings = world(3)
    options = {"checkpoint": tmp_path / "weights.json", "max_evaluations": 1}
    search_weights(members, ratings, k=60, **options)
    with pytest.raises(ValueError, match="another search"):
        search_weights(members, ratings, k=50, **options)
    ranks = members[0].ranks(
        ratings["label"], ratings["video_id"], ratings["start"]
    )
    free = np.setdiff1d(np.arange(240), ranks[ratings["label"] == 0] - 1)[:2]
    order = members[0].order.copy()
    order[free] = order[free[::-1]]
    first = members[0]
    members[0] = Ranking(
        first.class_ids, first.video_ids, first.starts, first.offsets, order
    )
    with pytest.raises(ValueError, match="another search"):
        search_weights(members, ratings, k=60, **options)


def test_search_converges_by_its_rule_and_fits_the_constant(tmp_path):
    members, ratings = world(4)
    path = tmp_path / "weights.json"
    result = search_weights(
        members[2:],
        ratings,
        constant=None,
        patience=3,
        tolerance=1.0,
        checkpoint=path,
    )
    # Ten evaluations, then three that better them by less than 1.
    assert result.converged and 0 <= result.constant <= 1000
    bayes = result.history[result.history["method"] == BAYES]
    assert len(bayes) == 13
    # Points keep it on a logarithmic scale.
    points = json.loads(path.read_text())["points"]["all"]
    best = points[int(np.argmax(bayes["map"]))]
    assert result.constant == np.expm1(best[-1])


def test_cross_fitting_scores_videos_that_did_not_choose(tmp_path):
    # Three folds: with two, equal weights score the same on either side.
    members, ratings = world(3)
    path = tmp_path / "weights.json"
    result = search_weights(
        members, ratings, folds=3, max_evaluations=11, checkpoint=path
    )
    points = json.loads(path.read_text())["points"]
    local = LocalMap(members, ratings)
    videos = np.unique(local.pairs.video)
    shuffled = np.random.default_rng(0).permutation(videos)
    scores = {name: [] for name in ("best single", "equal weights", BAYES)}
    for fold in range(3):
        inside = shuffled[fold::3]
        chooser = local.only(np.setdiff1d(videos, inside))
        tried = np.array(points[f"fold {fold + 1}"])
        tried = np.eye(4), np.full((1, 4), 0.25), tried / tried.sum(1)[:, None]
        for method, weights in zip(scores, tried, strict=True):
            best = max(weights, key=chooser)
            scores[method].append(local.only(inside)(best))
    own = result.comparison.set_index("method")["cross_fitted"]
    for method, values in scores.items():
        assert own[method] == pytest.approx(np.mean(values), abs=1e-12), method


def test_the_cross_fitted_list_ranks_a_video_by_what_others_chose(found):
    members, ratings, _, result = found
    local = LocalMap(members, ratings)
    ids = local.pairs.video_ids
    shuffled = np.random.default_rng(0).permutation(len(ids))
    whole, equal = (
        result.cross_fitted(members, "equal weights"),
        fuse(members, [1, 1, 1, 1]),
    )
    for class_id in equal.class_ids:
        assert listed(whole, class_id) == listed(equal, class_id)
    for method in ("best single", BAYES):
        whole = result.cross_fitted(members, method)
        for fold in range(2):
            chooser = local.only(shuffled[1 - fold :: 2])
            weights, _ = result.folds[method][fold]
            if method == "best single":
                best = max(np.eye(4).tolist(), key=chooser)
                assert weights.tolist() == best
            inside = ids[shuffled[fold::2]]
            expected = fuse(members, weights).restrict(inside)
            for class_id in expected.class_ids:
                assert listed(whole.restrict(inside), class_id) == listed(
                    expected, class_id
                )


class Hill:
    """A smooth objective with a known top: a constant of e ** 4.2 - 1."""

    rank = np.zeros((2, 1))

    def __call__(self, weights, constant):
        return -np.square(np.log1p(constant) - 4.2)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_gaussian_process_finds_what_chance_does_not(seed):
    notes = SimpleNamespace(points={}, take=lambda *step: None)
    walks = search("hill", Hill(), None, (14, 100, 0.0), seed, notes)
    missed = {walk.method: -max(walk.values) for walk in walks}
    assert missed[BAYES] < 1e-3 < 2e-3 < missed["random search"]


def test_agreement_is_spearmans_within_classes_by_hand():
    # Class 1 has two pairs in opposite orders, class 2 has three: a, b, c and
    # a, c, b. From the means of their class, the places differ by -1/2 and 1/2
    # (times 1/2 and -1/2) and by -1, 0, 1 (times -1, 1, 0).
    ids, starts = ["a", "b", "c"], [0, 0, 0]
    one = Ranking([1, 2], ids, starts, [0, 2, 5], [0, 1, 0, 1, 2])
    two = Ranking([1, 2], ids, starts, [0, 2, 5], [1, 0, 0, 2, 1])
    ratings = {
        "video_id": ["a", "b", "a", "b", "c"],
        "start": [0] * 5,
        "label": [1, 1, 2, 2, 2],
        "score": [1, 0, 1, 0, 0],
    }
    agreement = LocalMap([one, two], ratings).agreement()
    expected = (-1 / 2 + 1) / (1 / 2 + 2)
    np.testing.assert_allclose(agreement, [[1, expected], [expected, 1]])


def test_a_short_search_is_drawn_with_its_steps(found):
    history = found[-1].history
    figure = plots.convergence(history[history["evaluation"] <= 5])
    drawn = {
        line.get_label(): len(line.get_xdata()) for line in figure.axes[0].lines
    }
    plt.close(figure)
    assert drawn[BAYES] == drawn["random search"] == 5
    assert drawn["best single"] == drawn["equal weights"] == 2  # a level


def test_search_refuses_what_it_cannot_use():
    members, ratings = world(5)
    with pytest.raises(ValueError, match="two members or more.*submission"):
        search_weights(members[:1], ratings)
    for names in (["one"], list("aabb")):
        with pytest.raises(ValueError, match="by its name"):
            search_weights(members, ratings, names=names)
    for option in (
        {"folds": 1},
        {"max_evaluations": 0},
        {"tolerance": -1},
        {"tolerance": np.inf},
        {"tolerance": np.nan},
    ):
        with pytest.raises(ValueError, match="folds"):
            search_weights(members, ratings, **option)
    ratings["score"][:] = 0
    with pytest.raises(ValueError, match="needs positive ratings"):
        search_weights(members, ratings)
