"""Every figure a notebook shows; each answers one question.

A function takes plain arrays or tables and returns a `matplotlib` figure,
which `show` displays in a notebook and saves beside the run's results.
"""

from kit.plots.data import (
    frames_per_video,
    labels_per_class,
    ratings_per_class,
    value_ranges,
    video_strip,
)
from kit.plots.explain import assignment, attention, experts, shifted
from kit.plots.fusion import (
    agreement,
    class_gains,
    convergence,
    member_weights,
    score_scales,
    tried_weights,
)
from kit.plots.scores import gains, learning_curves, timeline
from kit.plots.style import COLOURS, show

__all__ = [
    "COLOURS",
    "agreement",
    "assignment",
    "attention",
    "class_gains",
    "convergence",
    "experts",
    "frames_per_video",
    "gains",
    "labels_per_class",
    "learning_curves",
    "member_weights",
    "ratings_per_class",
    "score_scales",
    "shifted",
    "show",
    "timeline",
    "tried_weights",
    "value_ranges",
    "video_strip",
]
