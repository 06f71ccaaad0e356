"""What the calls of one run share: journal, patience, prices, the stop token and the count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from ..core.loop_calls import Done
from ..core.records import CallId, Outcome, Reply, Request
from ..costs.budget import Budget
from ..costs.figures import Tally
from ..costs.prices import PriceBook
from ..transport import Transport
from .attempts import Policy
from .stop_token import StopToken

#: Takes what came of a call: its reply, or the error instead; from any thread.
Deliver = Callable[["Reply | BaseException"], object]


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

    def ended(self, attempt_id: int, outcome: Outcome) -> None:
        """Record that an attempt ended without an answer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What the calls of one run share."""

    #: None: nothing is kept.
    journal: CallJournal | None = None
    policy: Policy = field(default_factory=Policy)
    prices: PriceBook
    stop: StopToken = field(default_factory=StopToken)
    tally: Tally = field(default_factory=Tally)
    #: What may be spent; None: as much as it takes.
    budget: Budget | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedCall:
    """One request on its way."""

    request: Request
    id: CallId
    context: RunContext
    #: What sends it; None: the sender's own transport.
    transport: Transport | None = None
