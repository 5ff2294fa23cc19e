import gzip
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import submission
from kit.ensemble import fuse_csv
from kit.ranking import Ranking
from tests.rankings import listed
from tests.refusals import refused

LETTERS = st.characters(
    codec="utf-8", exclude_characters=' :,"', exclude_categories=["Cc"]
)
ODD = st.sampled_from(["NA", "nan", "1e05", "0012", "-1", "True", "1.0", "#a"])
IDENTIFIER = st.one_of(ODD, st.text(LETTERS, min_size=1, max_size=12))
PAIR = st.tuples(IDENTIFIER, st.integers(0, 999_999))
PAIRS = st.lists(PAIR, unique=True, min_size=1, max_size=30)
LISTS = st.dictionaries(st.integers(0, 4000), PAIRS, min_size=1, max_size=4)


def text_of(pairs):
    return " ".join(f"{video}:{start}" for video, start in pairs).encode()


def ranking_of(lists):
    """A ranking with these lists of (video, start), one a class."""
    flat = [(v.encode(), start) for own in lists.values() for v, start in own]
    table = sorted(set(flat))
    row = {pair: index for index, pair in enumerate(table)}
    order = [row[pair] for pair in flat]
    offsets = np.cumsum([0, *map(len, lists.values())])
    return Ranking(list(lists), *zip(*table, strict=True), offsets, order)


@settings(deadline=None, max_examples=60)
@given(LISTS, st.booleans())
def test_read_back_is_what_was_written(tmp_path_factory, lists, packed):
    folder = tmp_path_factory.mktemp("csv")
    path = folder / ("a.csv.gz" if packed else "a.csv")
    ranking = ranking_of(lists)
    submission.write_csv(ranking, path, class_ids=lists)
    rows = [b"%d,%b\n" % (c, text_of(lists[c])) for c in sorted(lists)]
    with gzip.open(path) if packed else open(path, "rb") as file:
        assert file.read() == b"Class,Segments\n" + b"".join(rows)
    read = submission.read_csv(path)
    assert read.class_ids.tolist() == sorted(lists)
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
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "a space at the end": GOOD.replace(b"ab:0\n", b"ab:0 \n"),
    "classes in any order": b"Class,Segments\n7,cd:10 ab:0\n3,ab:0 ab:5\n",
}
REFUSED = {
    "a header in one field": (b'"Class,Segments"\n3,ab:0\n', "line 1: "),
    "no header": (GOOD[15:], "line 1: the header is"),
    "another header": (b"Class;Segments\n3,ab:0\n", "line 1: the header"),
    "nothing": (b"", "line 1: the header"),
    "header alone": (b"Class,Segments\n", "line 2: there is no row"),
    "letters for a class": (GOOD + b"x,ab:0\n", "line 4: the class is b'x'"),
    "one field": (GOOD + b"9\n", "line 4: the row has 1 fields"),
    "three fields": (GOOD + b"9,ab:0,ab:5\n", "line 4: the row has 3"),
    "a blank line": (GOOD + b"\n", "line 4: the class is b''"),
    "no colon": (GOOD + b"9,ab:0 ab5\n", "line 4: b'ab5' is not id:start"),
    "two colons": (GOOD + b"9,a:b:0\n", "line 4: b'a:b:0'"),
    "colons that even out": (GOOD + b"9,a:b:0 c\n", "line 4: b'a:b:0'"),
    "no id": (GOOD + b"9,:5\n", "line 4: b':5'"),
    "no start": (GOOD + b"9,ab:\n", "line 4: b'ab:'"),
    "a fraction": (GOOD + b"9,ab:0 ab:5.0\n", "line 4: b'ab:5.0'"),
    "a sign": (GOOD + b"9,ab:-5\n", "line 4: b'ab:-5'"),
    "a leading zero": (GOOD + b"9,ab:05\n", "line 4: b'ab:05'"),
    "seven digits": (GOOD + b"9,ab:1234567\n", "line 4: b'ab:1234567'"),
    "endless digits": (GOOD + b"9,ab:" + b"9" * 30, "line 4: b'ab:999"),
    "two spaces": (GOOD + b"9,ab:0  ab:5\n", "line 4: b'' is not"),
    "a tab": (GOOD + b"9,ab:0 a\tb:5\n", "line 4: b'a\\tb:5'"),
    "a carriage return": (GOOD + b"9,ab\r:0 cd:5\n", "line 4: b'ab\\r:0'"),
    "a NUL": (GOOD + b"9,a\0b:0\n", "line 4: b'a\\x00b:0'"),
    "an open quote": (GOOD + b'9,"ab:0\n', "line 4: a quote"),
    "a quote inside": (GOOD + b'9,a"b:0\n', "line 4: a quote"),
    "a class twice": (GOOD + b"3,ab:0\n", "line 4: class 3 has a row"),
    "a segment twice": (
        GOOD + b"9,b:5 a:0 b:5\n",
        "line 4: pair 1 is listed again",
    ),
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

    def fuse(path):
        fuse_csv([path], [1], tmp_path / "fused.csv")

    for read in (submission.read_csv, submission.validate, fuse):
        with pytest.raises(ValueError) as error:
            read(path)
        assert f"a.csv, {message}" in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    ("row", "classes", "message"),
    [
        (b"9,ab:0 zz:0", [3, 7, 9], "line 4: there is no segment zz:0"),
        (b"9,ab:0 cd:0", [3, 7, 9], "line 4: there is no segment cd:0"),
        (b"9,", [3, 7, 9], "line 4: a class lists 0, not 1 to 100,000"),
        (b"9,ab:0", [3, 7], r"without \[\] and with \[9\]"),
        (b"9,ab:0", [3, 7, 9, 11], r"without \[11\] and with \[\]"),
    ],
)
def test_validate_knows_classes_and_segments(tmp_path, row, classes, message):
    ranking = ranking_of({3: [("ab", 0), ("ab", 5), ("cd", 10)]})
    path = tmp_path / "a.csv"
    path.write_bytes(GOOD)
    assert submission.validate(path, [3, 7], ranking)["segments"] == 4
    path.write_bytes(GOOD + row)
    refused(message, submission.validate, path, classes, ranking)


