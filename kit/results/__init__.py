"""What the rankings of a run scored: answers, references, tables."""

from kit.results.answers import (
    MEASURES,
    known_answers,
    load_answers,
    load_names,
    most_disputed,
    richest_video,
    save_answers,
    save_names,
)
from kit.results.scores import (
    ORACLE,
    STAGES,
    as_text,
    final_table,
    load_scores,
    members_of,
    oracle_rankings,
    score_table,
    scores_by_place,
    shift_gains,
    stop_if_alone,
    to_submit,
)

__all__ = [
    "MEASURES",
    "ORACLE",
    "STAGES",
    "as_text",
    "final_table",
    "known_answers",
    "load_answers",
    "load_names",
    "load_scores",
    "members_of",
    "most_disputed",
    "oracle_rankings",
    "richest_video",
    "save_answers",
    "save_names",
    "score_table",
    "scores_by_place",
    "shift_gains",
    "stop_if_alone",
    "to_submit",
]
