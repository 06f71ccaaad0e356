"""Hold the money of whole batches in the run's budget."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ..calls.admission import no_price
from ..core.errors import BudgetExceeded
from ..costs.budget import Budget
from ..journal.batch_rows import Line, LineEnd

_NOTHING = Decimal(0)


class BatchBudget:
    """What batches may cost. Used by the scheduler's thread alone."""

    def __init__(self, budget: Budget | None) -> None:
        self._budget = budget
        #: What was set aside, by batch; batches of earlier runs count as spent already.
        self._held: dict[int, Decimal] = {}

    def affordable(self, lines: Sequence[Line], model: str) -> Sequence[Line]:
        """Return as many of the first lines as there is money for.

        Raises:
            BudgetExceeded: there is none for the first, and none is held that may come back.
            ConfigError: what the model costs is not known.
        """
        if self._budget is None:
            return lines
        funds = self._budget.funds()
        left_usd = funds.cap_usd - funds.spent_usd - funds.held_usd
        for count, line in enumerate(lines):
            if line.max_cost_usd is None:
                raise no_price(model)
            left_usd -= line.max_cost_usd
            if left_usd < 0:
                if not count and not funds.held_usd:
                    raise self._exceeded(line)
                return lines[:count]
        return lines

    def hold(self, batch_id: int, lines: Sequence[Line]) -> None:
        """Set aside the most that a batch of these lines can cost."""
        if self._budget is None:
            return
        amount_usd = sum((line.max_cost_usd or _NOTHING for line in lines), _NOTHING)
        hold = self._budget.hold(amount_usd, lambda: None)
        if hold.error is not None:
            raise hold.error
        self._held[batch_id] = amount_usd

    def settle(self, batch_id: int, ends: Sequence[LineEnd]) -> None:
        """Give back what these lines of a batch had set aside, less what they cost."""
        if self._budget is None:
            return
        most = sum((end.sent.max_cost_usd or _NOTHING for end in ends), _NOTHING)
        cost = sum((_cost_usd(end) for end in ends), _NOTHING)
        if batch_id in self._held:
            self._held[batch_id] -= most
            self._budget.settle(most, cost)
        else:
            self._budget.settle(_NOTHING, cost - most)

    def _exceeded(self, line: Line) -> BudgetExceeded:
        assert self._budget is not None
        hold = self._budget.hold(line.max_cost_usd or _NOTHING, lambda: None)
        self._budget.withdraw(hold)
        return hold.error or BudgetExceeded()


def _cost_usd(end: LineEnd) -> Decimal:
    if end.cost_usd is not None:
        return end.cost_usd
    is_in_doubt = end.outcome.kind.may_be_billed
    return (end.sent.max_cost_usd or _NOTHING) if is_in_doubt else _NOTHING
