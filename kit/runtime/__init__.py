"""Where am I, where are the data, what do the settings mean?"""

from kit.runtime.device import count_gpus, prepare
from kit.runtime.members import (
    finetuned,
    pretrained,
    pretrained_before,
    rank_member,
    rank_pretrained,
    scoring,
    stage,
)
from kit.runtime.places import (
    INPUTS,
    find_data,
    find_output,
    find_outputs,
    host,
    install_missing,
    workspace,
)
from kit.runtime.settings import PAPER, SAMPLE, SETTINGS, flags, settings

__all__ = [
    "INPUTS",
    "PAPER",
    "SAMPLE",
    "SETTINGS",
    "count_gpus",
    "find_data",
    "find_output",
    "find_outputs",
    "finetuned",
    "flags",
    "host",
    "install_missing",
    "prepare",
    "pretrained",
    "pretrained_before",
    "rank_member",
    "rank_pretrained",
    "scoring",
    "settings",
    "stage",
    "workspace",
]
