"""An ensemble: members fused into one list, and what weights are worth.

`fuse` takes rankings, `fuse_csv` submissions; `LocalMap` scores weights on the
hold-out (section 6 of the paper), for a search such as `skopt.gp_minimize`.
"""

from kit.ensemble.fusion import fuse, fuse_csv
from kit.ensemble.local_map import LocalMap, cross_fit, out_of_fold
