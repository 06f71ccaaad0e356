"""Requests and tokens per minute, as buckets that refill evenly."""

from __future__ import annotations

import math
from dataclasses import dataclass


class Bucket:
    """An allowance of so much a minute; starts full. Not for use by several threads."""

    def __init__(self, per_minute: float, capacity: float, now_s: float) -> None:
        self.per_minute = per_minute
        self.capacity = capacity
        self._level = capacity
        self._since_s = now_s

    def level(self, now_s: float) -> float:
        """Return what may be taken now."""
        grown = (now_s - self._since_s) * self.per_minute / 60
        self._level = min(self.capacity, self._level + max(0.0, grown))
        self._since_s = now_s
        return self._level

    def wait_s(self, amount: float, now_s: float) -> float:
        """Return the seconds until `amount` may be taken: 0 now, infinity never."""
        # A level that refilled to within rounding of the amount is enough.
        lacking = amount - self.level(now_s)
        if lacking <= 1e-6:
            return 0.0
        return math.inf if amount > self.capacity else lacking * 60 / self.per_minute

    def take(self, amount: float) -> None:
        """Take what `wait_s` said is there."""
        self._level -= amount

    def reset_s(self, now_s: float) -> float:
        """Return the seconds until it is full again."""
        return (self.capacity - self.level(now_s)) * 60 / self.per_minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Why a request may not be served now."""

    #: "requests" or "tokens".
    unit: str
    limit: int
    used: int
    requested: int
    #: Infinity: it never fits.
    wait_s: float


class Limits:
    """The limits that the keys of one group share. Not for use by several threads."""

    def __init__(
        self, *, rpm: int | None, tpm: int | None, burst: int | None, now_s: float
    ) -> None:
        self._buckets: dict[str, Bucket] = {}
        if rpm is not None:
            self._buckets["requests"] = Bucket(rpm, rpm if burst is None else burst, now_s)
        if tpm is not None:
            self._buckets["tokens"] = Bucket(tpm, tpm, now_s)

    def take(self, tokens: int, now_s: float) -> Shortage | None:
        """Take one request of `tokens`; when it does not fit, take nothing and say why."""
        if not self._buckets:
            return None
        amounts = {"requests": 1, "tokens": tokens}
        waits = {
            unit: bucket.wait_s(amounts[unit], now_s) for unit, bucket in self._buckets.items()
        }
        worst = max(waits, key=lambda unit: waits[unit])
        if waits[worst] > 0:
            bucket = self._buckets[worst]
            return Shortage(
                unit=worst,
                limit=int(bucket.per_minute),
                used=int(bucket.capacity - bucket.level(now_s)),
                requested=amounts[worst],
                wait_s=waits[worst],
            )
        for unit, bucket in self._buckets.items():
            bucket.take(amounts[unit])
        return None

    def headers(self, now_s: float) -> tuple[tuple[str, str], ...]:
        """Return OpenAI's x-ratelimit headers."""
        lines: list[tuple[str, str]] = []
        for unit, bucket in self._buckets.items():
            remaining = max(0, int(bucket.level(now_s)))
            lines += [
                (f"x-ratelimit-limit-{unit}", str(int(bucket.per_minute))),
                (f"x-ratelimit-remaining-{unit}", str(remaining)),
                (f"x-ratelimit-reset-{unit}", duration(bucket.reset_s(now_s))),
            ]
        return tuple(lines)


def duration(seconds: float) -> str:
    """Return a duration as OpenAI's headers write it: "12ms", "1.5s", "6m0s", "1h0m0s"."""
    milliseconds = math.ceil(seconds * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    tail = f"{rest / 1000:g}s"
    if not minutes:
        return tail
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{tail}" if hours else f"{minutes}m{tail}"
