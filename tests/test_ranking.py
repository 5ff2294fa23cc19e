import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.ranking import Ranking, TopK
from tests.rankings import listed, pairs
from tests.refusals import refused


def segments(count):
    """Ids and starts of `count` different segments, in no useful order."""
    place = np.random.default_rng(count).permutation(count)
    ids = np.array([f"v{i % 7}" * (1 + i % 3) for i in place], "S")
    return ids, (place // 7 * 5).astype(np.int32)


def sorted_lists(scores, ids, starts, k):
    """The definition: everything sorted, the best k kept."""
    for column in scores.T:
        entries = zip(np.negative(column), pairs(ids, starts), strict=True)
        yield [pair for score, pair in sorted(entries) if score < np.inf][:k]


@st.composite
def streams(draw):
    count = draw(st.integers(1, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    # Few levels, hence many ties, both zeros, negatives and non-candidates.
    levels = np.float32([-np.inf, -1, -0.0, 0.0, 1e-9, 0.3, 1])
    scores = rng.choice(levels, (count, 3))
    sizes = draw(st.lists(st.integers(1, 40), min_size=1))
    return scores, *segments(count), sizes, draw(st.integers(1, 50))


class SmallTopK(TopK):
    """Small buffers, so that they are cut often."""

    _BLOCK = 8


@settings(deadline=None, max_examples=150)
@given(streams())
def test_a_stream_gives_what_a_full_sort_gives(stream):
    scores, ids, starts, sizes, k = stream
    top = SmallTopK([3, 1, 2], k)
    begin, batch = 0, 0
    while begin < len(scores):
        end = begin + sizes[batch % len(sizes)]
        top.add(scores[begin:end], ids[begin:end], starts[begin:end])
        begin, batch = end, batch + 1
    ranking = top.ranking()
    expected = sorted_lists(scores, ids, starts, k)
    for class_id, own in zip([3, 1, 2], expected, strict=True):
        assert listed(ranking, class_id) == own
        assert (np.diff(ranking.scores[ranking.span(class_id)]) <= 0).all()


@settings(deadline=None, max_examples=40)
@given(streams())
def test_parts_merge_to_the_ranking_of_one_run(stream):
    scores, ids, starts, _, k = stream
    whole = Ranking.from_scores(scores, [5, 6, 7], ids, starts, k)
    parts = (
        Ranking.from_scores(scores[i::3], [5, 6, 7], ids[i::3], starts[i::3], k)
        for i in range(3)
    )
    merged = Ranking.merge(parts, k)
    for class_id in (5, 6, 7):
        assert listed(merged, class_id) == listed(whole, class_id)


def test_a_collector_goes_on_from_a_ranking_and_is_empty_after():
    rng = np.random.default_rng(0)
    scores, (ids, starts) = rng.random((90, 2)), segments(90)
    whole = Ranking.from_scores(scores, [0, 1], ids, starts, 20)
    top = SmallTopK([0, 1], 20)
    top.add(scores[:50], ids[:50], starts[:50])
    half = top.ranking()
    assert len(top.ranking().order) == 0
    top.add_ranking(half)
    top.add(scores[50:], ids[50:], starts[50:])
    resumed = top.ranking()
    for class_id in (0, 1):
        assert listed(resumed, class_id) == listed(whole, class_id)


def test_a_worked_example():
    scores, ids = [[0.5, 0.1], [0.5, 0.9], [0.7, 0.9]], ["b", "a", "a"]
    ranking = Ranking.from_scores(scores, [9, 4], ids, [0, 5, 0])
    # Class 9: 0.7, then the tie at 0.5 by video id.
    assert listed(ranking, 9) == [(b"a", 0), (b"a", 5), (b"b", 0)]
    # Class 4: the tie at 0.9 by start.
    assert listed(ranking, 4) == [(b"a", 0), (b"a", 5), (b"b", 0)]
    assert listed(ranking, 8) == []
    assert ranking.locate(["a", "c", "a"], [5, 0, 7]).tolist() == [1, -1, -1]
    ranks = ranking.ranks([9, 4, 8, 9], ["b", "a", "a", "z"], [0, 0, 0, 0])
    assert ranks.tolist() == [3, 1, 0, -1]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 80), st.integers(0, 2**32), st.booleans())
def test_locate_and_ranks_agree_with_search(count, seed, longer):
    rng = np.random.default_rng(seed)
    ids, starts = segments(count)
    scores = rng.random((count, 2))
    ranking = Ranking.from_scores(scores, [0, 1], ids, starts, 9)
    asked, classes = rng.integers(0, count, 30), rng.integers(0, 2, 30)
    ask_ids = np.array([*ids[asked[:-1]], b"z" + b"9" * 9 * longer], "S")
    ask_starts = starts[asked] + rng.integers(0, 2, 30)
    table = pairs(ranking.video_ids, ranking.starts)
    rows = ranking.locate(ask_ids, ask_starts)
    ranks = ranking.ranks(classes, ask_ids, ask_starts)
    for i, pair in enumerate(pairs(ask_ids, ask_starts)):
        row = table.index(pair) if pair in table else -1
        own = listed(ranking, classes[i])
        assert rows[i] == row
        assert ranks[i] == (own.index(pair) + 1 if pair in own else min(row, 0))


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("with_scores", [False, True])
def test_saved_and_loaded_is_the_same(tmp_path, mmap, with_scores):
    folder = tmp_path / "made" / "ranking"
    ids, starts = segments(50)
    scores = np.where(np.eye(50)[:, :4] + [0, 0, 0, 1], 0.5, -np.inf)
    ranking = Ranking.from_scores(scores, [4, 1, 3, 2], ids, starts)
    if not with_scores:
        ranking.scores = None
    ranking.save(folder)
    loaded = Ranking.load(folder, mmap=mmap)
    assert (loaded.scores is not None) == with_scores
    for name in ("class_ids", "video_ids", "starts", "offsets", "order"):
        one, two = getattr(loaded, name), getattr(ranking, name)
        np.testing.assert_array_equal(one, two)
    assert isinstance(loaded.order.base, np.memmap) == mmap
    # Replaced, also by one without scores and while it is read.
    ranking.scores = None
    ranking.save(folder)
    assert Ranking.load(folder).scores is None
    assert listed(loaded, 2) == listed(ranking, 2)
    assert [path.name for path in folder.parent.iterdir()] == ["ranking"]


def test_an_empty_ranking_is_saved_and_loaded(tmp_path):
    TopK([3, 7]).ranking().save(tmp_path / "empty")
    ranking = Ranking.load(tmp_path / "empty")
    assert listed(ranking, 3) == []
    assert ranking.locate(["a"], [0]).tolist() == [-1]


@pytest.fixture
def one(tmp_path):
    """A saved ranking of one segment, "old"."""
    folder = tmp_path / "ranking"
    Ranking.from_scores([[0.5]], [1], ["old"], [0]).save(folder)
    return folder


NEW = Ranking.from_scores([[0.5]], [1], ["new"], [0])


@pytest.mark.parametrize("move", ["rename", "replace"])
def test_killed_while_replaced_leaves_the_old_ranking(one, monkeypatch, move):
    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, move, killed)
        with pytest.raises(KeyboardInterrupt):
            NEW.save(one)
    assert listed(Ranking.load(one), 1) == [(b"old", 0)]
    NEW.save(one)
    assert listed(Ranking.load(one), 1) == [(b"new", 0)]
    assert [path.name for path in one.parent.iterdir()] == ["ranking"]


