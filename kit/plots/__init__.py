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
from kit.plots.fusion import agreement, class_gains, convergence, member_weights
from kit.plots.scores import gains, learning_curves, timeline
from kit.plots.style import COLOURS, show

__all__ = [
    "COLOURS",
    "agreement",
    "class_gains",
    "convergence",
    "frames_per_video",
    "gains",
    "labels_per_class",
    "learning_curves",
    "member_weights",
    "ratings_per_class",
    "show",
    "timeline",
    "value_ranges",
    "video_strip",
]
