import gzip
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import submission
from kit.ensemble import fuse_files
from kit.ranking import Ranking
from kit.submission.segments import Segments, format_segments, parse_segments
from tests.test_ranking import listed

IDENTIFIER = st.text(
    st.characters(
        codec="utf-8", exclude_characters=' :,"', exclude_categories=["Cc"]
    ),
    min_size=1,
    max_size=12,
)
PAIRS = st.lists(
    st.tuples(IDENTIFIER, st.integers(0, 999_999)), unique=True, max_size=30
)


def text_of(pairs):
    return " ".join(f"{video}:{start}" for video, start in pairs).encode()


def ranking_of(lists):
    """A ranking with these lists of (video, start), one a class."""
    table = sorted(
        {(v.encode(), s) for pairs in lists.values() for v, s in pairs}
    )
    order = [
        table.index((v.encode(), s))
        for pairs in lists.values()
        for v, s in pairs
    ]
    offsets = np.cumsum([0, *map(len, lists.values())])
    ids = np.array([video for video, _ in table], "S") if table else []
    return Ranking(list(lists), ids, [s for _, s in table], offsets, order)


@settings(deadline=None, max_examples=150)
@given(PAIRS)
def test_parsing_and_formatting_are_the_plain_text_operations(pairs):
    text = text_of(pairs)
    keys, starts = parse_segments(text)
    assert starts.tolist() == [start for _, start in pairs]
    table = Segments()
    ids, again = table.segments(table.codes(*table.numbers(keys, starts)))
    assert ids.tolist() == [video.encode() for video, _ in pairs]
    assert format_segments(ids, again) == text


@settings(deadline=None, max_examples=60)
@given(st.lists(PAIRS, min_size=1, max_size=5))
def test_codes_rise_with_video_and_start(lists):
    table = Segments()
    numbers = [table.numbers(*parse_segments(text_of(p))) for p in lists]
    found = {}
    for pairs, own in zip(lists, numbers, strict=True):
        for (video, start), code in zip(
            pairs, table.codes(*own).tolist(), strict=True
        ):
            assert found.setdefault((video.encode(), start), code) == code
    in_order = [found[pair] for pair in sorted(found)]
    assert in_order == sorted(set(in_order))


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(st.integers(0, 4000), PAIRS, min_size=1, max_size=4),
    st.booleans(),
)
def test_read_back_is_what_was_written(tmp_path_factory, lists, packed):
    folder = tmp_path_factory.mktemp("csv")
    path = folder / ("a.csv.gz" if packed else "a.csv")
    ranking = ranking_of(lists)
    submission.write_csv(ranking, path)
    opened = gzip.open(path) if packed else open(path, "rb")
    with opened as file:
        expected = [b"Class,Segments"] + [
            f"{c},".encode() + text_of(lists[c]) for c in sorted(lists)
        ]
        assert file.read() == b"\n".join(expected) + b"\n"
    read = submission.read_csv(path)
    for class_id in lists:
        assert listed(read, class_id) == listed(ranking, class_id)
    first = path.read_bytes()
    submission.write_csv(ranking, path)
    assert path.read_bytes() == first
    assert [p.name for p in folder.iterdir()] == [path.name]


