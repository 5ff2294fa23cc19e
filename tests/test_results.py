from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kit import data, results, synthetic
from kit.ranking import Ranking
from kit.spec import FrameSpec
from kit.splits import Holdout

IDS = np.array([b"aaaa", b"aaaa", b"bbbb"])
STARTS = np.array([0, 5, 0])


def ranking(*scores):
    scores = np.array(scores, np.float32)[:, None]
    return Ranking.from_scores(scores, [3], IDS, STARTS)


def ratings(*scores):
    return pd.DataFrame(
        {"video_id": IDS.astype(str), "start": STARTS, "label": 3}
    ).assign(score=scores)


def test_a_row_a_member_and_measure_and_a_column_a_stage():
    table = results.score_table(
        {
            ("A", "holdout", "fine-tuned"): ranking(0.9, 0.5, 0.1),
            ("A", "holdout", "+ TTA"): ranking(0.5, 0.1, 0.9),
            ("A", "test", "+ TTA"): ranking(0.5, 0.9, 0.1),
        },
        {"hold-out": ratings(1, 0, 0), "test": ratings(1, 0, 0)},
        [3],
    )
    assert table.index.tolist() == [("A", "hold-out"), ("A", "test")]
    assert list(table.columns) == results.STAGES
    row = table.loc["A", "hold-out"]
    assert row["fine-tuned"] == 1
    assert row["+ TTA"] == pytest.approx(1 / 2)
    # One positive in three places: the mean of 1, 1/2 and 1/3.
    assert row["random"] == pytest.approx(11 / 18, abs=0.1)
    assert np.isnan(row["pre-trained"])
    assert table.loc["A", "test"]["+ TTA"] == pytest.approx(1 / 2)


def test_answers_survive_the_disk(tmp_path):
    answers = {"hold-out": ratings(1, 0, 1), "test truth": ratings(0, 0, 1)}
    answers["hold-out"].loc[0, "video_id"] = "1e05"  # no number, whatever
    results.save_answers(tmp_path, answers)
    loaded = results.load_answers(tmp_path)
    assert list(loaded) == list(answers)
    for measure, table in answers.items():
        pd.testing.assert_frame_equal(loaded[measure], table, check_dtype=False)


def test_the_sample_knows_the_test_answers_and_no_checkpoint_saw_the_others(
    sample,
):
    shards = data.list_shards(sample, "validate")
    holdout = Holdout(0.5)
    answers = results.known_answers(sample, shards, holdout, FrameSpec())
    assert list(answers) == ["hold-out", "test", "test truth"]
    ids = answers["hold-out"]["video_id"].unique()
    assert holdout.select(ids, "ensemble").all()
    assert len(answers["test truth"]) > 20 * len(answers["test"])


def test_other_data_have_the_hold_out_alone(sample, tmp_path):
    shards = data.list_shards(sample, "validate")
    answers = results.known_answers(tmp_path, shards, Holdout(0.5), FrameSpec())
    assert list(answers) == ["hold-out"]
    assert results.oracle_rankings(tmp_path, {"test": {}}) == {}


def test_the_oracle_beats_a_random_order_by_far(sample):
    shards = data.list_shards(sample, "test")
    rankings = results.oracle_rankings(sample, {"test": {"shards": shards}})
    table = results.score_table(
        rankings,
        {"test truth": synthetic.load_truth(sample)},
        data.read_segment_classes(sample),
    )
    row = table.loc[results.ORACLE, "test truth"]
    assert row["fine-tuned"] > 10 * row["random"]


def test_the_members_of_a_table_are_the_papers():
    index = [("GatedNetVLAD", "test"), ("Logistic", "test"), ("X", "test")]
    table = pd.DataFrame(
        {"+ TTA": 0.5},
        index=pd.MultiIndex.from_tuples(index, names=["member", "measure"]),
    )
    assert results.members_of(table) == ["GatedNetVLAD"]
    assert "SIMULATED" not in results.as_text(table)
    truth = table.rename(index={"test": "test truth"})
    assert results.as_text(truth).startswith("SIMULATED")


