"""Forecast a sum over many files from a few that were measured. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

#: Files below which nothing is said of the spread, or of how sizes explain it.
_FEWEST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A forecast and how far off it may be."""

    likely: float
    #: Two standard errors below and above, and more for small samples; None: too few files.
    low: float | None
    high: float | None

    def words(self, form: str) -> str:
        """Return it in words, each number in the form of a format string."""
        likely = form.format(self.likely)
        if self.low is None or self.high is None:
            return f"about {likely}"
        if self.low == self.high:
            return likely
        return f"about {likely} ({form.format(self.low)} to {form.format(self.high)})"

    def as_dict(self, to_json: Callable[[float], Any]) -> dict[str, Any]:
        """Return its numbers as JSON values."""
        parts = {"likely": self.likely, "low": self.low, "high": self.high}
        return {name: None if part is None else to_json(part) for name, part in parts.items()}


def forecast(
    values: Sequence[float], sizes: Sequence[float], *, rest_count: int, rest_size: float
) -> Range:
    """Forecast the sum of what was measured and of `rest_count` files of `rest_size` in all.

    Where the values grow with the files' sizes, in a straight line, the line is followed; else
    the mean counts.
    """
    count, measured = len(values), math.fsum(values)
    if not rest_count:
        return Range(likely=measured, low=measured, high=measured)
    mean, mean_size = measured / count, math.fsum(sizes) / count
    spread = math.fsum((size - mean_size) ** 2 for size in sizes)
    slope = _slope(values, sizes, mean, mean_size, spread)
    off = rest_size / rest_count - mean_size
    likely = measured + rest_count * (mean + slope * off)
    if count < _FEWEST:
        return Range(likely=likely, low=None, high=None)
    residues = math.fsum(
        (value - mean - slope * (size - mean_size)) ** 2
        for value, size in zip(values, sizes, strict=True)
    )
    variance = residues / (count - (2 if slope else 1))
    tilt = off**2 / spread if slope else 0.0
    error = rest_count * math.sqrt(variance * (1 / count + 1 / rest_count + tilt))
    margin = (2 + 6 / count) * error
    return Range(likely=likely, low=max(measured, likely - margin), high=likely + margin)


def _slope(
    values: Sequence[float], sizes: Sequence[float], mean: float, mean_size: float, spread: float
) -> float:
    """Return by how much a value grows with a file's size; 0: size explains less than half."""
    if len(values) <= _FEWEST or not spread:
        return 0.0
    together = math.fsum(
        (value - mean) * (size - mean_size) for value, size in zip(values, sizes, strict=True)
    )
    variation = math.fsum((value - mean) ** 2 for value in values)
    explains = variation and together**2 / (spread * variation)
    return together / spread if explains > 0.5 else 0.0
