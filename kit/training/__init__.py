"""One stage of training: a model and batches in, weights and a history out.

A stage is a row of intervals, each ending with a look at the hold-out and a
checkpoint of everything.  The batches of an interval depend on the seed and its
number alone, so that a run killed at any moment and started again ends, on a
CPU, with the same bits as one that was not.
"""

from kit.training.evaluation import SegmentEvaluation
from kit.training.fitting import fit, save_model
from kit.training.progress import Progress
from kit.training.schedule import (
    LinearWarmUp,
    compile_for_training,
    learning_rate_schedule,
)
from kit.training.stage import Stage

__all__ = [
    "LinearWarmUp",
    "Progress",
    "SegmentEvaluation",
    "Stage",
    "compile_for_training",
    "fit",
    "learning_rate_schedule",
    "save_model",
]
