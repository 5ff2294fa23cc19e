import numpy as np
import pytest

from kit import metrics
from kit.metrics.uncertainty import bootstrap
from kit.ranking import Ranking


def sample(shift, seed=0):
    rng = np.random.default_rng(seed)
    ids = np.repeat([f"{i:03d}" for i in range(150)], 4)
    starts = np.tile([0, 5, 10, 15], 150)
    truth = rng.random((600, 2)) < 0.5
    scores = truth * shift + np.random.default_rng(7).normal(size=(600, 2))
    ratings = {
        "video_id": np.tile(ids, 2),
        "start": np.tile(starts, 2),
        "label": np.repeat([0, 1], 600),
        "score": truth.T.ravel().astype(int),
    }
    return Ranking.from_scores(scores, [0, 1], ids, starts), ratings


def test_bootstrap_knows_a_gain_from_none():
    good, ratings = sample(1.5)
    worse, _ = sample(0.3)
    alone = bootstrap(good, ratings, num_samples=300)
    assert alone.low < alone.estimate < alone.high
    assert alone.estimate == metrics.mean_average_precision(good, ratings)
    gain = bootstrap(good, ratings, worse, num_samples=300)
    assert gain.low > 0
    none = bootstrap(good, ratings, good, num_samples=50)
    assert none == (0, 0, 0)
    assert gain == bootstrap(good, ratings, worse, num_samples=300)


def test_bootstrap_is_as_wide_as_new_samples_scatter():
    # Its half width must be near 1.96 standard deviations over fresh worlds.
    maps = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        ids = [f"{i:03d}" for i in range(300)]
        truth = rng.random(300) < 0.5
        scores = truth + rng.normal(size=300)
        ratings = {
            "video_id": ids,
            "start": np.zeros(300, int),
            "label": np.zeros(300, int),
            "score": truth.astype(int),
        }
        ranking = Ranking.from_scores(scores[:, None], [0], ids, np.zeros(300))
        maps.append(metrics.mean_average_precision(ranking, ratings))
    interval = bootstrap(ranking, ratings, num_samples=400)
    half = (interval.high - interval.low) / 2
    assert 0.6 < half / (1.96 * np.std(maps)) < 1.6


def test_copies_of_a_segment_make_it_no_surer():
    # Videos are drawn: eight alike in each tell no more than one of them.
    rng = np.random.default_rng(0)
    truth = rng.random(100) < 0.5
    scores = truth + rng.normal(size=100)
    widths = []
    for copies in (1, 8):
        ids = np.repeat([f"{i:03d}" for i in range(100)], copies)
        starts = np.tile(5 * np.arange(copies), 100)
        ratings = {
            "video_id": ids,
            "start": starts,
            "label": np.zeros(len(ids), int),
            "score": np.repeat(truth, copies).astype(int),
        }
        ranking = Ranking.from_scores(
            np.repeat(scores, copies)[:, None], [0], ids, starts
        )
        interval = bootstrap(ranking, ratings, num_samples=400)
        widths.append(interval.high - interval.low)
    assert 0.8 < widths[1] / widths[0] < 1.25


@pytest.mark.parametrize(
    "option", [{"num_samples": 0}, {"level": 95}, {"level": -0.5}]
)
def test_options_out_of_range_are_refused(option):
    name, value = next(iter(option.items()))
    with pytest.raises(ValueError, match=f"{name}={value}"):
        bootstrap(*sample(1.0), **option)


def test_without_positives_it_is_refused():
    ranking, ratings = sample(1.0)
    ratings["score"][:] = 0
    with pytest.raises(ValueError, match="needs positive ratings"):
        bootstrap(ranking, ratings)


def test_a_sample_always_holds_a_positive():
    # One positive among thirty videos: most draws of videos miss it.
    ids = [f"{i:02d}" for i in range(30)]
    ratings = {
        "video_id": ids,
        "start": np.zeros(30, int),
        "label": np.zeros(30, int),
        "score": np.arange(30) == 3,
    }
    scores = np.linspace(1, 0, 30)[:, None]
    ranking = Ranking.from_scores(scores, [0], ids, np.zeros(30))
    interval = bootstrap(ranking, ratings, num_samples=50)
    assert 0 < interval.low <= interval.high <= 1
