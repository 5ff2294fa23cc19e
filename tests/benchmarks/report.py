"""How a benchmark is told its sizes, measures, and prints what it measured."""

import argparse
import resource
import time


def options(arguments, **defaults):
    """What the command line says: a flag for each default, of its type."""
    parser = argparse.ArgumentParser()
    for name, value in defaults.items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(value), default=value)
    return parser.parse_args(arguments)


def timed(function, *arguments, **options):
    """What a call returns, and the seconds it takes."""
    begun = time.perf_counter()
    result = function(*arguments, **options)
    return result, time.perf_counter() - begun


def peak_gib():
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def table(title, header, rows):
    """Prints `rows` (sequences of text or numbers) under `header`, aligned."""
    cells = [list(map(_text, row)) for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(title)
    for first, *rest in cells:
        pairs = zip(rest, widths[1:], strict=True)
        numbers = [cell.rjust(width) for cell, width in pairs]
        print("  ".join([first.ljust(widths[0]), *numbers]))


def ratio(value):
    """Prints the last line of a benchmark: how often ours beats the other."""
    print(f"ratio: {value:.2f}", flush=True)


def _text(value):
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