GOOD = b"Class,Segments\n3,ab:0 ab:5\n7,cd:10 ab:0\n"
ACCEPTED = {
    "CRLF": GOOD.replace(b"\n", b"\r\n"),
    "no final newline": GOOD[:-1],
    "quotes": b'"Class","Segments"\n3,"ab:0 ab:5"\n"7","cd:10 ab:0"\n',
}
REFUSED = {
    "a header in one field": (b'"Class,Segments"\n3,ab:0\n', "line 1: the"),
    "a header with quotes inside": (b'Class","Segments\n3,ab:0\n', "line 1"),
    "a header with many quotes": (b'""Class"""",Segments"\n3,a:0\n', "line 1"),
    "a tab": (GOOD + b"9,ab:0 a\tb:5\n", "line 4: pair 2"),
    "a carriage return": (GOOD + b"9,ab\r:0 cd:5\n", "line 4: pair 1"),
    "a vertical tab": (GOOD + b"9,ab:0 \x0bcd:5\n", "line 4: pair 2"),
    "no header": (GOOD[15:], "line 1: the header must be"),
    "another header": (b"Class;Segments\n3,ab:0\n", "line 1: the header"),
    "nothing": (b"", ""),
    "header alone": (b"Class,Segments\n", ""),
    "letters for a class": (GOOD + b"x,ab:0\n", "line 4: the class is b'x'"),
    "one field": (GOOD + b"9\n", "line 4: the row has 1 fields"),
    "three fields": (GOOD + b"9,ab:0,ab:5\n", "line 4: the row has 3"),
    "a blank line": (GOOD + b"\n", "line 4"),
    "no colon": (GOOD + b"9,ab:0 ab5\n", "line 4: pair 2 is b'ab5'"),
    "two colons": (GOOD + b"9,a:b:0\n", "line 4: pair 1 is b'a:b:0'"),
    "colons that even out": (GOOD + b"9,a:b:0 c\n", "line 4: pair 1"),
    "no id": (GOOD + b"9,:5\n", "line 4: pair 1"),
    "no start": (GOOD + b"9,ab:\n", "line 4: pair 1"),
    "a fraction": (GOOD + b"9,ab:0 ab:5.0\n", "line 4: pair 2"),
    "a sign": (GOOD + b"9,ab:-5\n", "line 4: pair 1"),
    "seven digits": (GOOD + b"9,ab:1234567\n", "line 4: pair 1"),
    "two spaces": (GOOD + b"9,ab:0  ab:5\n", "line 4: pair 2 is b''"),
    "an open quote": (GOOD + b'9,"ab:0\n', "line 4: a quote"),
    "a class twice": (GOOD + b"3,ab:0\n", "line 4: class 3 has a row"),
    "a NUL": (GOOD + b"9,a\0b:0\n", "line 4"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_kaggle_accepts_is_accepted(tmp_path, name):
    path = tmp_path / "a.csv"
    path.write_bytes(ACCEPTED[name])
    read = submission.read_csv(path)
    assert listed(read, 3) == [(b"ab", 0), (b"ab", 5)]
    assert listed(read, 7) == [(b"cd", 10), (b"ab", 0)]
    assert submission.validate(path, [3, 7]) == {"classes": 2, "segments": 4}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_submission_is_named_by_line(tmp_path, name):
    content, message = REFUSED[name]
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    for read in (submission.read_csv, submission.validate):
        with pytest.raises(ValueError) as error:
            read(path)
        assert message in str(error.value) and "a.csv" in str(error.value)


def test_validate_lists_every_problem(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(
        GOOD + b"5,ab:5 ab:0 ab:5\n8,\n9,ab:0 zz:0\n4,ab:7\n6,cd:1x\n"
    )
    known = (["ab", "ab", "cd"], [0, 5, 10])
    with pytest.raises(ValueError) as error:
        submission.validate(path, [3, 5, 6, 7, 8, 9, 11], known)
    message = str(error.value)
    for part in (
        "line 4: class 5 lists ab:5 twice",
        "line 5: class 8 lists 0",
        "line 6: there is no segment zz:0",
        "line 7: class 4 is not one of",
        "line 8: pair 1 is b'cd:1x'",
        "no row for 1 classes: [11]",
        "6 problems",
    ):
        assert part in message
    with pytest.raises(ValueError, match="2 problems or more"):
        submission.validate(path, [3], known, max_problems=2)


def test_validate_knows_the_order_of_scores(tmp_path):
    path = tmp_path / "a.csv"
    ids, starts = ["a", "b", "c"], [0, 0, 0]
    ranking = Ranking.from_scores([[0.9], [0.5], [0.5]], [1], ids, starts)
    submission.write_csv(ranking, path)
    submission.validate(path, [1], ranking=ranking)
    path.write_bytes(b"Class,Segments\n1,a:0 c:0 b:0\n")  # a tie: no harm
    submission.validate(path, [1], ranking=ranking)
    path.write_bytes(b"Class,Segments\n1,b:0 a:0 c:0\n")
    with pytest.raises(ValueError, match="a:0 scores higher than b:0"):
        submission.validate(path, [1], ranking=ranking)


@pytest.mark.parametrize("scores", [True, False])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"1,a:0 c:0 b:0", "class 1: the ranking does not list c:0"),
        (b"1,c:0 b:0", "class 1: the ranking does not list c:0"),
        (b"2,b:0", "class 2: the ranking does not list b:0"),
    ],
)
def test_what_the_ranking_does_not_list_is_named(
    tmp_path, row, message, scores
):
    path = tmp_path / "a.csv"
    ranking = Ranking.from_scores(
        [[0.9], [0.5], [0.1]], [1], ["a", "b", "c"], [0, 0, 0], k=1
    )
    if not scores:
        ranking.scores = None
    path.write_bytes(b"Class,Segments\n" + row + b"\n")
    with pytest.raises(ValueError, match=message):
        submission.validate(path, ranking=ranking)