def test_a_file_that_is_refused_does_not_appear(tmp_path):
    path = tmp_path / "made" / "a.csv.gz"
    good = Ranking([3], ["a"], [0], [0, 1], [0])
    short = Ranking([3, 7], ["a"], [0], [0, 1, 1], [0])
    refused("line 3: a class lists 0", submission.write_csv, short, path)
    with pytest.raises(ValueError, match=r"without \[9\]"):
        submission.write_csv(good, path, class_ids=[3, 9])
    assert not list(path.parent.iterdir())
    submission.write_csv(good, path, class_ids=[3])
    assert submission.validate(path, [3])["segments"] == 1
    before = path.read_bytes()
    with pytest.raises(ValueError):
        submission.write_csv(short, path)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize(
    "video_id", ["a b", "a:b", "a,b", 'a"b', "", "a\nb", "tab\t", b"a\0b"]
)
def test_an_id_that_the_format_cannot_hold_is_refused(tmp_path, video_id):
    scores, ids = [[0.9], [0.8], [0.7]], ["fine", video_id, "longer"]
    ranking = Ranking.from_scores(scores, [3], ids, [0] * 3)
    refused("line", submission.write_csv, ranking, tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """100,000 pairs, each with an id and a start of its own: 1.1 MB a row."""
    path = tmp_path_factory.mktemp("sparse") / "a.csv"
    pairs = [(f"{i:x}", i) for i in range(submission.K)]
    rows = [f"{c},{text_of(pairs).decode()}" for c in (3, 7)]
    path.write_text("\n".join(["Class,Segments", *rows, ""]))
    return path, pairs


def test_a_file_of_which_nothing_repeats_is_read_in_bounded_memory(sparse):
    path, pairs = sparse
    tracemalloc.start()
    try:
        read = submission.read_csv(path)
        counts = submission.validate(path, [3, 7], read)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert counts == {"classes": 2, "segments": 2 * submission.K}
    expected = [(video.encode(), start) for video, start in pairs]
    assert listed(read, 3) == listed(read, 7) == expected
    assert peak < 2**27  # the file fifty times over, not its square


def test_the_cap_holds(sparse, tmp_path):
    _, pairs = sparse
    path = tmp_path / "a.csv"
    path.write_text("before")
    with pytest.raises(ValueError, match="lists 100,001, not 1 to 100,000"):
        submission.write_csv(ranking_of({3: [*pairs, ("last", 0)]}), path)
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1
    submission.write_csv(ranking_of({3: pairs}), path)


def test_an_interrupted_file_is_named(tmp_path):
    path = tmp_path / "a.csv.gz"
    pairs = [(f"{i * 7919:x}", i) for i in range(2000)]
    whole = gzip.compress(GOOD + b"9," + text_of(pairs))
    for damaged in (whole[: len(whole) // 2], b"no gzip", b""):
        path.write_bytes(damaged)
        for read in (submission.read_csv, submission.validate):
            refused(r"a.csv.gz, line \d: ", read, path)
