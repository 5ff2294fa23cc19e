import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import metrics, submission
from kit.ensemble import LocalMap, cross_fit, fuse, fuse_csv, out_of_fold
from kit.ranking import Ranking
from tests.chain import SCRIPTS, code_of
from tests.rankings import listed, rated, truths_of
from tests.refusals import refused


def literal_fusion(members, weights, class_id, method="rank", constant=0.0):
    """The definition word by word: what each listed segment is worth."""
    lists = []
    for member, weight in zip(members, weights, strict=True):
        entries = listed(member, class_id)
        if not weight or not entries:
            continue
        values = [1 / (constant + j) for j in range(1, len(entries) + 1)]
        if method != "rank":
            values = member.scores[member.span(class_id)].tolist()
        if method == "logit":
            values = [np.log(p / (1 - p)) for p in values]
        lowest = 0 if method == "rank" else min(values)
        share = weight / sum(weights)
        lists.append((share, dict(zip(entries, values, strict=True)), lowest))
    return {
        segment: sum(share * own.get(segment, low) for share, own, low in lists)
        for _, entries, _ in lists
        for segment in entries
    }


@st.composite
def ensembles(draw):
    """Members with tables, classes and lengths of their own."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    ending = draw(st.sampled_from(["", "-long", "-of-more-than-eight-bytes"]))
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
                rng.integers(1, 5, (len(table), 3)) / 5,
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


@pytest.mark.parametrize("method", ["rank", "mean", "logit"])
@settings(deadline=None, max_examples=50)
@given(ensemble=ensembles())
def test_fusion_is_its_definition(method, ensemble):
    members, weights, constant, k = ensemble
    fused = fuse(members, weights, constant, k, method)
    weighing = [m for m, w in zip(members, weights, strict=True) if w > 0]
    classes = {int(c) for member in weighing for c in member.class_ids}
    assert fused.class_ids.tolist() == sorted(classes)
    for class_id in classes:
        worth = literal_fusion(members, weights, class_id, method, constant)
        own = listed(fused, class_id)
        scores = fused.scores[fused.span(class_id)].tolist()
        assert len(own) == min(k, len(worth))
        expected = [worth.pop(segment) for segment in own]
        np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-7)
        # The best are listed, and equal scores by (video_id, start).
        assert max(worth.values(), default=-np.inf) < min(expected) + 1e-6
        ties = [(-score, s) for score, s in zip(scores, own, strict=True)]
        assert ties == sorted(ties)


@settings(deadline=None, max_examples=25)
@given(ensembles(), st.data())
def test_submissions_fuse_to_the_same(tmp_path_factory, ensemble, data):
    members, weights, constant, k = ensemble
    folder = tmp_path_factory.mktemp("fuse")
    paths = []
    for number, member in enumerate(members):
        ending = data.draw(st.sampled_from(["csv", "csv.gz"]))
        paths.append(folder / f"{number}.{ending}")
        submission.write_csv(member, paths[-1])
        if ending == "csv":  # rows may stand in any order
            header, *rows = paths[-1].read_text().splitlines()
            rows = data.draw(st.permutations(rows))
            paths[-1].write_text("\n".join([header, *rows]))
    fuse_csv(paths, weights, folder / "fused.csv", constant, k)
    fused = fuse(members, weights, constant, k)
    submission.write_csv(fused, folder / "expected.csv")
    own, expected = folder / "fused.csv", folder / "expected.csv"
    assert own.read_bytes() == expected.read_bytes()


def test_means_of_scores_by_hand():
    ids, starts = ["a", "b", "c"], [0, 0, 0]
    one = Ranking.from_scores([[0.9], [0.4], [0.1]], [1], ids, starts, k=2)
    two = Ranking.from_scores([[0.2], [0.4], [0.8]], [1], ids, starts, k=3)
    # The first lists no "c": its lowest, 0.4, stands in.
    mean = fuse([one, two], [3, 1], method="mean")
    assert listed(mean, 1) == [(b"a", 0), (b"c", 0), (b"b", 0)]
    np.testing.assert_allclose(mean.scores, [0.725, 0.5, 0.4], rtol=1e-6)
    # Odds: 9 and 1/4, 2/3 and 4, 2/3 twice.
    logit = fuse([one, two], [1, 1], method="logit")
    assert listed(logit, 1) == [(b"c", 0), (b"a", 0), (b"b", 0)]
    odds = np.array([8 / 3, 9 / 4, 4 / 9])
    np.testing.assert_allclose(logit.scores, np.log(odds) / 2, rtol=1e-5)
    # By rank: a has 1 and 1/3, c 1, b 1/2 twice.
    rank = fuse([one, two], [1, 1])
    assert listed(rank, 1) == [(b"a", 0), (b"b", 0), (b"c", 0)]


@pytest.mark.parametrize("method", ["rank", "mean", "logit"])
def test_a_class_may_be_empty_or_missing_in_a_member(method):
    ids, starts = ["a", "b"], [0, 0]
    full = Ranking.from_scores([[0.1, 0.2], [0.9, 0.8]], [1, 2], ids, starts)
    empty = Ranking([1], ids, starts, [0, 0], [], [])
    fused = fuse([full, empty], [1, 1], method=method)
    for class_id in (1, 2):
        assert listed(fused, class_id) == [(b"b", 0), (b"a", 0)]
    assert listed(fuse([empty, empty], [1, 1], method=method), 1) == []


def test_probabilities_of_0_and_1_have_finite_logits():
    ids, starts = ["a", "b"], [0, 0]
    sure = Ranking.from_scores([[1.0], [0.0]], [1], ids, starts)
    other = Ranking.from_scores([[0.6], [0.7]], [1], ids, starts)
    fused = fuse([sure, other], [1, 1], method="logit")
    assert np.isfinite(fused.scores).all()
    assert listed(fused, 1) == [(b"a", 0), (b"b", 0)]


MEMBER = Ranking.from_scores([[0.5]], [1], ["a"], [0])
RATINGS = rated(["a"], 1, label=1)


@pytest.mark.parametrize(
    "weights", [[1], [1, 2, 3], [1, -1], [0, 0], [1, np.nan], [1, np.inf], []]
)
def test_unusable_weights_are_refused(weights, tmp_path):
    for use in (
        lambda w: fuse([MEMBER, MEMBER], w),
        lambda w: fuse_csv(["a.csv", "b.csv"], w, tmp_path / "fused.csv"),
        LocalMap([MEMBER, MEMBER], RATINGS),
        lambda w: cross_fit(LocalMap(*world(3)), lambda _: w),
    ):
        refused("one number a member", use, weights)


def test_methods_and_scores_that_do_not_fit_are_refused():
    bare = Ranking([1], ["a"], [0], [0, 1], [0])
    logits = Ranking.from_scores([[3.5]], [1], ["a"], [0])
    for use in (
        lambda other, **options: fuse([MEMBER, other], [1, 1], **options),
        lambda other, **options: LocalMap([MEMBER, other], RATINGS, **options),
    ):
        refused("members with scores", use, bare, method="mean")
        refused("probabilities.*3.5 to 3.5", use, logits, method="logit")
        refused("must be one of", use, MEMBER, method="median")
        for constant in (-1.0, np.nan):
            refused("above -1", use, MEMBER, constant=constant)


def world(seed, num_videos=40, levels=8, k=100_000):
    """Four members, each better than the one before, and ratings."""
    rng = np.random.default_rng(seed)
    ids = np.repeat([f"v{i:03d}" for i in range(num_videos)], 6)
    starts = np.tile(np.arange(6) * 5, num_videos)
    truth = rng.random((len(ids), 5)) < 0.4
    members = []
    for skill in (0.2, 0.5, 0.8, 1.1):
        logits = skill * truth + rng.normal(size=truth.shape)
        scores = 1 / (1 + np.exp(-np.round(logits * levels) / levels))
        classes = np.arange(5) * 3
        members.append(Ranking.from_scores(scores, classes, ids, starts, k))
    row, column = np.nonzero(rng.random(truth.shape) < 0.4)
    scores = truth[row, column].astype(int)
    return members, rated(ids[row], scores, starts[row], column * 3)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**32),
    st.integers(1, 8),
    st.integers(5, 240),
    st.sampled_from(["rank", "mean", "logit"]),
    st.sampled_from([0.0, 3.5]),
)
def test_local_map_is_that_of_fusion(seed, levels, length, method, constant):
    # Ties, lists that lack a segment and members of weight 0 included.
    members, ratings = world(seed, levels=levels, k=length)
    members[2] = members[2].restrict([f"v{i:03d}" for i in range(25)])
    weights = np.random.default_rng(seed).integers(0, 3, 4) / 3
    weights[1] += not weights.any()
    fused = fuse(members, weights, constant, method=method)
    measure = metrics.mean_average_precision
    expected = measure(fused, ratings)
    local_map = LocalMap(members, ratings, method=method, constant=constant)
    assert local_map(weights) == pytest.approx(expected, abs=1e-13)
    by_class = [measure(fused, ratings, [c]) for c in local_map.class_ids]
    np.testing.assert_allclose(local_map.precisions(weights), by_class)


def test_local_map_refuses_lists_that_a_cut_could_shorten():
    members, ratings = world(1)
    refused("k=239 for 240 segments", LocalMap, members, ratings, k=239)
    LocalMap(members, ratings, k=240)
    members = [m.restrict(ratings["video_id"][:50]) for m in members]
    LocalMap(members, ratings, k=239)


def test_agreement_is_spearmans_within_classes_by_hand():
    # Class 1 has two pairs in opposite orders, class 2 has three: a, b, c and
    # a, c, b. From the means of their class, the places differ by -1/2 and 1/2
    # (times 1/2 and -1/2) and by -1, 0, 1 (times -1, 1, 0).
    ids, starts = ["a", "b", "c"], [0, 0, 0]
    one = Ranking([1, 2], ids, starts, [0, 2, 5], [0, 1, 0, 1, 2])
    two = Ranking([1, 2], ids, starts, [0, 2, 5], [1, 0, 0, 2, 1])
    ratings = rated(list("ababc"), [1, 0, 1, 0, 0], label=[1, 1, 2, 2, 2])
    agreement = LocalMap([one, two], ratings).agreement()
    expected = (-1 / 2 + 1) / (1 / 2 + 2)
    np.testing.assert_allclose(agreement, [[1, expected], [expected, 1]])


def best_single(chooser):
    return max(np.eye(4), key=chooser)


def test_cross_fitting_chooses_on_videos_outside_the_fold():
    members, ratings = world(3)
    local_map = LocalMap(members, ratings)
    table = cross_fit(local_map, best_single, folds=3, seed=1)
    videos = np.concatenate(table["videos"])
    assert sorted(videos) == sorted(set(ratings["video_id"]))
    for fold in table.itertuples():
        outside = ratings[~ratings["video_id"].isin(fold.videos)]
        chosen = [metrics.mean_average_precision(m, outside) for m in members]
        assert np.argmax(fold.weights) == np.argmax(chosen)
    again = cross_fit(local_map, best_single, folds=3, seed=1)
    one, other = (np.stack(each["weights"]) for each in (table, again))
    assert np.array_equal(one, other)
    for folds in (1, 41):
        with pytest.raises(ValueError, match=f"folds={folds} for 40 videos"):
            cross_fit(local_map, best_single, folds=folds)


@pytest.mark.parametrize("method", ["rank", "mean", "logit"])
@pytest.mark.parametrize("levels", [1, 8])  # with and without many ties
def test_a_list_out_of_folds_keeps_the_places_of_each_fold(method, levels):
    members, ratings = world(3, levels=levels, k=150)
    local_map = LocalMap(members, ratings, method=method)
    videos = cross_fit(local_map, best_single, folds=3)["videos"]
    weights = [[0, 0, 1, 0], [3, 1, 0, 0], [1, 1, 1, 1]]
    joined = out_of_fold(local_map, videos, weights)
    fused = [fuse(members, own, method=method) for own in weights]
    for class_id in set(ratings["label"]):
        pairs, entries = truths_of(ratings, class_id), []
        for ranking, inside in zip(fused, videos, strict=True):
            own = [s for s in listed(ranking, class_id) if s in pairs]
            placed = enumerate(own)
            entries += [(j, s) for j, s in placed if s[0].decode() in inside]
        assert listed(joined, class_id) == [s for _, s in sorted(entries)]
    # With the same weights everywhere it scores as the fused list does.
    same = out_of_fold(local_map, videos, [[1, 0, 2, 2]] * 3)
    expected = local_map([1, 0, 2, 2])
    assert metrics.mean_average_precision(same, ratings) == expected
    for wrong in (videos[:2], [videos[0], *videos[:2]]):
        with pytest.raises(ValueError, match="each rated video once.* times"):
            out_of_fold(local_map, wrong, weights[: len(wrong)])


@pytest.mark.parametrize(
    ("gain", "error", "wins"),
    [(0.0, 0.0, False), (0.01, 0.02, False), (-0.1, 0.02, False)]
    + [(0.02, 0.02, False), (0.1, 0.02, True)],
)
def test_the_notebook_ships_equal_weights_unless_others_win(gain, error, wins):
    cells = [cell.source for cell in code_of(SCRIPTS[4])]
    rule = {}
    exec(next(cell for cell in cells if "def shipped_row" in cell), rule)
    rows = [("logit", "equal weights"), ("rank", "equal weights")]
    rows += [("rank", "searched"), ("logit", "half way to equal")]
    columns = {"cross-fitted": [0.5, 0.5, 0.5 + gain, 0.6]}
    columns |= {"gain": [0, 0, gain, 0.1], "error": [0, 0, error, 0.2]}
    table = pd.DataFrame(columns, pd.MultiIndex.from_tuples(rows))
    default = rule["default_row"](table["cross-fitted"])
    assert default == rows[0]  # of equal ones the first, however high others
    assert rule["shipped_row"](table, default) == rows[2 if wins else 0]
