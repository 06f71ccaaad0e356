"""Hold the money that requests may cost before they are sent, so that a cap is never overshot."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ..core.errors import BudgetExceeded
from ..core.text import dollars


@dataclass(frozen=True, slots=True, kw_only=True)
class Funds:
    """How a budget stands, USD."""

    cap_usd: Decimal
    #: What is spent, or may be: known cost, and the most that lost answers can have cost.
    spent_usd: Decimal
    #: Set aside for requests that are under way.
    held_usd: Decimal
    #: Requests that wait for money that others may give back.
    waiting: int = 0

    def __str__(self) -> str:
        return f"at most {dollars(self.spent_usd)} of ${self.cap_usd:f} (max_cost)"


@dataclass(slots=True, eq=False)
class Hold:
    """Money that one request asked for: it waits, is granted, or can never be (`error`)."""

    amount_usd: Decimal
    on_ready: Callable[[], None]
    is_granted: bool = False
    error: BudgetExceeded | None = None

    @property
    def is_waiting(self) -> bool:
        return not self.is_granted and self.error is None


class Budget:
    """What may be spent in all: spent and held together never pass the cap.

    Holds are granted in the order in which they were asked for. One that fits beside what is
    spent waits until those under way give enough back; one that does not fit even then fails.

    One lock guards the amounts and the queue; `on_ready` is called without it.
    """

    def __init__(self, cap_usd: Decimal, *, spent_usd: Decimal = Decimal(0)) -> None:
        """Start with what earlier runs spent, or may have."""
        self.cap_usd = cap_usd
        self._lock = threading.Lock()
        self._spent_usd = spent_usd
        self._held_usd = Decimal(0)
        self._queue: deque[Hold] = deque()

    def hold(self, amount_usd: Decimal, on_ready: Callable[[], None]) -> Hold:
        """Ask for money; when the hold waits, `on_ready` is called once it no longer does.

        What is granted must come back through `settle`.
        """
        hold = Hold(amount_usd, on_ready)
        with self._lock:
            self._queue.append(hold)
            ready = [one for one in self._serve() if one is not hold]
        _tell(ready)
        return hold

    def withdraw(self, hold: Hold) -> None:
        """Take a hold back: it is settled at nothing if it was granted, else waits no longer."""
        with self._lock:
            if hold.is_granted:
                self._held_usd -= hold.amount_usd
                hold.is_granted = False
            elif hold in self._queue:
                self._queue.remove(hold)
            ready = self._serve()
        _tell(ready)

    def settle(self, amount_usd: Decimal, cost_usd: Decimal) -> None:
        """Give a granted amount back, of which `cost_usd` is spent, or may be."""
        with self._lock:
            self._held_usd -= amount_usd
            self._spent_usd += cost_usd
            ready = self._serve()
        _tell(ready)

    def allow(self, cap_usd: Decimal) -> None:
        """Have another cap from now on; what is spent or granted already stays so."""
        with self._lock:
            self.cap_usd = cap_usd
            ready = self._serve()
        _tell(ready)

    def funds(self) -> Funds:
        """Return how it stands now."""
        with self._lock:
            return Funds(
                cap_usd=self.cap_usd,
                spent_usd=self._spent_usd,
                held_usd=self._held_usd,
                waiting=len(self._queue),
            )

    def _serve(self) -> list[Hold]:
        """Grant and fail what need not wait; return those holds."""
        ready = []
        while self._queue:
            hold = self._queue[0]
            if hold.amount_usd + self._spent_usd > self.cap_usd:
                hold.error = self._exceeded(hold)
            elif hold.amount_usd + self._spent_usd + self._held_usd <= self.cap_usd:
                hold.is_granted = True
                self._held_usd += hold.amount_usd
            else:
                break
            ready.append(self._queue.popleft())
        return ready

    def _exceeded(self, hold: Hold) -> BudgetExceeded:
        return BudgetExceeded(
            f"max_cost: {dollars(self._spent_usd)} of ${self.cap_usd:f} are spent or may be, and "
            f"the next request can cost up to {dollars(hold.amount_usd)}; run again with a higher "
            "max_cost to go on, or let the requests set a lower max_completion_tokens",
            cap_usd=self.cap_usd,
            spent_usd=self._spent_usd,
            wanted_usd=hold.amount_usd,
        )


def _tell(holds: Sequence[Hold]) -> None:
    for hold in holds:
        hold.on_ready()
