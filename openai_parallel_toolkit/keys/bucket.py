"""Token buckets: allowances that refill evenly. Pure; the time is an argument, in seconds."""

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


class RateLimits:
    """Requests and tokens per minute. None: no limit, or none that is known."""

    __slots__ = ("requests", "tokens")

    def __init__(self, rpm: int | None, tpm: int | None, now_s: float) -> None:
        self.requests = TokenBucket(rpm, now_s) if rpm else None
        self.tokens = TokenBucket(tpm, now_s) if tpm else None

    def take(self, requests: int, tokens: int, now_s: float) -> None:
        """Take from both; negative gives back."""
        if self.requests is not None and requests:
            self.requests.take(requests, now_s)
        if self.tokens is not None:
            self.tokens.take(tokens, now_s)

    def learn_requests(self, hints: RateHints, now_s: float) -> None:
        """Learn from the x-ratelimit-*-requests headers."""
        limit = hints.limit_requests
        if limit is not None and limit >= 1:
            self.requests = self.requests or TokenBucket(limit, now_s)
            self.requests.learn(limit, hints.remaining_requests, hints.reset_requests_s, now_s)

    def learn_tokens(self, hints: RateHints, now_s: float) -> None:
        """Learn from the x-ratelimit-*-tokens headers."""
        limit = hints.limit_tokens
        if limit is not None and limit >= 1:
            self.tokens = self.tokens or TokenBucket(limit, now_s)
            self.tokens.learn(limit, hints.remaining_tokens, hints.reset_tokens_s, now_s)
