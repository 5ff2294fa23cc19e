"""The generated data set in YouTube-8M's record format, and its oracle."""

from kit.sample.folder import (
    is_sample,
    load_test_ratings,
    load_truth,
    read_card,
    write_sample,
)
from kit.sample.oracle import Oracle
