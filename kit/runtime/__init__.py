"""Where are the data, what did the command line say, on which devices?"""

from kit.runtime.places import (
    find_attached,
    find_data,
    find_output,
    scratch,
    workspace,
)
from kit.runtime.process import flags, install_missing, spread, use_all_devices
