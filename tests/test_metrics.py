import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import metrics
from kit.ranking import Ranking


def literal_precision(entries, truths, k):
    """Eq. 1 word by word: cut, drop the unrated, precision at each positive."""
    positives = sum(truths.values())
    if not positives:
        return float("nan")
    rated = [truths[e] for e in entries[:k] if e in truths]
    total = 0.0
    for place in range(1, len(rated) + 1):
        if rated[place - 1]:
            total += sum(rated[:place]) / place
    return total / min(positives, k)


@st.composite
def cases(draw):
    """A ranking of few levels and ratings, some of segments it lacks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, 40))
    ids = [f"v{i % 7}" for i in range(count)]
    starts = np.arange(count) // 7 * 5
    ranking = Ranking.from_scores(
        rng.integers(0, 5, (count, 3)) / 5,
        [8, 2, 5],
        ids,
        starts,
        draw(st.integers(1, 40)),
    )
    num_ratings = draw(st.integers(1, 60))
    ratings = pd.DataFrame(
        {
            "video_id": [f"v{i}" for i in rng.integers(0, 9, num_ratings)],
            "start": rng.integers(0, 6, num_ratings) * 5,
            "label": rng.choice([8, 2, 5, 9], num_ratings),
            "score": rng.integers(0, 2, num_ratings),
        }
    ).drop_duplicates(["video_id", "start", "label"])
    return ranking, ratings, draw(st.integers(1, 45))


def literal_precisions(ranking, ratings, class_ids, k):
    values = []
    for class_id in class_ids:
        own = ratings[ratings["label"] == class_id]
        truths = {
            (video.encode(), start): score
            for video, start, score in zip(
                own["video_id"], own["start"], own["score"], strict=True
            )
        }
        rows = ranking.indices(class_id)
        entries = zip(
            ranking.video_ids[rows].tolist(),
            ranking.starts[rows].tolist(),
            strict=True,
        )
        values.append(literal_precision(list(entries), truths, k))
    return np.array(values)


@settings(deadline=None, max_examples=150)
@given(cases())
def test_map_is_its_definition(case):
    ranking, ratings, k = case
    classes = [9, 8, 2, 5]
    expected = literal_precisions(ranking, ratings, classes, k)
    if np.isnan(expected).all():
        with pytest.raises(ValueError, match="No class has a positive"):
            metrics.mean_average_precision(ranking, ratings, classes, k)
        return
    own = metrics.mean_average_precision(ranking, ratings, classes, k)
    assert own == pytest.approx(np.nanmean(expected), abs=1e-12)
    zero = metrics.mean_average_precision(
        ranking, ratings, classes, k, no_positives="zero"
    )
    assert zero == pytest.approx(np.nan_to_num(expected).mean(), abs=1e-12)
    table = metrics.per_class_table(ranking, ratings, classes, k)
    np.testing.assert_allclose(table["average_precision"], expected)
    counts = ratings["label"].value_counts()
    assert table["ratings"].tolist() == [counts.get(c, 0) for c in classes]


def test_average_precision_by_hand():
    # Cut at 5, unrated dropped: no, yes, yes. (1/2 + 2/3) / 3.
    value = metrics.average_precision([0, -1, 1, 1, -1, 1], 3, k=5)
    assert value == pytest.approx((1 / 2 + 2 / 3) / 3)
    # K below the number of positives is the denominator.
    assert metrics.average_precision([1, 1, 1], 3, k=2) == 1.0
    assert np.isnan(metrics.average_precision([0, 0]))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_scores_and_rankings_agree(seed, k):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (25, 3)) / 6
    targets = rng.integers(-1, 2, (25, 3))
    targets[0] = 1
    ids = [f"{i:02d}" for i in range(25)]  # rows in the order of ids
    row, column = np.nonzero(targets >= 0)
    ratings = {
        "video_id": np.array(ids)[row],
        "start": np.zeros(len(row), int),
        "label": column,
        "score": targets[row, column],
    }
    ranking = Ranking.from_scores(scores, [0, 1, 2], ids, np.zeros(25))
    assert metrics.mean_average_precision(
        ranking, ratings, k=k
    ) == pytest.approx(
        metrics.mean_average_precision_of_scores(scores, targets, k), abs=1e-12
    )


def test_chance_is_the_mean_over_all_orders():
    # Three candidates, one positive, all rated: (1 + 1/2 + 1/3) / 3.
    ratings = {
        "video_id": ["a", "b", "c"],
        "start": [0, 0, 0],
        "label": [4, 4, 4],
        "score": [1, 0, 0],
    }
    ranking = Ranking.from_scores(
        np.eye(3)[:, :1], [4], ["a", "b", "c"], [0] * 3
    )
    floor = metrics.random_floor(ranking, ratings, num_permutations=20_000)
    assert floor == pytest.approx(11 / 18, abs=0.01)
    # Cut at one of three, the positive is met by one order in three.
    floor = metrics.random_floor(ranking, ratings, k=1, num_permutations=20_000)
    assert floor == pytest.approx(1 / 3, abs=0.015)


def test_chance_equals_permuting_full_lists():
    rng = np.random.default_rng(0)
    count, k = 60, 20
    ids = [f"{i:02d}" for i in range(count)]
    rated = rng.permutation(count)[:25]
    ratings = {
        "video_id": np.array(ids)[rated],
        "start": np.zeros(25, int),
        "label": np.ones(25, int),
        "score": rng.integers(0, 2, 25),
    }
    scores = rng.random((2000, count))
    literal = [
        metrics.mean_average_precision(
            Ranking.from_scores(s[:, None], [1], ids, np.zeros(count), k),
            ratings,
            k=k,
        )
        for s in scores[:400]
    ]
    ranking = Ranking.from_scores(scores[:1].T, [1], ids, np.zeros(count), k)
    floor = metrics.random_floor(ranking, ratings, k=k, num_permutations=4000)
    error = np.std(literal) / np.sqrt(len(literal))
    assert abs(floor - np.mean(literal)) < 5 * error


def test_gap_by_hand():
    # Best two of each row: .9 yes, .8 no | .7 yes, .6 no. The third positive
    # is beyond the best two. Precisions 1 and 2/3 over three positives.
    scores = np.array([[0.9, 0.8, 0.1], [0.7, 0.6, 0.5]])
    targets = np.array([[1, 0, 0], [1, 0, 1]])
    assert metrics.gap(scores, targets, k=2) == pytest.approx((1 + 2 / 3) / 3)


@pytest.mark.parametrize(
    "metric", [metrics.gap, metrics.mean_average_precision_of_scores]
)
def test_bad_targets_and_scores_are_refused(metric):
    scores = np.array([[0.9, 0.8], [0.7, 0.6]])
    targets = np.array([[1, 0], [0, 1]])
    metric(scores, targets)
    for bad in (2, 0.5, np.nan, -2):
        with pytest.raises(ValueError, match=f"Received: {bad}"):
            metric(scores, np.where(targets, bad, 0))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=f"finite.*Received: {bad}"):
            metric(np.where(targets, bad, scores), targets)
    for k in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"Received: k={k}"):
            metric(scores, targets, k=k)


def test_a_list_that_cannot_be_scored_is_refused():
    for relevance in ([2, 1], [0.5], [np.nan]):
        with pytest.raises(ValueError, match="An answer must be"):
            metrics.average_precision(relevance)
    with pytest.raises(ValueError, match="k=-1"):
        metrics.average_precision([1, 0], k=-1)
    for few in (2, -1):
        with pytest.raises(ValueError, match=f"num_positives={few}, 3 in"):
            metrics.average_precision([1, 1, 1], num_positives=few)


def test_a_segment_twice_is_refused_also_where_it_is_not_rated():
    # Were it not, b b a would be cut before a.
    ratings = {"video_id": ["a"], "start": [0], "label": [1], "score": [1]}
    ranking = Ranking([1], ["a", "b"], [0, 0], [0, 3], [1, 1, 0])
    with pytest.raises(ValueError, match="once.*class 1"):
        metrics.mean_average_precision(ranking, ratings, k=2)


def test_bad_ratings_are_refused():
    ranking = Ranking.from_scores([[0.5]], [1], ["a"], [0])
    good = {"video_id": ["a"], "start": [0], "label": [1], "score": [1]}

    def score(**changes):
        arguments = {
            "k": changes.pop("k", 5),
            "class_ids": changes.pop("c", None),
        }
        return metrics.mean_average_precision(
            ranking, {**good, **changes}, **arguments
        )

    assert score() == 1.0
    doubled = {name: value * 2 for name, value in good.items()}
    assert score(**doubled) == 1.0  # a rating repeated counts once
    with pytest.raises(ValueError, match="both positive and negative"):
        score(**{**doubled, "score": [1, 0]})
    with pytest.raises(ValueError, match="0 or 1"):
        score(score=[2])
    with pytest.raises(ValueError, match="No class has a positive"):
        score(score=[0])
    with pytest.raises(ValueError, match="at least one class"):
        score(c=[])
    with pytest.raises(ValueError, match="each once"):
        score(c=[1, 1])
    with pytest.raises(ValueError, match="at least 1"):
        score(k=0)
    with pytest.raises(ValueError, match="no_positives"):
        metrics.mean_average_precision(ranking, good, no_positives="drop")
    for name in good:
        with pytest.raises(ValueError, match=f"without \\['{name}'\\]"):
            metrics.mean_average_precision(
                ranking, {n: v for n, v in good.items() if n != name}
            )
    with pytest.raises(ValueError, match="of one length"):
        score(label=[1, 1])
    for name in ("start", "label"):
        for value in (0.9, np.nan, np.inf):
            with pytest.raises(ValueError, match=f"{name}={value} in rating 0"):
                score(**{name: [value]})
    with pytest.raises(ValueError, match="score=nan"):
        score(score=[np.nan])
    with pytest.raises(ValueError, match="num_permutations=0"):
        metrics.random_floor(ranking, good, num_permutations=0)
    with pytest.raises(ValueError, match="must both be"):
        metrics.gap(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="must both be"):
        metrics.mean_average_precision_of_scores(np.zeros(3), np.zeros(3))
    # A class that nobody ranked counts 0.
    assert (
        score(video_id=["a", "a"], start=[0, 0], label=[1, 2], score=[1, 1])
        == 0.5
    )
