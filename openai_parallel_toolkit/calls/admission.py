"""Get a request its turn, its money and its key, and settle all three when it has ended."""

from __future__ import annotations

from decimal import Decimal

from ..core.errors import ConfigError, RunStopping
from ..core.loop_calls import LoopCalls, settle_future
from ..core.records import Lease, Need, OutcomeKind
from ..costs.budget import Budget
from ..keys import APIKeyManager
from .attempts import End
from .rate_limiter import RateLimiter
from .run_context import RunContext, SubmittedCall


class Admission:
    """Admits requests under leased keys, on the event loop that `calls` calls into."""

    def __init__(
        self, keys: APIKeyManager, calls: LoopCalls, limiter: RateLimiter | None = None
    ) -> None:
        """`limiter` None: there are no limits but those of the keys."""
        self._keys = keys
        self._calls = calls
        self._limiter = limiter

    async def admit(self, need: Need, call: SubmittedCall) -> Lease:
        """Return a lease, with the most that the request can cost set aside.

        Raises:
            NoUsableKey: no key can ever serve it.
            BudgetExceeded: there is not enough money left.
            ConfigError: there is a cap, and what the model costs is not known.
            RunStopping: the run was told to stop.
        """
        context = call.context
        if self._limiter is not None:
            wait_s = self._limiter.wait_s(need.tokens)
            if wait_s > 0:
                await self.pause(wait_s, call)
        context.stop.check()
        if context.budget is None:
            return await self._lend(need, context)
        await self._hold(need, context, context.budget)
        try:
            return await self._lend(need, context)
        except BaseException:
            _give_back(context, need, Decimal(0))
            raise

    def settle(self, end: End, call: SubmittedCall) -> None:
        """Take the lease back and give back what was set aside and not spent."""
        lease, outcome, context = end.lease, end.outcome, call.context
        self._keys.settle(lease, outcome, cost_usd=outcome.cost_usd)
        context.tally.ended(lease, outcome, outcome.cost_usd)
        is_in_doubt = (
            outcome.kind in {OutcomeKind.OK, OutcomeKind.UNKNOWN} and outcome.cost_usd is None
        )
        paid_usd = lease.need.max_cost_usd if is_in_doubt else outcome.cost_usd
        _give_back(context, lease.need, paid_usd or Decimal(0))

    async def pause(self, seconds: float, call: SubmittedCall) -> None:
        """Wait so many seconds; RunStopping ends it."""
        over, wake = self._calls.future()
        timer = self._calls.loop.call_later(seconds, settle_future, over)
        try:
            with call.context.stop.waiting(wake):
                await over
        finally:
            timer.cancel()

    async def _hold(self, need: Need, context: RunContext, budget: Budget) -> None:
        if need.max_cost_usd is None:
            raise no_price(need.model)
        ready, wake = self._calls.future()
        hold = budget.hold(need.max_cost_usd, wake)
        if hold.is_waiting:
            try:
                with context.stop.waiting(wake):
                    await ready
            except BaseException:
                budget.withdraw(hold)
                raise
        if hold.error is not None:
            raise hold.error

    async def _lend(self, need: Need, context: RunContext) -> Lease:
        ready, wake = self._calls.future()
        asked = self._keys.request(need, wake)
        if asked.lease is None and asked.error is None:
            try:
                with context.stop.waiting(lambda: asked.withdraw(RunStopping())):
                    await ready
            except BaseException as exc:
                asked.withdraw(exc)
                raise
        if asked.lease is None:
            raise asked.error or RunStopping()
        return asked.lease


def _give_back(context: RunContext, need: Need, cost_usd: Decimal) -> None:
    """Give back what was set aside for a request, less what it cost or may have cost."""
    if context.budget is not None and need.max_cost_usd is not None:
        context.budget.settle(need.max_cost_usd, cost_usd)


def no_price(model: str) -> ConfigError:
    """Return what is told when a run with a cap asks a model of which no price is known."""
    return ConfigError(
        f"max_cost: what {model!r} costs is not known; give its price in the config, "
        f'"prices": {{"{model}": {{"input": ..., "output": ...}}}}, in USD per million tokens. '
        "(A `generate` of your own cannot be held to a cost.)",
        model=model,
    )
