"""Allowances that refill evenly or count a moving minute. Pure; the time is given, in seconds."""

from __future__ import annotations

from collections import deque

_MINUTE_S = 60.0
#: Half a second more than the minute: the way to the server takes now longer, now shorter.
_WINDOW_S = 60.5
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
        level, passed_s = self._level, now_s - self._at_s
        if passed_s > 0:
            level += passed_s * self.rate_per_s
        if level > self.capacity:
            return self.capacity
        return level

    def ready_s(self, amount: float, now_s: float) -> float:
        """Return when `amount` may be taken, `now_s` at the earliest.

        What is larger than the bucket may be taken when the bucket is full.
        """
        level = self.level(now_s)
        if amount <= level:
            return now_s
        amount = min(amount, self.capacity)
        missing = amount - level
        if missing <= _TOLERANCE * amount:
            return now_s
        return now_s + missing / self.rate_per_s

    def take(self, amount: float, now_s: float) -> None:
        """Take `amount`, or give it back when negative; never fills beyond the capacity."""
        level, passed_s = self._level, now_s - self._at_s
        if passed_s > 0:
            level += passed_s * self.rate_per_s
            self._at_s = now_s
        is_full = level > self.capacity
        self._level = (self.capacity if is_full else level) - amount
        if amount < 0 and self._level > self.capacity:
            self._level = self.capacity


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


class SlidingWindow:
    """At most `limit` tokens within any 60 seconds; held tokens count until they are sent."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        #: Clock time and tokens of what was sent, oldest first.
        self._sent: deque[tuple[float, int]] = deque()
        self._sent_tokens = 0
        self._held_tokens = 0

    def ready_s(self, tokens: int, now_s: float) -> float:
        """Return when `tokens` may be held, `now_s` at the earliest.

        What is larger than the window may be held when it is empty.
        """
        while self._sent and self._sent[0][0] + _WINDOW_S <= now_s:
            self._sent_tokens -= self._sent.popleft()[1]
        excess = self._held_tokens + self._sent_tokens + tokens - self._limit
        ready_s = now_s
        for sent_s, amount in self._sent:
            if excess <= 0:
                return ready_s
            excess -= amount
            ready_s = sent_s + _WINDOW_S
        return now_s + _WINDOW_S if excess > 0 and self._held_tokens else ready_s

    def hold(self, tokens: int) -> None:
        """Take tokens, whether or not there is room."""
        self._held_tokens += tokens

    def release(self, tokens: int) -> None:
        """Give held tokens back."""
        self._held_tokens -= tokens

    def sent(self, tokens: int, now_s: float) -> None:
        """Count held tokens from now on: they are sent."""
        self._held_tokens -= tokens
        self._sent.append((now_s, tokens))
        self._sent_tokens += tokens
