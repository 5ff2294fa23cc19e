"""An ensemble: members fused by rank, and weights found for them.

`fuse` takes rankings in memory, `fuse_files` what lies on disk, and
`search_weights` finds weights on the hold-out (section 6 of the paper).
"""

from kit.ensemble.files import fuse_files
from kit.ensemble.fusion import fuse
from kit.ensemble.weights import WeightSearch, print_progress, search_weights

__all__ = [
    "WeightSearch",
    "fuse",
    "fuse_files",
    "print_progress",
    "search_weights",
]
