"""Every figure a notebook shows; each answers one question.

A function takes plain arrays or tables and returns a `matplotlib` figure,
which `show` displays in a notebook and saves beside the run's results.
"""

from kit.plots.data import labels_per_class, ratings_per_class
from kit.plots.fusion import (
    agreement,
    class_gains,
    member_weights,
    score_scales,
)
from kit.plots.members import attention, experts, gains, learning_curves
from kit.plots.style import COLOURS, show
from kit.plots.video import (
    answers,
    assignment,
    film,
    shifts,
    timeline,
    video_strip,
)