def test_a_full_disk_leaves_the_old_ranking_and_its_room(one, monkeypatch):
    def full(path, array):
        if "order" in str(path):
            raise OSError("1 requested and 0 written")
        path.write_bytes(b"half")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="ranking.*is the disk full.*0 written"):
        NEW.save(one)
    assert [path.name for path in one.parent.iterdir()] == ["ranking"]
    assert listed(Ranking.load(one), 1) == [(b"old", 0)]


def test_a_damaged_ranking_is_named(one):
    path = one / "order.npy"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:60], b"", b"no array"):
        path.write_bytes(damaged)
        for mmap in (True, False):
            with pytest.raises(ValueError, match="write it again.*ranking"):
                Ranking.load(one, mmap=mmap)
    with pytest.raises(FileNotFoundError, match="absent"):
        Ranking.load(one / "absent")


def test_restricted_to_videos_keeps_the_order():
    ids, starts = segments(60)
    scores = np.random.default_rng(0).random((60, 2))
    ranking = Ranking.from_scores(scores, [0, 1], ids, starts)
    videos = np.unique(ids)[:2]
    part = ranking.restrict(videos)
    assert set(part.video_ids.tolist()) == set(videos.tolist())
    for class_id in (0, 1):
        kept = [p for p in listed(ranking, class_id) if p[0] in videos]
        assert listed(part, class_id) == kept


def test_memory_is_bounded_by_k_and_not_by_the_stream():
    top = TopK([0, 1], 100)
    rng = np.random.default_rng(0)
    for batch in range(40):
        ids = np.full(1000, f"{batch:03d}", "S3")
        top.add(rng.random((1000, 2)), ids, np.arange(1000))
    assert top._scores.shape[1] == 100 + top._room
    assert sum(len(scores) for scores, *_ in top._pending) < top._BLOCK
    assert np.diff(top.ranking().offsets).tolist() == [100, 100]


def test_bad_input_is_refused():
    ids, starts = segments(4)
    scores, top = np.zeros((4, 2)), TopK([0, 1])
    bare = Ranking([0, 1], ["a"], [0], [0, 1, 1], [0])
    for classes in ([], [1, 1], [0.5]):
        refused("`class_ids` must be", TopK, classes)
    for bad in (scores[:3], scores[:, :1], scores[0]):
        refused(r"must be \(segments, classes\)", top.add, bad, ids, starts)
    refused("1 NaN", top.add, [*scores[:3], [0, np.nan]], ids, starts)
    refused("sorted by", Ranking, [0], ["b", "a"], [0, 0], [0, 1], [0])
    refused("Merge needs", Ranking.merge, [])
    refused("needs scores", top.add_ranking, bare)
    for _ in range(2):
        top.add(scores, ids, starts)
    refused("added once", top.ranking)
