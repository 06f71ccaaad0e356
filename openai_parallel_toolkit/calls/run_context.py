"""What the calls of one run share: journal, patience, prices, the stop token and the count."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, Protocol

from ..core.errors import RunStopping
from ..core.records import CallId, Outcome, Reply, Request
from ..costs.budget import Budget
from ..costs.figures import Tally
from ..costs.prices import PriceBook
from ..journal.writer import Done
from .attempts import Policy

#: Takes what came of a call: its reply, or the error instead; from any thread.
Deliver = Callable[["Reply | BaseException"], object]


class StopToken:
    """Open until `close`; then what waits is interrupted and nothing more may be sent.

    One lock guards the reason and the list of those who wait.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interrupts: dict[object, Callable[[], None]] = {}
        #: Why it was closed; None: it is open.
        self.reason: BaseException | None = None

    def is_closed(self) -> bool:
        """Return whether nothing more may be begun."""
        return self.reason is not None

    def close(self, reason: BaseException) -> None:
        """Stop what waits; the first reason stays."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
            interrupts = list(self._interrupts.values())
        for interrupt in interrupts:
            interrupt()

    def check(self) -> None:
        """Raise RunStopping when closed."""
        if self.reason is not None:
            raise RunStopping

    @contextmanager
    def waiting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Have `interrupt` called if it is closed inside the block; RunStopping if it did."""
        token = object()
        with self._lock:
            self._interrupts[token] = interrupt
        try:
            self.check()
            yield
            self.check()
        finally:
            with self._lock:
                self._interrupts.pop(token, None)


class AttemptJournal(Protocol):
    """Where attempts are written down; see `Journal`."""

    def claim(
        self,
        call: CallId,
        *,
        key_name: str,
        model: str,
        max_cost_usd: Decimal | None,
        done: Done | None = None,
        reply_bytes: int | None = None,
        body: bytes | None = None,
        waited_s: float = 0.0,
        wait_reason: str = "",
    ) -> int:
        """An attempt is about to be sent."""

    def answered(
        self,
        attempt_id: int,
        call: CallId,
        outcome: Outcome,
        body: bytes,
        cost_usd: Decimal | None,
        done: Done | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        service_s: float | None = None,
        finish_reason: str = "",
    ) -> None:
        """It got an answer."""

    def ended(
        self,
        attempt_id: int,
        outcome: Outcome,
        cost_usd: Decimal | None = None,
        done: Done | None = None,
        *,
        service_s: float | None = None,
    ) -> None:
        """It got none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What the calls of one run share."""

    #: None: nothing is kept.
    journal: AttemptJournal | None = None
    policy: Policy = field(default_factory=Policy)
    prices: PriceBook
    stop: StopToken = field(default_factory=StopToken)
    tally: Tally = field(default_factory=Tally)
    #: What may be spent; None: as much as it takes.
    budget: Budget | None = None


class WaitedFor(NamedTuple):
    """How long an attempt waited before it could be sent, and for what."""

    seconds: float = 0.0
    #: "limit" that was given, "max_cost", "retry", or what kept the keys back, in a word.
    reason: str = ""


NO_WAIT = WaitedFor()


@dataclass(slots=True, kw_only=True)
class SubmittedCall:
    """One request on its way."""

    request: Request
    id: CallId
    context: RunContext
    #: Of the attempt that comes next.
    wait: WaitedFor = NO_WAIT
    #: Whether the journal has seen the request.
    is_kept: bool = False
