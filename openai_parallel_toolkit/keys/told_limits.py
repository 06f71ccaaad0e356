"""Limits as the headers of replies tell them, of whatever shape they prove to be. Pure.

A provider says how much there is, how much remains and when it is whole again, but not how it comes
back. Three shapes are in use; what each foretells of the next reply is compared with what it said.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import NamedTuple

from ..core.records import RateHints
from .bucket import RateLimits, TokenBucket

_MINUTE_S = 60.0
#: How much of the earlier errors a look at one more reply leaves.
_KEPT_ERRORS = 0.9
#: How much of an even rate that was found a look at one more reply leaves.
_KEPT_RATE = 0.995
#: Another shape than a minute's must foretell so much better.
_BETTER = 3.0
#: Seconds of doubt in any time that is told: the reply's way here takes now longer, now shorter.
_DOUBT_S = 0.1
#: Share of a window that its end may be told earlier or later and still be the same one.
_SAME_END = 0.25
_SHORTEST_WINDOW_S = 1.0


class Shape(Enum):
    """How an allowance comes back."""

    #: Evenly, all of it in a minute; there may be less at once than the limit says.
    MINUTE = "a minute's, evenly"
    #: Evenly, all of it in some other time, and all of it may be there at once.
    EVEN = "evenly"
    #: All of it at the end of a window.
    WINDOW = "at the end of a window"


class _Told(NamedTuple):
    """What one reply said."""

    at_s: float
    remaining: int
    reset_s: float


class ToldLimit(TokenBucket):
    """One limit, of requests or of tokens."""

    limit: int
    _shape: Shape
    _errors: dict[Shape, float]
    _told: _Told | None
    _whole: float
    _rounded_s: float
    _ends_s: float
    _window_s: float
    _looked_s: float
    _is_new_window: bool

    __slots__ = (
        "_ends_s",
        "_errors",
        "_is_new_window",
        "_looked_s",
        "_rounded_s",
        "_shape",
        "_told",
        "_whole",
        "_window_s",
        "limit",
    )

    def __init__(self, limit: int, now_s: float) -> None:
        super().__init__(limit, now_s)
        self._forget(limit)

    def ready_s(self, amount: float, now_s: float) -> float:
        if self.rate_per_s:  # of a window it has none
            is_there = amount <= self._level and amount <= self.capacity
            return now_s if is_there else super().ready_s(amount, now_s)
        if now_s >= self._ends_s:
            return now_s
        is_there = min(amount, self.capacity) <= self._level
        # One request finds out whether a new window has begun; the others wait for its reply.
        is_tried = self._is_new_window and self._level < self.capacity
        return now_s if is_there and not is_tried else self._ends_s

    def take(self, amount: float, now_s: float) -> None:
        if now_s >= self._ends_s:
            passed = (now_s - self._ends_s) // self._window_s
            self._ends_s += (passed + 1) * self._window_s
            self._level, self._is_new_window = self.capacity, True
        TokenBucket.take(self, amount, now_s)

    def learn(self, limit: int, remaining: int | None, reset_s: float | None, now_s: float) -> None:
        """Take over what a reply said; it may only lower what is left.

        Args:
            remaining: when it was written; None: it did not say.
            reset_s: seconds until all of it is there; None: it did not say.
        """
        if limit != self.limit:
            self.take(0, now_s)
            self._forget(limit)
        elif now_s >= self._ends_s:
            self.take(0, now_s)
        if remaining is None:
            return
        if not 0 <= remaining <= limit:
            remaining = 0 if remaining < 0 else limit
        is_due = now_s >= self._looked_s + _DOUBT_S or not self.rate_per_s
        if is_due and reset_s is not None and 0 <= reset_s < math.inf:
            self._looked_s = now_s
            told = _Told(now_s, remaining, reset_s)
            self._rounded_s = 0.001 if reset_s % 1 else self._rounded_s
            self._compare(told)
            if self._is_of_before(told):
                return
            self._fit(told)
        if remaining < self.level(now_s):
            self._level, self._at_s = float(remaining), now_s

    def _forget(self, limit: int) -> None:
        """Begin with a limit of which nothing is known."""
        #: As it was told; what is there at once may be less.
        self.limit = limit
        self.capacity = float(limit)
        self._level = min(self._level, self.capacity)
        self.rate_per_s = limit / _MINUTE_S
        self._shape = Shape.MINUTE
        #: The least that there is at once when all of it is there.
        self._whole = 1.0
        #: Seconds by which the times that are told may be rounded up.
        self._rounded_s = 1.0
        self._errors = dict.fromkeys(Shape, 0.0)
        #: Clock time, seconds, of the last reply that was looked at closely.
        self._looked_s = -math.inf
        #: The earlier reply with which the next ones are compared.
        self._told: _Told | None = None
        #: Clock time, seconds, and seconds, of a window.
        self._ends_s = math.inf
        self._window_s = _SHORTEST_WINDOW_S
        #: Whether it has begun by the clock alone, and no reply has said so yet.
        self._is_new_window = False

    def _compare(self, told: _Told) -> None:
        """Choose the shape that foretells best."""
        last = self._told
        is_window = self._shape is Shape.WINDOW
        if last is not None and is_window and told.at_s < last.at_s + self._rounded_s:
            return  # too soon after for a difference that is more than rounding
        self._told = told
        if last is None:
            return
        used, used_before = self.limit - told.remaining, self.limit - last.remaining
        unit_s = _MINUTE_S / self.limit
        foretold = {
            Shape.MINUTE: last.reset_s + (used - used_before) * unit_s,
            Shape.EVEN: last.reset_s * used / used_before if used_before else told.reset_s,
            Shape.WINDOW: last.reset_s - (told.at_s - last.at_s),
        }
        if foretold[Shape.WINDOW] < 0:  # it has ended since
            foretold[Shape.WINDOW] = told.reset_s
        # What remains is told rounded down, and what is foretold from a rounded time is as rough.
        rounded_s = dict.fromkeys(Shape, self._rounded_s)
        rounded_s[Shape.MINUTE] += unit_s
        rounded_s[Shape.EVEN] *= max(1.0, used / max(1, used_before))
        for shape, reset_s in foretold.items():
            error = max(0.0, abs(reset_s - told.reset_s) - rounded_s[shape])
            self._errors[shape] = _KEPT_ERRORS * self._errors[shape] + error
        doubt_s, best = _DOUBT_S + 2 * unit_s, self._shape
        for shape in Shape:
            if self._errors[shape] * _BETTER + doubt_s < self._errors[best]:
                best = shape
        if best is Shape.WINDOW and not is_window:
            self.rate_per_s = 0.0
            self._window_s = max(_SHORTEST_WINDOW_S, last.reset_s, told.reset_s)
            self._ends_s = told.at_s + told.reset_s
        elif is_window and best is not Shape.WINDOW:
            self.rate_per_s = self.limit / _MINUTE_S
            self._ends_s = math.inf
        self._shape = best

    def _is_of_before(self, told: _Told) -> bool:
        """Return whether a reply speaks of a window that has ended."""
        if self._shape is not Shape.WINDOW:
            return False
        began_s = self._ends_s - self._window_s
        return told.at_s + told.reset_s < began_s + _SAME_END * self._window_s

    def _fit(self, told: _Told) -> None:
        """Fit the shape to what a reply said."""
        used = self.limit - told.remaining
        if self._shape is Shape.WINDOW:
            ends_s = told.at_s + told.reset_s
            self.capacity = float(self.limit)
            self._window_s = max(self._window_s, told.reset_s)
            if ends_s > self._ends_s + _SAME_END * self._window_s:  # it began earlier than thought
                self._level = self.capacity
            self._ends_s, self._is_new_window = ends_s, False
        elif self._shape is Shape.EVEN:
            # What remains is told rounded down, and the time rounded up: it is at least as fast.
            self.capacity = float(self.limit)
            if told.reset_s:
                found = max(used - 1, 0) / told.reset_s
                self.rate_per_s = max(found, _KEPT_RATE * self.rate_per_s)
        else:
            self.rate_per_s = self.limit / _MINUTE_S
            reset_s = max(0.0, told.reset_s - self._rounded_s)
            self._whole = max(self._whole, told.remaining + reset_s * self.rate_per_s)
            self.capacity = min(float(self.limit), self._whole)


class ToldLimits(RateLimits):
    """Requests and tokens, as replies tell them. None: no limit, or none that is known."""

    __slots__ = ()

    requests: ToldLimit | None
    tokens: ToldLimit | None

    def __init__(self) -> None:
        super().__init__(None, None, 0.0)

    def learn(self, hints: RateHints, now_s: float, *, requests: bool, tokens: bool) -> None:
        """Learn `requests` and `tokens` from the headers of a reply."""
        limit = hints.limit_requests
        if requests and limit is not None and limit >= 1:
            if self.requests is None:
                self.requests = ToldLimit(limit, now_s)
            self.requests.learn(limit, hints.remaining_requests, hints.reset_requests_s, now_s)
        limit = hints.limit_tokens
        if tokens and limit is not None and limit >= 1:
            if self.tokens is None:
                self.tokens = ToldLimit(limit, now_s)
            self.tokens.learn(limit, hints.remaining_tokens, hints.reset_tokens_s, now_s)
