"""From a model and shards to rankings: windows, shifts, best K per class.

And into a model: what its layers make of a video, for figures.
"""

from kit.inference.localize import find_video, localize
from kit.inference.look import (
    assignments,
    attention,
    experts,
    first_with,
    shifted,
)
from kit.inference.parts import parse_part, rank_part, stop_unless_merged
from kit.inference.rank import print_progress, rank_segments
from kit.inference.scoring import (
    AVERAGING,
    Scoring,
    mean_over_snippets,
    over_whole_video,
)
from kit.inference.windows import (
    segment_probabilities,
    shift_range,
    window_frames,
)

__all__ = [
    "AVERAGING",
    "Scoring",
    "assignments",
    "attention",
    "experts",
    "find_video",
    "first_with",
    "localize",
    "mean_over_snippets",
    "over_whole_video",
    "parse_part",
    "print_progress",
    "rank_part",
    "rank_segments",
    "segment_probabilities",
    "shift_range",
    "shifted",
    "stop_unless_merged",
    "window_frames",
]