def test_a_file_that_is_refused_does_not_appear(tmp_path):
    path = tmp_path / "a.csv.gz"
    ranking = Ranking([3, 7], ["a"], [0], [0, 1, 1], [0], [0.5])
    with pytest.raises(ValueError, match="class 7 lists 0"):
        submission.write_csv(ranking, path, class_ids=[3, 7])
    with pytest.raises(ValueError, match="no row for 1 classes"):
        submission.write_csv(ranking, path, class_ids=[3, 7, 9])
    assert not list(tmp_path.iterdir())
    submission.write_csv(ranking, path)
    good = Ranking([3], ["a"], [0], [0, 1], [0], [0.5])
    submission.write_csv(good, path, class_ids=[3])
    assert submission.validate(path, [3])["segments"] == 1


@pytest.mark.parametrize(
    "video_id", ["a b", "a:b", "a,b", 'a"b', "", "a\nb", "tab\t", b"a\0b"]
)
def test_an_id_that_the_format_cannot_hold_is_refused(tmp_path, video_id):
    ranking = Ranking.from_scores(
        [[0.9], [0.8], [0.7]], [3], ["fine", video_id, "longer id"[:6]], [0] * 3
    )
    raw = video_id.encode() if isinstance(video_id, str) else video_id
    with pytest.raises(ValueError, match=re.escape(f"video_id={raw!r}")):
        submission.write_csv(ranking, tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())


def test_no_segment_at_all_may_be_known(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(GOOD)
    with pytest.raises(ValueError, match="line 2: there is no segment ab:0"):
        submission.validate(path, segments=([], []))


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """100,000 pairs, each with an id and a start of its own: 1.1 MB."""
    path = tmp_path_factory.mktemp("sparse") / "a.csv"
    pairs = [(f"{i:x}", i) for i in range(submission.K)]
    rows = [f"{c},{text_of(pairs).decode()}" for c in (3, 7)]
    path.write_text("\n".join(["Class,Segments", *rows, ""]))
    return path, pairs


def test_a_file_of_which_nothing_repeats_is_read_in_bounded_memory(sparse):
    path, pairs = sparse
    tracemalloc.start()
    try:
        found = submission.validate(path)
        known = list(zip(*pairs, strict=True))
        assert submission.validate(path, segments=known) == found
        with pytest.raises(ValueError, match="there is no segment 1:1"):
            submission.validate(path, segments=(["0"], [0]))
        read = submission.read_csv(path)
        submission.validate(path, ranking=read)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == {"classes": 2, "segments": 2 * submission.K}
    expected = [(video.encode(), start) for video, start in pairs]
    assert listed(read, 3) == listed(read, 7) == expected
    assert peak < 2**28  # the file a hundred times over, not its square


def test_a_repeat_is_found_where_hardly_anything_repeats(sparse, tmp_path):
    path, pairs = sparse
    pairs = [*pairs[:-1], pairs[5]]
    path = tmp_path / "a.csv"
    path.write_bytes(b"Class,Segments\n3," + text_of(pairs))
    for known in (None, list(zip(*pairs[:-1], strict=True))):
        with pytest.raises(ValueError, match="class 3 lists 5:5 twice"):
            submission.validate(path, segments=known)


def test_the_cap_holds(tmp_path):
    count = submission.K + 1
    ranking = Ranking(
        [1], [b"a"] * count, np.arange(count), [0, count], np.arange(count)
    )
    path = tmp_path / "a.csv"
    path.write_text("before")
    with pytest.raises(ValueError, match="at most 100,000"):
        submission.write_csv(ranking, path)
    # A failed write leaves the file as it was, and nothing beside it.
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1
    path.write_bytes(
        b"Class,Segments\n1,"
        + format_segments(ranking.video_ids, ranking.starts)
    )
    with pytest.raises(ValueError, match="line 2: class 1 lists 100,001"):
        submission.validate(path)


def test_an_interrupted_file_is_named(tmp_path):
    path = tmp_path / "a.csv.gz"
    pairs = [(f"{i * 7919:x}", i) for i in range(2000)]
    whole = gzip.compress(GOOD + b"9," + text_of(pairs))
    path.write_bytes(whole[: len(whole) // 2])
    for read in (submission.read_csv, submission.validate):
        with pytest.raises(ValueError, match="a.csv.gz is damaged or cut off"):
            read(path)
    with pytest.raises(ValueError, match="a.csv.gz is damaged or cut off"):
        fuse_files([path], [1], tmp_path / "fused.csv")
    assert not (tmp_path / "fused.csv").exists()
