"""Runs commands, for tests of what a process of its own does."""

import os
import subprocess
import sys


def run(command, folder=None, returncode=0, **environment):
    """What a process left and printed, which must end as it is told."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == returncode, f"{done.stdout}\n{done.stderr}"
    return done


def python(*arguments, **options):
    """The same of this Python."""
    return run([sys.executable, *arguments], **options)