def test_answers_of_an_earlier_run_do_not_stay(tmp_path):
    both = {"hold-out": ratings(1, 0, 1), "test": ratings(0, 0, 1)}
    results.save_answers(tmp_path, both)
    results.save_answers(tmp_path, {"hold-out": ratings(1, 1, 1)})
    assert list(results.load_answers(tmp_path)) == ["hold-out"]


def test_tables_of_members_that_were_ranked_apart_are_joined(tmp_path):
    paths = []
    for name, score in (("BERTMean", 0.9), ("GatedNetVLAD", 0.1)):
        table = results.score_table(
            {
                (member, "holdout", "+ TTA"): ranking(score, 0.5, 0.2)
                for member in (name, "Logistic")
            },
            {"hold-out": ratings(1, 0, 0)},
            [3],
        )
        paths.append(tmp_path / f"{name}.csv")
        table.to_csv(paths[-1])
    joined = results.load_scores(*paths)
    members = joined.index.get_level_values("member")
    assert list(members) == ["BERTMean", "Logistic", "GatedNetVLAD"]
    assert joined.loc[("Logistic", "hold-out"), "+ TTA"] == 1  # of the first
    assert results.members_of(joined) == ["GatedNetVLAD", "BERTMean"]


def test_members_with_other_answers_are_not_compared(tmp_path):
    for folder, score in (("a", 0), ("b", 0), ("c", 1)):
        answers = {"hold-out": ratings(1, 0, score)}
        results.save_answers(tmp_path / folder, answers)
    same = results.load_answers(tmp_path / "a", tmp_path / "b")
    assert list(same) == ["hold-out"]
    with pytest.raises(ValueError, match="same data and hold-out"):
        results.load_answers(tmp_path / "a", tmp_path / "b", tmp_path / "c")


def test_a_gain_of_shifts_comes_with_its_interval():
    # Of two videos the shifts mend b.
    ids = np.array([b"aaaa", b"aaaa", b"bbbb", b"bbbb"])
    starts = np.array([0, 5, 0, 5])
    answers = pd.DataFrame(
        {"video_id": ids.astype(str), "start": starts, "label": 3}
    ).assign(score=[1, 0, 1, 0])
    plain, shifted = (
        Ranking.from_scores(np.c_[np.float32(s)], [3], ids, starts)
        for s in ([0.9, 0.1, 0.2, 0.8], [0.9, 0.1, 0.8, 0.2])
    )
    rankings = {
        ("A", "holdout", "fine-tuned"): plain,
        ("A", "holdout", "+ TTA"): shifted,
        ("A", "test", "+ TTA"): plain,
        ("Oracle", "holdout", "fine-tuned"): plain,
    }
    table = results.shift_gains(rankings, answers, [3])
    assert table.index.tolist() == ["A"]
    gain, low, high = table.loc["A", ["gain", "low", "high"]]
    # The second positive stood third: 1 and 2/3 over two.
    assert gain == pytest.approx(1 / 6)
    # Drawn twice, b alone reads no, no, yes, yes: 1/3 and 2/4 over two.
    assert (low, high) == pytest.approx((0, 1 - 5 / 12))


def test_names_of_classes_survive_the_disk(tmp_path):
    assert results.load_names(tmp_path) == {}
    names = {3: "Guitar, electric", 12: "NA", 7: "nan"}
    results.save_names(tmp_path, names)
    assert results.load_names(tmp_path) == names
    results.save_names(tmp_path, {})
    assert results.load_names(tmp_path) == {}


def test_one_member_alone_ends_the_run_with_a_word(capsys):
    results.stop_if_alone(["A", "B"])
    with pytest.raises(SystemExit) as stopped:
        results.stop_if_alone(["A"])
    assert stopped.value.code == 0
    assert "A/submission.csv" in capsys.readouterr().out


