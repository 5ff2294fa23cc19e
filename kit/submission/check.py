"""Is a file a submission that Kaggle takes, and says what was meant?"""

import numpy as np
import pandas as pd

from kit.ranking import as_ids, sort_key
from kit.submission.segments import (
    DENSE,
    K,
    Segments,
    as_text,
    header_problem,
    open_bytes,
    parse_segments,
    read_lines,
    split_row,
)


def validate(
    path, class_ids=None, segments=None, ranking=None, max_problems: int = 20
) -> dict:
    """Checks a submission in bounded memory; a full one takes some seconds.

    Args:
        path: `.csv` or `.csv.gz`.
        class_ids: The classes that must have a row each, and no other.
        segments: `(video_ids, starts)` of all segments that exist.
        ranking: The `Ranking` behind the file: it must list what is listed,
            and no segment may score higher than the one before it.
        max_problems: After so many the search stops.

    Returns:
        `{"classes": rows, "segments": pairs}` of a file without a problem.

    Raises:
        ValueError: Which lists the problems, each with its line.
    """
    if ranking is not None:
        segments = ranking.video_ids, ranking.starts
    check = _Check(class_ids, segments, ranking)
    named, line = [], 0
    with open_bytes(path) as file:
        try:
            for line, text in enumerate(read_lines(file), 1):
                read = check.problem if line > 1 else header_problem
                if problem := read(text):
                    named.append(f"line {line}: {problem}")
                if len(named) >= max_problems:
                    break
        except ValueError as error:
            named.append(f"line {line + 1}: {error}")
    if len(named) < max_problems:
        named += check.missing()
    if named:
        raise ValueError(
            "Kaggle would refuse or misread this submission; write it with "
            f"`write_csv`. Received: {path}, {len(named)} problems"
            f"{' or more' if len(named) >= max_problems else ''}\n  "
            + "\n  ".join(named)
        )
    return {"classes": len(check.seen), "segments": check.pairs}


class _Check:
    """Names what is wrong with a row, given the rows before it."""

    def __init__(self, class_ids, segments, ranking):
        self.class_ids = None if class_ids is None else set(map(int, class_ids))
        self.ranking, self.seen, self.pairs = ranking, set(), 0
        self.table, self.row_of = Segments(), None
        self.stamp = np.empty(0, np.int32)
        if segments is not None:
            ids, starts = as_ids(segments[0]), np.asarray(segments[1], np.int32)
            codes = self.table.codes(*self.table.numbers(sort_key(ids), starts))
            if self.table.size > DENSE:
                self.row_of = pd.Index(codes).unique().get_indexer
            else:
                rows = np.full(self.table.size, -1, np.int32)
                rows[codes] = np.arange(len(codes))
                self.row_of = rows.take

    def problem(self, text):
        try:
            class_id, segments = split_row(text)
            if class_id in self.seen:
                return f"class {class_id} has a row already"
            self.seen.add(class_id)
            if self.class_ids is not None and class_id not in self.class_ids:
                return f"class {class_id} is not one of the classes asked for"
            count = segments.count(b" ") + 1 if segments else 0
            if not 0 < count <= K:
                return f"class {class_id} lists {count:,}, not 1 to {K:,}"
            keys, starts = parse_segments(segments)
        except ValueError as error:
            return str(error)
        self.pairs += count

        def pair(found):
            i = int(np.argmax(found))
            return f"{as_text(keys[i : i + 1])[0].decode()}:{starts[i]}"

        known = self.row_of is not None
        rows = (self._rows if known else self._numbers)(keys, starts)
        if (rows < 0).any():
            return f"there is no segment {pair(rows < 0)}"
        # A place that is written twice is not what was written first.
        place = np.arange(count)
        if len(self.stamp) <= rows.max():
            self.stamp = np.empty(rows.max() + 1, np.int32)
        self.stamp[rows] = place
        if (twice := self.stamp[rows] != place).any():
            return f"class {class_id} lists {pair(twice)} twice"
        if self.ranking is not None:
            return self._order_problem(class_id, rows, pair)
        return None

    def _rows(self, keys, starts):
        """Rows in the table of segments that exist, -1 for all others."""
        videos, slots = self.table.find(keys, starts)
        unknown = (videos < 0) | (slots < 0)
        if unknown.any():
            return np.where(unknown, -1, 0)
        return self.row_of(self.table.codes(videos, slots))

    def _numbers(self, keys, starts):
        """A number for each different segment, where all may exist."""
        codes = self.table.codes(*self.table.numbers(keys, starts))
        if self.table.size > DENSE or self.table.num_videos > DENSE // 64:
            # Too few of the grid's cells are used: number these alone.
            self.table = Segments()
            return np.unique(codes, return_inverse=True)[1]
        return codes

    def _order_problem(self, class_id, rows, pair):
        span = self.ranking.span(class_id)
        scores = np.full(len(self.ranking.starts), np.nan, np.float32)
        known = self.ranking.scores
        scores[self.ranking.order[span]] = 0 if known is None else known[span]
        found = scores[rows]
        if (other := np.isnan(found)).any():
            return f"class {class_id}: the ranking does not list {pair(other)}"
        rises = np.append(False, found[1:] > found[:-1])
        if rises.any():
            before = np.roll(rises, -1)
            return f"{pair(rises)} scores higher than {pair(before)} before"
        return None

    def missing(self):
        absent = sorted((self.class_ids or set()) - self.seen)
        if not absent and self.seen:
            return []
        return [f"no row for {len(absent) or 'any'} classes: {absent[:10]}"]
