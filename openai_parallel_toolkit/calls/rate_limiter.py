"""Send no faster than an allowance that refills evenly, over whichever keys."""

from __future__ import annotations

import random

from ..core.clock import Clock
from ..core.records import Lease
from ..keys import APIKeyManager
from ..keys.bucket import TokenBucket
from ..transport import Transport
from . import attempts
from .run_context import RunContext
from .sender import Sender


class RateLimitedSender(Sender):
    """A Sender with limits of its own besides those of the keys; re-sends count as well.

    The buckets are touched on the sender's own thread alone.
    """

    def __init__(
        self,
        keys: APIKeyManager,
        *,
        rate_limit: float | None,
        burst: float | None,
        token_rate_limit: float | None,
        transport: Transport | None = None,
        clock: Clock | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """Limits are per minute, None is no limit; `burst` None: one minute's worth."""
        super().__init__(keys, transport=transport, clock=clock, chance=chance)
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

    async def _admit(self, step: attempts.Admit, context: RunContext) -> Lease:
        wait_s = self._book(step.need.tokens) - self._clock.now_s()
        if wait_s > 0:
            await self._pause(wait_s, context)
        return await super()._admit(step, context)

    def _book(self, tokens: int) -> float:
        """Take the next turn, behind all that were given out; return its clock time, seconds."""
        after_s = max(self._turn_s, self._clock.now_s())
        amounts = [(self._requests, 1), (self._tokens, tokens)]
        taken = [(bucket, amount) for bucket, amount in amounts if bucket is not None]
        turns_s = [bucket.ready_s(amount, after_s) for bucket, amount in taken]
        self._turn_s = max([after_s, *turns_s])
        for bucket, amount in taken:
            bucket.take(amount, self._turn_s)
        return self._turn_s
