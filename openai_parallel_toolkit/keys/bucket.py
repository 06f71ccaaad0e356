"""A token bucket: an allowance that refills evenly. Pure; the time is an argument, in seconds."""

from __future__ import annotations

import math

from ..core.records import RateHints

_MINUTE_S = 60.0
#: Share of an amount that may be missing: rounding, not debt.
_TOLERANCE = 1e-6


class TokenBucket:
    """At most `capacity` at once and `rate_per_s` in the long run; starts full."""

    __slots__ = ("_at_s", "_level", "capacity", "rate_per_s")

    def __init__(self, per_minute: float, now_s: float, *, capacity: float | None = None) -> None:
        """`capacity` None: one minute's worth."""
        self.capacity = float(per_minute if capacity is None else capacity)
        self.rate_per_s = per_minute / _MINUTE_S
        self._level = self.capacity
        self._at_s = now_s

    def level(self, now_s: float) -> float:
        """Return what may be taken at once; below zero after a request larger than the bucket."""
        return min(self.capacity, self._level + max(0.0, now_s - self._at_s) * self.rate_per_s)

    def ready_s(self, amount: float, now_s: float) -> float:
        """Return when `amount` may be taken, `now_s` at the earliest.

        What is larger than the bucket may be taken when the bucket is full.
        """
        amount = min(amount, self.capacity)
        missing = amount - self.level(now_s)
        if missing <= _TOLERANCE * amount:
            return now_s
        return now_s + missing / self.rate_per_s

    def take(self, amount: float, now_s: float) -> None:
        """Take `amount`, or give it back when negative; never fills beyond the capacity."""
        self._level = min(self.capacity, self.level(now_s) - amount)
        self._at_s = max(self._at_s, now_s)

    def learn(self, limit: int, remaining: int | None, reset_s: float | None, now_s: float) -> None:
        """Take over what a provider said; it may only lower the level."""
        level = self.level(now_s)
        self.capacity = float(limit)
        self._at_s = max(self._at_s, now_s)
        if remaining is None:
            self._level = min(level, self.capacity)
            return
        remaining = min(max(remaining, 0), limit)
        self._level = min(level, float(remaining))
        if reset_s is not None and 0 < reset_s < math.inf and remaining < limit:
            self.rate_per_s = (limit - remaining) / reset_s


class LearnedLimits:
    """The limits of one group for one model, as the replies' headers tell them."""

    __slots__ = ("requests", "tokens")

    def __init__(self) -> None:
        self.requests: TokenBucket | None = None
        self.tokens: TokenBucket | None = None

    def learn_requests(self, hints: RateHints, now_s: float) -> None:
        """Learn from the x-ratelimit-*-requests headers."""
        self.requests = _learned(
            self.requests,
            hints.limit_requests,
            hints.remaining_requests,
            hints.reset_requests_s,
            now_s,
        )

    def learn_tokens(self, hints: RateHints, now_s: float) -> None:
        """Learn from the x-ratelimit-*-tokens headers."""
        self.tokens = _learned(
            self.tokens, hints.limit_tokens, hints.remaining_tokens, hints.reset_tokens_s, now_s
        )


def _learned(
    bucket: TokenBucket | None,
    limit: int | None,
    remaining: int | None,
    reset_s: float | None,
    now_s: float,
) -> TokenBucket | None:
    if limit is None or limit < 1:
        return bucket
    bucket = bucket or TokenBucket(limit, now_s)
    bucket.learn(limit, remaining, reset_s, now_s)
    return bucket
