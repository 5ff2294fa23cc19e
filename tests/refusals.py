"""Calls that must be refused."""

import pytest


def refused(message, function, *arguments, **options):
    """Asserts that a call raises a `ValueError` that says `message`."""
    with pytest.raises(ValueError, match=message):
        function(*arguments, **options)
