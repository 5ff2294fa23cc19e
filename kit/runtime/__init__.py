"""Where are the data, what did the command line say, on which devices?"""

from kit.runtime.devices import count_gpus, use_all_devices
from kit.runtime.places import (
    find_data,
    find_output,
    install_missing,
    workspace,
)
from kit.runtime.scripts import flags, spread

__all__ = [
    "count_gpus",
    "find_data",
    "find_output",
    "flags",
    "install_missing",
    "spread",
    "use_all_devices",
    "workspace",
]
