"""Get a request its turn, its money and its key, and settle all three when it has ended."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from ..core.clock import Clock, SystemClock
from ..core.errors import ConfigError, RunStopping
from ..core.loop_calls import LoopCalls, settle_future
from ..core.records import Lease, Need, Outcome
from ..costs.budget import Budget
from ..keys import APIKeyManager
from ..keys.bucket import TokenBucket
from ..keys.circuit import Outage
from .attempts import End
from .run_context import RunContext, SubmittedCall

#: Of thousands that begin to wait in a second, few look at every key.
_WHY_HOLDS_S = 0.1


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


class Admission:
    """Admits requests under leased keys, on the event loop that `calls` calls into."""

    def __init__(
        self, keys: APIKeyManager, calls: LoopCalls, limiter: RateLimiter | None = None
    ) -> None:
        """`limiter` None: there are no limits but those of the keys."""
        self.keys = keys
        self._calls = calls
        self._limiter = limiter
        #: Why requests for a model wait, and until when that may be told again.
        self._whys: dict[str, tuple[float, str]] = {}

    async def admit(self, need: Need, call: SubmittedCall) -> Lease | Outage:
        """Return a lease, with the most that the request can cost set aside, or raise why not.

        Returns an Outage, with nothing set aside, when there is no server until the deadline.
        """
        context = call.context
        if self._limiter is not None:
            wait_s = self._limiter.wait_s(need.tokens)
            if wait_s > 0:
                call.wait = call.wait._replace(reason="limit")
                await self.pause(wait_s, call)
        context.stop.check()
        if context.budget is None:
            return await self.lend(need, context, call)
        await self._hold(need, call, context.budget)
        lease: Lease | Outage | None = None
        try:
            lease = await self.lend(need, context, call)
        finally:
            if not isinstance(lease, Lease):
                _give_back(context, need, Decimal(0))
        return lease

    def settle(self, end: End, call: SubmittedCall) -> Outcome:
        """Take the lease back and give back what was set aside and not spent.

        A key that has answered nothing but limits for longer than the call's policy bears is given
        up. Returns what follows for the request; see `APIKeyManager.settle`.
        """
        lease, context = end.lease, call.context
        outcome = self.keys.settle(lease, end.outcome, cost_usd=end.outcome.cost_usd)
        limited_s = 0.0 if outcome.standing is None else outcome.standing.limited_for_s
        if limited_s > context.policy.limit_patience_s:
            words = outcome.message or outcome.code
            self.keys.exhaust(lease, f"answered nothing but limits for {limited_s:.0f} s: {words}")
        context.tally.ended(lease, outcome, outcome.cost_usd)
        is_in_doubt = outcome.kind.may_be_billed and outcome.cost_usd is None
        paid_usd = lease.need.max_cost_usd if is_in_doubt else outcome.cost_usd
        _give_back(context, lease.need, paid_usd or Decimal(0))
        return outcome

    async def pause(self, seconds: float, call: SubmittedCall) -> None:
        """Wait so many seconds; RunStopping ends it."""
        over, wake = self._calls.future()
        timer = self._calls.loop.call_later(seconds, settle_future, over)
        try:
            with call.context.stop.waiting(wake):
                await over
        finally:
            timer.cancel()

    async def _hold(self, need: Need, call: SubmittedCall, budget: Budget) -> None:
        if need.max_cost_usd is None:
            raise no_price(need.model)
        ready, wake = self._calls.future()
        hold = budget.hold(need.max_cost_usd, wake)
        if hold.is_waiting:
            call.wait = call.wait._replace(reason="max_cost")
            try:
                with call.context.stop.waiting(wake):
                    await ready
            except BaseException:
                budget.withdraw(hold)
                raise
        if hold.error is not None:
            raise hold.error

    async def lend(
        self, need: Need, context: RunContext, call: SubmittedCall | None = None
    ) -> Lease | Outage:
        """Return a lease with no money set aside, or what outlasted the deadline; raise why not.

        `call` is told why it waits.
        """
        ready, wake = self._calls.future()
        asked = self.keys.request(need, wake)
        if asked.is_waiting:
            if call is not None:
                call.wait = call.wait._replace(reason=self._why(need))
            try:
                with context.stop.waiting(lambda: asked.withdraw(RunStopping())):
                    outage = await self._outlasts(ready, need, context.policy.deadline_s)
            except BaseException as exc:
                asked.withdraw(exc)
                raise
            if outage is not None:
                asked.withdraw(RunStopping())
                return outage
        if asked.lease is None:
            raise asked.error or RunStopping()
        return asked.lease

    def _why(self, need: Need) -> str:
        """Return in a word what keeps the keys back, as it was at most a moment ago."""
        now_s = self.keys.now_s()
        until_s, why = self._whys.get(need.model, (0.0, ""))
        if now_s >= until_s:
            why = self.keys.blocked_by(need)
            self._whys[need.model] = (now_s + _WHY_HOLDS_S, why)
        return why

    async def _outlasts(
        self, ready: asyncio.Future[None], need: Need, deadline_s: float
    ) -> Outage | None:
        """Wait for a lease; return the outage if there is one for `deadline_s` before it is there.

        The outage's time counts, not the call's: all that wait for a server give up together.
        """
        while not ready.done():
            outage = self.keys.outage(need)
            left_s = deadline_s - (outage.lasted_s if outage is not None else 0.0)
            if left_s <= 0:
                return outage
            await asyncio.wait([ready], timeout=left_s)
        return None


def _give_back(context: RunContext, need: Need, cost_usd: Decimal) -> None:
    """Give back what was set aside for a request, less what it cost or may have cost."""
    if context.budget is not None and need.max_cost_usd is not None:
        context.budget.settle(need.max_cost_usd, cost_usd)


def no_price(model: str) -> ConfigError:
    """Return what is told when a run with a cap asks a model of which no price is known."""
    return ConfigError(
        f"max_cost: what {model!r} costs is not known; give its price in the config, "
        f'"prices": {{"{model}": {{"input": ..., "output": ...}}}}, in USD per million tokens; for '
        'audio it wants "audio_input" and "audio_output", for a service_tier "tiers": {"flex": '
        '{"input": ..., "output": ...}}',
        model=model,
    )
