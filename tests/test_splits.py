import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.splits import PARTS, Holdout

ids = st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=50)
cuts = st.builds(
    Holdout, fraction=st.floats(0, 1), seed=st.integers(0, 2**64 - 1)
)


@given(cuts, ids)
def test_parts_are_a_partition(holdout, video_ids):
    part = {name: holdout.select(video_ids, name) for name in PARTS}
    assert part["all"].all()
    np.testing.assert_array_equal(part["training"], ~part["holdout"])
    assert not (part["checkpoint"] & part["ensemble"]).any()
    np.testing.assert_array_equal(
        part["checkpoint"] | part["ensemble"], part["holdout"]
    )


@given(cuts, ids, st.randoms(use_true_random=False), st.sampled_from(PARTS))
def test_an_id_falls_where_it_falls_whatever_is_beside_it(
    holdout, video_ids, random, part
):
    alone = {one: holdout.select([one], part)[0] for one in video_ids}
    random.shuffle(video_ids)
    together = holdout.select(video_ids, part)
    assert together.tolist() == [alone[one] for one in video_ids]


@given(cuts, st.lists(st.text("abcXYZ019é", min_size=1), min_size=1))
def test_text_and_bytes_are_the_same_id(holdout, names):
    encoded = [name.encode() for name in names]
    for form in (names, np.array(names), np.array(encoded), encoded):
        np.testing.assert_array_equal(
            holdout.select(form, "holdout"), holdout.select(encoded, "holdout")
        )


@pytest.mark.parametrize("fraction", [0, 0.078, 0.5, 1])
def test_the_share_is_the_fraction(fraction):
    video_ids = [f"{number:04x}" for number in range(20_000)]
    holdout = Holdout(fraction, seed=3)
    share = holdout.select(video_ids, "holdout").mean()
    half = holdout.select(video_ids, "checkpoint").mean()
    # Four standard deviations of a binomial.
    assert abs(share - fraction) <= 4 * np.sqrt(fraction / 20_000)
    assert abs(half - fraction / 2) <= 4 * np.sqrt(fraction / 20_000)


def test_another_seed_is_another_cut():
    video_ids = [str(number) for number in range(1000)]
    cuts = [Holdout(0.5, seed).select(video_ids, "holdout") for seed in (0, 1)]
    assert 0.4 < (cuts[0] == cuts[1]).mean() < 0.6


@pytest.mark.parametrize(
    "arguments",
    [{"fraction": -0.1}, {"fraction": 1.1}, {"fraction": float("nan")}],
)
def test_a_bad_fraction_is_refused(arguments):
    with pytest.raises(ValueError, match=r"between 0 and 1.*Received"):
        Holdout(**arguments)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, None])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(ValueError, match=r"whole number.*Received"):
        Holdout(seed=seed)


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match=r"'holdout'.*Received: part='dev'"):
        Holdout().select(["a"], "dev")
