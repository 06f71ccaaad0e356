"""What the calls of one run share: journal, patience, prices, the gate and the count."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from ..core.records import CallId, Outcome
from ..costs.budget import Budget
from ..costs.figures import Tally
from ..costs.prices import PriceBook
from .attempts import Policy
from .stop_token import StopToken

#: Called once a write is durable, with the error if it is not; from the journal's thread.
Done = Callable[["BaseException | None"], None]


class CallJournal(Protocol):
    """What a call asks of a journal. Each write returns at once; `done` follows."""

    def claim(
        self,
        call: CallId,
        *,
        key_name: str,
        model: str,
        max_cost_usd: Decimal | None,
        done: Done | None = None,
    ) -> int:
        """Record that an attempt will be sent; return its id."""
        ...

    def answered(
        self,
        attempt_id: int,
        call: CallId,
        outcome: Outcome,
        body: bytes,
        cost_usd: Decimal | None,
        done: Done | None = None,
    ) -> None:
        """Record an attempt's answer."""
        ...

    def ended(
        self,
        attempt_id: int,
        outcome: Outcome,
        cost_usd: Decimal | None = None,
        done: Done | None = None,
    ) -> None:
        """Record that an attempt ended without an answer."""
        ...


class NoJournal:
    """Keeps nothing: for calls that belong to no file."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)

    def claim(self, call: CallId, *, done: Done | None = None, **_: object) -> int:
        del call
        if done is not None:
            done(None)
        return next(self._ids)

    def answered(
        self,
        attempt_id: int,
        call: CallId,
        outcome: Outcome,
        body: bytes,
        cost_usd: Decimal | None,
        done: Done | None = None,
    ) -> None:
        del attempt_id, call, outcome, body, cost_usd
        if done is not None:
            done(None)

    def ended(
        self,
        attempt_id: int,
        outcome: Outcome,
        cost_usd: Decimal | None = None,
        done: Done | None = None,
    ) -> None:
        del attempt_id, outcome, cost_usd
        if done is not None:
            done(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What the calls of one run share."""

    journal: CallJournal = field(default_factory=NoJournal)
    policy: Policy = field(default_factory=Policy)
    prices: PriceBook
    stop: StopToken = field(default_factory=StopToken)
    tally: Tally = field(default_factory=Tally)
    #: What may be spent; None: as much as it takes.
    budget: Budget | None = None
