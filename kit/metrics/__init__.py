"""How good a ranking is, as the competition counts it, and how sure."""

from kit.metrics.chance import floor_of_targets, random_floor
from kit.metrics.precision import map_of_scores, mean_average_precision
from kit.metrics.uncertainty import Interval, bootstrap
