"""Where am I, where are the data, what do the settings mean?"""

from kit.runtime.device import prepare
from kit.runtime.members import finetuned, pretrained, scoring, stage
from kit.runtime.places import (
    INPUTS,
    find_data,
    find_output,
    host,
    workspace,
)
from kit.runtime.settings import PAPER, SAMPLE, SETTINGS, settings

__all__ = [
    "INPUTS",
    "PAPER",
    "SAMPLE",
    "SETTINGS",
    "find_data",
    "find_output",
    "finetuned",
    "host",
    "prepare",
    "pretrained",
    "scoring",
    "settings",
    "stage",
    "workspace",
]
