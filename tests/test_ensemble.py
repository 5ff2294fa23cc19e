import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import metrics, submission
from kit.ensemble import fuse, fuse_files, search_weights
from kit.ensemble.local_map import LocalMap
from kit.ensemble.optimise import regions
from kit.ranking import Ranking
from tests.test_ranking import listed


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


@settings(deadline=None, max_examples=100)
@given(ensembles())
def test_fusion_is_its_definition(ensemble):
    members, weights, constant, k = ensemble
    fused = fuse(members, weights, constant, k)
    classes = {int(c) for member in members for c in member.class_ids}
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
    with pytest.raises(ValueError, match="once"):
        fuse([one, double], [1, 1])
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
    with pytest.raises(ValueError, match="checkpoint of the same"):
        search_weights(members, ratings, **options, seed=1)


def test_search_converges_by_its_rule_and_fits_the_constant():
    members, ratings = world(4)
    result = search_weights(
        members[2:], ratings, constant=None, patience=3, tolerance=1.0
    )
    # Ten evaluations, then three that better them by less than 1.
    assert result.converged and 0 <= result.constant <= 1000
    bayes = result.history["method"] == "Bayesian optimisation"
    assert bayes.sum() == 13


def test_cross_fitting_scores_videos_that_did_not_choose(found):
    members, ratings, _, result = found
    single = result.comparison["cross_fitted"][0]
    local = LocalMap(members, ratings)
    videos = np.unique(local.pairs.video)
    shuffled = np.random.default_rng(0).permutation(videos)
    scores = []
    for fold in range(2):
        inside = shuffled[fold::2]
        outside = np.setdiff1d(videos, inside)
        chooser = local.only(outside)
        best = max(np.eye(4).tolist(), key=chooser)
        scores.append(local.only(inside)(best))
    assert single == pytest.approx(np.mean(scores))


def test_search_refuses_what_it_cannot_use():
    members, ratings = world(5)
    with pytest.raises(ValueError, match="two members or more"):
        search_weights(members[:1], ratings)
    with pytest.raises(ValueError, match="a name each"):
        search_weights(members, ratings, names=["one"])
    for option in ({"folds": 1}, {"max_evaluations": 0}, {"tolerance": -1}):
        with pytest.raises(ValueError, match="folds"):
            search_weights(members, ratings, **option)
    ratings["score"][:] = 0
    with pytest.raises(ValueError, match="needs positive ratings"):
        search_weights(members, ratings)
