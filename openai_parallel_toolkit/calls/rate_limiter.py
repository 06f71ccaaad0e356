"""Send no faster than an allowance that refills evenly, over whichever keys."""

from __future__ import annotations

from ..core.clock import Clock, SystemClock
from ..keys.bucket import TokenBucket


class RateLimiter:
    """Limits of a sender besides those of its keys; re-sends count as well.

    The buckets are touched on the sender's own thread alone.
    """

    def __init__(
        self,
        *,
        rate_limit: float | None = None,
        burst: float | None = None,
        token_rate_limit: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Limits are per minute, None is no limit; `burst` None: one minute's worth."""
        self._clock = clock or SystemClock()
        #: Clock time, seconds, of the last turn that was given out.
        self._turn_s = self._clock.now_s()
        self._requests = self._tokens = None
        if rate_limit is not None:
            self._requests = TokenBucket(rate_limit, self._turn_s, capacity=burst)
        if token_rate_limit is not None:
            self._tokens = TokenBucket(token_rate_limit, self._turn_s)

    def holds_back(self) -> bool:
        """Return whether a request waits for its turn; any thread may ask."""
        return self._turn_s > self._clock.now_s()

    def wait_s(self, tokens: int) -> float:
        """Take the next turn, behind all that were given out; return the seconds until then."""
        now_s = self._clock.now_s()
        after_s = max(self._turn_s, now_s)
        amounts = [(self._requests, 1), (self._tokens, tokens)]
        taken = [(bucket, amount) for bucket, amount in amounts if bucket is not None]
        turns_s = [bucket.ready_s(amount, after_s) for bucket, amount in taken]
        self._turn_s = max([after_s, *turns_s])
        for bucket, amount in taken:
            bucket.take(amount, self._turn_s)
        return self._turn_s - now_s
