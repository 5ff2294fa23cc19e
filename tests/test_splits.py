import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.splits import EVERY_VIDEO, Holdout, Part

PARTS = ("training", "holdout", "checkpoint", "ensemble")
ids = st.lists(st.binary(min_size=1, max_size=6), max_size=50)
holdouts = st.builds(Holdout, st.floats(0, 1), st.integers(0, 2**63 - 1))
fewer = settings(max_examples=40, deadline=None)


@fewer
@given(holdouts, ids)
def test_parts_are_a_partition(holdout, video_ids):
    part = {name: getattr(holdout, name).select(video_ids) for name in PARTS}
    np.testing.assert_array_equal(part["training"], ~part["holdout"])
    assert not (part["checkpoint"] & part["ensemble"]).any()
    halves = part["checkpoint"] | part["ensemble"]
    np.testing.assert_array_equal(halves, part["holdout"])
    assert EVERY_VIDEO.select(video_ids).all()


@fewer
@given(holdouts, ids, st.randoms(use_true_random=False))
def test_where_an_id_falls_depends_on_it_alone(holdout, video_ids, random):
    part = holdout.checkpoint
    alone = {name: part.select([name])[0] for name in video_ids}
    random.shuffle(video_ids)
    together = part.select(video_ids)
    assert together.tolist() == [alone[name] for name in video_ids]


@fewer
@given(holdouts, st.lists(st.text("abcXYZ019é", min_size=1), min_size=1))
def test_every_kind_of_ids_is_cut_alike(holdout, names):
    """Text, bytes, arrays of each, and a tensor in a graph."""
    encoded = [name.encode() for name in names]
    expected = holdout.holdout.select(encoded)
    objects = np.array(names, object)
    for kind in (names, np.array(names), np.array(encoded), objects):
        np.testing.assert_array_equal(holdout.holdout.select(kind), expected)
    select = tf.function(holdout.holdout.select)
    assert select(tf.constant(encoded)).numpy().tolist() == expected.tolist()


@pytest.mark.parametrize("fraction", [0, 0.078, 0.5, 1])
def test_the_share_is_the_fraction(fraction):
    video_ids = [f"{number:04x}" for number in range(20_000)]
    holdout = Holdout(fraction, seed=3)
    share = holdout.holdout.select(video_ids).mean()
    half = holdout.checkpoint.select(video_ids).mean()
    # Four standard deviations of a binomial.
    assert abs(share - fraction) <= 4 * np.sqrt(fraction / 20_000)
    assert abs(half - fraction / 2) <= 4 * np.sqrt(fraction / 20_000)


def test_another_seed_is_another_cut():
    video_ids = [str(number) for number in range(1000)]
    cuts = [Holdout(0.5, seed).holdout.select(video_ids) for seed in (0, 1)]
    assert 0.4 < (cuts[0] == cuts[1]).mean() < 0.6


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        *((Holdout, [f], "between 0 and 1") for f in (-0.1, 1.1, np.nan)),
        *((Holdout, [0, s], "whole number") for s in (-1, 2**63, 0.5, None)),
        (Part, [0, 0.5, 0.4], "between 0 and 1"),
        (Part, [0, -0.1, 1], "between 0 and 1"),
        (Part, [0, 0, 1.5], "between 0 and 1"),
    ],
)
def test_what_makes_no_part_is_refused(kind, arguments, message):
    received = "Received: start=" if kind is Part else "Received"
    with pytest.raises(ValueError, match=f"{message}.*{received}"):
        kind(*arguments)
