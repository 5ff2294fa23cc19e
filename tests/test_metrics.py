import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import metrics
from kit.ranking import Ranking
from tests.rankings import listed, rated, truths_of
from tests.refusals import refused


def literal_precision(entries, truths, k):
    """Eq. 1 word by word: cut, drop the unrated, precision at each positive."""
    positives = sum(truths.values())
    if not positives:
        return float("nan")
    known = [truths[e] for e in entries[:k] if e in truths]
    total = 0.0
    for place in range(1, len(known) + 1):
        if known[place - 1]:
            total += sum(known[:place]) / place
    return total / positives


@st.composite
def cases(draw):
    """A ranking of few levels and ratings, some of segments it lacks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, 40))
    ranking = Ranking.from_scores(
        rng.integers(0, 5, (count, 3)) / 5,
        [8, 2, 5],
        [f"v{i % 7}" for i in range(count)],
        np.arange(count) // 7 * 5,
        draw(st.integers(1, 40)),
    )
    num_ratings = draw(st.integers(0, 60))
    # The first is positive and of a segment that the ranking knows.
    ratings = rated(
        [f"v{i}" for i in [0, *rng.integers(0, 9, num_ratings)]],
        np.append(1, rng.integers(0, 2, num_ratings)),
        np.append(0, rng.integers(0, 6, num_ratings) * 5),
        np.append(8, rng.choice([8, 2, 5, 9], num_ratings)),
    ).drop_duplicates(["video_id", "start", "label"])
    return ranking, ratings, draw(st.integers(1, 45))


@settings(deadline=None, max_examples=60)
@given(cases())
def test_map_is_its_definition(case):
    # K is often smaller than the number of positives.
    ranking, ratings, k = case
    expected = [
        literal_precision(listed(ranking, c), truths_of(ratings, c), k)
        for c in (9, 8, 2, 5)
    ]
    for table in (ratings, {n: ratings[n].to_numpy() for n in ratings}):
        own = metrics.mean_average_precision(ranking, table, [9, 8, 2, 5], k)
        assert own == pytest.approx(np.nanmean(expected), abs=1e-12)


def test_average_precision_by_hand():
    # The list is a, b, c, d, e, f.  Cut at 5 and without the unrated a, e: no,
    # yes, yes.  (1/2 + 2/3) / 3, since f is the third positive.
    ids = list("abcdef")
    scores = np.linspace(1, 0, 6)[:, None]
    ranking = Ranking.from_scores(scores, [4], ids, [0] * 6)
    ratings = rated(list("bcdf"), [0, 1, 1, 1], label=4)
    value = metrics.mean_average_precision(ranking, ratings, k=5)
    assert value == pytest.approx((1 / 2 + 2 / 3) / 3)
    # All positives count, also those that no list of K can hold.
    ratings["score"] = 1
    value = metrics.mean_average_precision(ranking, ratings, k=3)
    assert value == pytest.approx(2 / 4)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32))
def test_scores_and_rankings_agree(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (25, 3)) / 6
    targets = rng.integers(-2, 2, (25, 3))
    targets[0, 0] = 1
    ids = np.array([f"{i:02d}" for i in range(25)])  # rows in order of ids
    row, column = np.nonzero(targets >= 0)
    ratings = rated(ids[row], targets[row, column], label=column)
    ranking = Ranking.from_scores(scores, [0, 1, 2], ids, np.zeros(25))
    assert metrics.mean_average_precision(ranking, ratings) == pytest.approx(
        metrics.map_of_scores(scores, targets), abs=1e-12
    )
    # The same rows are rated: chance is the same, too.
    assert metrics.random_floor(ranking, ratings) == pytest.approx(
        metrics.floor_of_targets(targets), abs=1e-12
    )


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_chance_is_the_mean_over_all_orders(data):
    count = data.draw(st.integers(1, 5))
    left_out = data.draw(st.integers(0, count - 1))  # -inf: no candidates
    k = data.draw(st.integers(1, 6))
    answers = data.draw(st.lists(st.sampled_from([0, 1, None]), min_size=7))
    ids = [f"{i}" for i in range(count)]
    truths = {
        (f"{i}".encode(), 0): answer
        for i, answer in enumerate(answers[:7])  # some the table lacks
        if answer is not None
    }
    videos = [video for video, _ in truths]
    ratings = rated(videos, list(truths.values()), label=4)
    scores = np.where(np.arange(count) < left_out, -np.inf, 0.5)
    ranking = Ranking.from_scores(scores[:, None], [4], ids, [0] * count, k)
    known = any(video.decode() in ids for video, _ in truths)
    if not any(truths.values()) or not known:
        with pytest.raises(ValueError):
            metrics.random_floor(ranking, ratings, k=k)
        return
    cut = count - left_out >= k
    candidates = [(i.encode(), 0) for i in (ids if cut else ids[left_out:])]
    orders = itertools.permutations(candidates)
    expected = [literal_precision(order, truths, k) for order in orders]
    own = metrics.random_floor(ranking, ratings, k=k)
    assert own == pytest.approx(np.mean(expected), abs=1e-12)


def test_chance_of_a_cut_list_of_full_size():
    # 2,062,258 segments cut at 100,000: of 200 rated, 10 are met on average.
    count, k = 2_062_258, 100_000
    ids = np.full(count, b"a")
    ranking = Ranking([1], ids, np.arange(count), [0, k], np.arange(k))
    rng = np.random.default_rng(0)
    segments = rng.choice(count, 200, replace=False)
    truth = np.arange(200) < 110
    ratings = rated("a", truth, segments, label=1)
    values = []
    for _ in range(4000):
        met = rng.random(200) < k / count
        hits = rng.permutation(truth[met])
        place = np.arange(1, len(hits) + 1)
        values.append((np.cumsum(hits) / place * hits).sum() / 110)
    error = np.std(values) / np.sqrt(len(values))
    chance = metrics.random_floor(ranking, ratings)
    assert abs(chance - np.mean(values)) < 4 * error


def test_scores_and_targets_that_do_not_match_are_refused():
    scores, targets = np.array([[0.9, 0.8]]), np.array([[1, 0]])
    assert metrics.map_of_scores(scores, targets) == 1
    precision, floor = metrics.map_of_scores, metrics.floor_of_targets
    refused("with 1 NaN", precision, scores * [1, np.nan], targets)
    refused(r"targets.shape=\(1, 1\)", precision, scores, targets[:, :1])
    refused("needs a positive", precision, scores, targets - 1)
    refused("needs a positive", floor, targets - 1)


def test_bad_ratings_are_refused():
    ranking = Ranking.from_scores([[0.5]], [1], ["a"], [0])
    good = {"video_id": ["a"], "start": [0], "label": [1], "score": [1]}

    def score(k=5, class_ids=None, **changes):
        ratings = {**good, **changes}
        return metrics.mean_average_precision(ranking, ratings, class_ids, k)

    assert score() == 1.0
    doubled = {name: value * 2 for name, value in good.items()}
    assert score(**doubled) == 1.0  # a rating repeated counts once
    # A class that nobody ranked counts 0.
    assert score(**{**doubled, "label": [1, 2]}) == 0.5
    both = {**doubled, "score": [1, 0]}
    refused("both positive and negative", score, **both)
    for bad in (2, -1, 0.5, np.nan):
        refused("must be 1 .* or 0", score, score=[bad])
    empty = dict.fromkeys(good, ())
    for nothing in ({"score": [0]}, {"class_ids": [7]}, empty):
        refused("needs a positive rating", score, **nothing)
    for classes in ([], [1, 1]):
        refused("each a whole number and there", score, class_ids=classes)


def test_ratings_of_other_segments_are_refused():
    ranking = Ranking.from_scores([[0.5]], [1], ["a"], [0])
    for ratings in (rated(["b"], 1, label=1), rated(["a"], 1, 5, label=1)):
        for name in ("mean_average_precision", "random_floor", "bootstrap"):
            metric = getattr(metrics, name)
            refused("none of them is.*another split", metric, ranking, ratings)


def world(shift, seed=0):
    rng = np.random.default_rng(seed)
    ids = np.repeat([f"{i:03d}" for i in range(150)], 4)
    starts = np.tile([0, 5, 10, 15], 150)
    truth = rng.random((600, 2)) < 0.5
    scores = truth * shift + np.random.default_rng(7).normal(size=(600, 2))
    answers, classes = truth.T.ravel().astype(int), np.repeat([0, 1], 600)
    ratings = rated(np.tile(ids, 2), answers, np.tile(starts, 2), classes)
    return Ranking.from_scores(scores, [0, 1], ids, starts), ratings


def test_bootstrap_knows_a_gain_from_none():
    good, ratings = world(1.5)
    worse, _ = world(0.3)
    alone = metrics.bootstrap(good, ratings, num_samples=300)
    assert alone.low < alone.estimate < alone.high
    assert alone.estimate == metrics.mean_average_precision(good, ratings)
    gain = metrics.bootstrap(good, ratings, worse, num_samples=300)
    assert gain.low > 0
    none = metrics.bootstrap(good, ratings, good, num_samples=50)
    assert none == (0, 0, 0)
    assert gain == metrics.bootstrap(good, ratings, worse, num_samples=300)


def test_a_sample_is_the_map_of_the_videos_drawn():
    # Each video drawn m times is m videos that are alike, one after the other.
    ranking, ratings = world(0.5)
    rng = np.random.default_rng(3)
    drawn = np.bincount(rng.integers(0, 150, 150), minlength=150)
    copied = []
    for class_id in (0, 1):
        truths = truths_of(ratings, class_id)
        own = listed(ranking, class_id)
        entries = [(*s, copy) for s in own for copy in range(drawn[int(s[0])])]
        answers = {entry: truths[entry[:2]] for entry in entries}
        copied.append(literal_precision(entries, answers, len(entries)))
    own = metrics.bootstrap(ranking, ratings, num_samples=1, seed=3)
    assert own.low == own.high == pytest.approx(np.mean(copied))


def test_bootstrap_is_as_wide_as_new_samples_scatter():
    # Its half width must be near 1.96 standard deviations over fresh worlds.
    maps = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        ids = [f"{i:03d}" for i in range(300)]
        truth = rng.random(300) < 0.5
        scores = (truth + rng.normal(size=300))[:, None]
        ranking = Ranking.from_scores(scores, [0], ids, np.zeros(300))
        ratings = rated(ids, truth.astype(int))
        maps.append(metrics.mean_average_precision(ranking, ratings))
    interval = metrics.bootstrap(ranking, ratings, num_samples=400)
    half = (interval.high - interval.low) / 2
    assert 0.6 < half / (1.96 * np.std(maps)) < 1.6


def test_a_sample_always_holds_a_positive():
    # One positive among thirty videos: most draws of videos miss it.
    ids = [f"{i:02d}" for i in range(30)]
    scores = np.linspace(1, 0, 30)[:, None]
    ranking = Ranking.from_scores(scores, [0], ids, np.zeros(30))
    ratings = rated(ids, np.arange(30) == 3)
    interval = metrics.bootstrap(ranking, ratings, num_samples=50)
    assert 0 < interval.low <= interval.high <= 1
