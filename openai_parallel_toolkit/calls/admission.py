"""Get a request its money and its key, waiting while others may give some back."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from ..core.errors import ConfigError, RunStopping
from ..core.loop_calls import LoopCalls, settle_future
from ..core.records import Lease, Need
from ..costs.budget import Budget
from ..keys import APIKeyManager
from .run_context import RunContext


class Admission:
    """Admits requests, on the event loop that `mail` calls into."""

    def __init__(
        self, keys: APIKeyManager, loop: asyncio.AbstractEventLoop, mail: LoopCalls
    ) -> None:
        self._keys = keys
        self._loop = loop
        self._mail = mail

    async def admit(self, need: Need, context: RunContext) -> Lease:
        """Return a lease, with the most that the request can cost set aside.

        Raises:
            NoUsableKey: no key can ever serve it.
            BudgetExceeded: there is not enough money left.
            ConfigError: there is a cap, and what the model costs is not known.
            RunStopping: the run was told to stop.
        """
        context.stop.check()
        if context.budget is None:
            return await self._lend(need, context)
        await self._hold(need, context, context.budget)
        try:
            return await self._lend(need, context)
        except BaseException:
            give_back(context, need, Decimal(0))
            raise

    async def _hold(self, need: Need, context: RunContext, budget: Budget) -> None:
        if need.max_cost_usd is None:
            raise no_price(need.model)
        ready = self._loop.create_future()

        def wake() -> None:
            self._mail.post(settle_future, ready, None)

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
        ready = self._loop.create_future()
        ticket = self._keys.request(need, lambda: self._mail.post(settle_future, ready, None))
        if ticket.lease is None and ticket.error is None:
            try:
                with context.stop.waiting(lambda: ticket.withdraw(RunStopping())):
                    await ready
            except BaseException as exc:
                ticket.withdraw(exc)
                raise
        if ticket.lease is None:
            raise ticket.error or RunStopping()
        return ticket.lease


def give_back(context: RunContext, need: Need, cost_usd: Decimal) -> None:
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
