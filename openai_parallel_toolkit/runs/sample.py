"""Choose a few of the due files that stand for all of them, and forecast from what they took."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from statistics import StatisticsError, correlation, linear_regression
from typing import Any

from ..files.inputs import Inputs
from ..files.plan import Plan, Spool
from .dry_run import PlannedCalls

#: Where nothing is asked for: one file in a hundred, within these bounds.
_SHARE, _FEWEST, _MOST = 0.01, 5, 100
#: Files below which nothing is said of the spread, or of how sizes explain it.
_FEWEST_TO_SPREAD = 3


class Sample:
    """Some of the due files, always the same ones, spread evenly over all sizes.

    Args:
        wanted: how many, or a share below 1; None: one in a hundred, at least 5, at most 100.
    """

    def __init__(self, wanted: float | None) -> None:
        self._wanted = wanted
        #: Bytes of each chosen file, by path.
        self.sizes: dict[str, int] = {}
        #: What each of them would ask, where the run is a dry run.
        self.planned: dict[str, PlannedCalls] = {}
        self.all_count = self.all_bytes = 0
        self.state_folder = ""

    @property
    def rest_count(self) -> int:
        """Files that were not chosen."""
        return self.all_count - len(self.sizes)

    @property
    def rest_bytes(self) -> int:
        """Their bytes."""
        return self.all_bytes - sum(self.sizes.values())

    def choose(self, plan: Plan, inputs: Inputs, state_folder: str) -> Plan:
        """Return the plan with the chosen files alone; their names are spooled to the folder."""
        self.state_folder = state_folder
        sizes = array("q", (inputs.size_bytes(file.path) for file in plan.due()))
        self.all_count, self.all_bytes = len(sizes), sum(sizes)
        count, by_size = self._count(len(sizes)), sorted(range(len(sizes)), key=sizes.__getitem__)
        # By size, the middle one of each of as many equal parts.
        chosen = {by_size[(2 * part + 1) * len(sizes) // (2 * count)] for part in range(count)}
        spool = Spool(state_folder)
        for index, file in enumerate(plan.due()):
            if index in chosen:
                self.sizes[file.path] = sizes[index]
                spool.add(file.path, is_known=file.is_known)
        spool.finish()
        later = plan.later + self.rest_count
        return replace(plan, due_count=len(chosen), later=later, spool=spool)

    def _count(self, total: int) -> int:
        wanted = self._wanted
        if wanted is None:
            return min(total, max(_FEWEST, min(_MOST, round(total * _SHARE))))
        return min(total, max(1, round(total * wanted if wanted < 1 else wanted)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A forecast and how far off it may be."""

    likely: float
    #: Two standard errors below and above, and more for small samples; None: too few files.
    low: float | None
    high: float | None

    def words(self, form: Callable[[float], str] = "{:,.0f}".format) -> str:
        """Return it in words, each number as `form` writes it."""
        likely = form(self.likely)
        if self.low is None or self.high is None:
            return f"about {likely}"
        low, high = form(self.low), form(self.high)
        return likely if low == high else f"about {likely} ({low} to {high})"

    def as_dict(self, to_json: Callable[[float], Any]) -> dict[str, Any]:
        """Return its numbers as JSON values."""
        parts = asdict(self).items()
        return {name: None if part is None else to_json(part) for name, part in parts}


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
    slope = _slope(values, sizes)
    off = rest_size / rest_count - mean_size
    likely = measured + rest_count * (mean + slope * off)
    if count < _FEWEST_TO_SPREAD:
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


def _slope(values: Sequence[float], sizes: Sequence[float]) -> float:
    """Return by how much a value grows with a file's size; 0: size explains less than half."""
    with suppress(StatisticsError):  # all values or all sizes are equal
        if len(values) > _FEWEST_TO_SPREAD and correlation(sizes, values) ** 2 > 0.5:
            return linear_regression(sizes, values).slope
    return 0.0
