"""How good a ranking is, as the competition counts it, and how sure."""

from kit.metrics.precision import (
    K,
    average_precision,
    class_precisions,
    gap,
    mean_average_precision,
    mean_average_precision_of_scores,
    per_class_table,
    random_floor,
)
from kit.metrics.ratings import rated_pairs
from kit.metrics.uncertainty import Interval, bootstrap

__all__ = [
    "Interval",
    "K",
    "average_precision",
    "bootstrap",
    "class_precisions",
    "gap",
    "mean_average_precision",
    "mean_average_precision_of_scores",
    "per_class_table",
    "random_floor",
    "rated_pairs",
]
