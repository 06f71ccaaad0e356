"""Put what the journal knows into words and columns that suit a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime


def shorten(text: str, most: int) -> str:
    """Return at most so many characters, the end of what was longer marked."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def columns(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as lines with aligned columns."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in table
    )
    return "\n".join(line.rstrip() for line in padded)


def moment(wall_s: float) -> str:
    """Return seconds since 1970 as local time."""
    return datetime.fromtimestamp(wall_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")
