"""How a benchmark prints what it measured."""


def table(title, header, rows):
    """Prints `rows` (sequences of text or numbers) under `header`, aligned."""
    cells = [list(map(_text, row)) for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(title)
    for row in cells:
        pairs = zip(row, widths, strict=True)
        first, *rest = [
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(pairs)
        ]
        print("  ".join([first, *rest]))


def ratio(value):
    """Prints the last line of a benchmark: how often ours beats the other."""
    print(f"ratio: {value:.2f}", flush=True)


def _text(value):
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
