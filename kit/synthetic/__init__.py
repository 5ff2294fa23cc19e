"""A simulated data set in YouTube-8M's record format, and its oracle."""

from kit.synthetic.oracle import Oracle
from kit.synthetic.sample import (
    CARD,
    is_sample,
    load_test_ratings,
    load_truth,
    read_card,
    write_sample,
)
from kit.synthetic.world import Constants, World

__all__ = [
    "CARD",
    "Constants",
    "Oracle",
    "World",
    "is_sample",
    "load_test_ratings",
    "load_truth",
    "read_card",
    "write_sample",
]