def test_the_final_table_has_the_ensemble_beside_its_members(tmp_path):
    answers = {"hold-out": ratings(1, 0, 0), "test": ratings(1, 0, 0)}
    scores = results.score_table(
        {
            ("BERTMean", split, "+ TTA"): ranking(0.9, 0.5, 0.1)
            for split in ("holdout", "test")
        },
        answers,
        [3],
    )
    scores.to_csv(tmp_path / "scores.csv")
    search = SimpleNamespace(
        comparison=pd.DataFrame(
            {
                "method": ["best single", "Bayesian optimisation"],
                "cross_fitted": [0.65, 0.7],
            }
        ),
        members=pd.DataFrame({"member": ["BERTMean"], "weight": [1.0]}),
    )
    fused = {"test": ranking(0.1, 0.9, 0.5), "holdout": ranking(0, 0, 0)}
    table = results.final_table(
        results.load_scores(tmp_path / "scores.csv"), fused, answers, search
    )
    assert table.loc[("Ensemble", "hold-out"), "+ TTA"] == 0.7
    assert table.loc[("Ensemble", "test"), "+ TTA"] == pytest.approx(1 / 3)
    assert table.loc[("BERTMean", "test"), "weight"] == 1
    assert "{'best single': 0.65}" in results.as_text(table)


def test_the_richest_video_has_the_most_concepts():
    truth = pd.DataFrame(
        [
            ("a", 0, 7, 1),
            ("a", 5, 7, 1),
            ("a", 10, 7, 1),
            ("b", 0, 7, 1),
            ("b", 0, 8, 1),
            ("b", 5, 9, 0),
            ("b", 5, 8, 1),
        ],
        columns=["video_id", "start", "label", "score"],
    )
    assert results.richest_video(truth) == ("b", [7, 8])
    assert results.richest_video(truth, most=1) == ("b", [8])


def test_the_most_disputed_class_has_the_most_of_both_answers():
    targets = np.array(
        [[1, -1, 1], [1, 0, 0], [1, 1, -1], [0, 1, -1], [1, 0, -1]], np.int8
    )
    column, rows = results.most_disputed(targets)
    assert column == 1 and rows.tolist() == [2, 3, 1, 4]
    assert results.most_disputed(targets, most=1)[1].tolist() == [2, 1]


def test_the_scores_by_place_are_the_medians_of_classes():
    rng = np.random.default_rng(0)
    scores = rng.random((40, 3)).astype(np.float32)
    videos, starts = [b"a"] * 40, 5 * np.arange(40)
    whole = Ranking.from_scores(scores, [3, 7, 9], videos, starts)
    few = Ranking.from_scores(
        scores[:20] / 2, [3, 7, 9], videos[:20], starts[:20]
    )
    table = results.scores_by_place([whole, few], ["A", "B"])
    assert table.index[0] == 1 and table.index[-1] == 20
    best_first = -np.sort(-scores, axis=0)
    np.testing.assert_allclose(
        table["A"], np.median(best_first[table.index - 1], axis=1)
    )
    best_first = -np.sort(-scores[:20] / 2, axis=0)
    np.testing.assert_allclose(
        table["B"], np.median(best_first[table.index - 1], axis=1)
    )


def test_a_class_that_a_member_left_out_has_no_score_by_place():
    one = Ranking([3, 7], IDS, STARTS, [0, 2, 2], [1, 0], [0.9, 0.1])
    table = results.scores_by_place([one], ["A"])
    np.testing.assert_allclose(table["A"], [0.9, 0.1])


def test_a_submission_is_written_for_the_best_or_for_all():
    index = pd.MultiIndex.from_tuples(
        [("A", "hold-out"), ("B", "hold-out"), ("Oracle", "hold-out"),
         ("A", "test"), ("B", "test")],
        names=["member", "measure"],
    )  # fmt: skip
    scores = pd.DataFrame({"+ TTA": [0.4, 0.7, None, 0.9, 0.1]}, index)
    assert results.to_submit(scores, "best") == ["B"]
    assert results.to_submit(scores, "all") == ["A", "B"]
