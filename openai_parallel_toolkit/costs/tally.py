"""Count what a run sends, gets and spends."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from ..core.records import Lease, Outcome, OutcomeKind, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigures:
    """What one key did in a run."""

    sent: int = 0
    answered: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFigures:
    """What the calls of a run came to."""

    #: Attempts that were sent, whatever came of them; those that reached no server do not count.
    sent: int = 0
    #: Attempts that got a usable answer.
    answered: int = 0
    #: Calls whose answer was in the journal already.
    replayed: int = 0
    #: Attempts that may have been billed although no answer came.
    unknown: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: Cost of the answers whose model has a known price.
    cost_usd: Decimal = Decimal(0)
    #: `cost_usd` plus the most that the unknown attempts can have cost.
    max_cost_usd: Decimal = Decimal(0)
    #: Attempts whose cost is not known because the model has no price.
    unpriced: int = 0
    by_key: Mapping[str, KeyFigures] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Tally:
    """Adds up a run's calls as they happen; one lock guards all figures."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent = self._answered = self._replayed = self._unknown = self._unpriced = 0
        self._prompt_tokens = self._completion_tokens = 0
        self._cost_usd = self._doubt_usd = Decimal(0)
        self._keys: dict[str, list[int]] = {}

    def sent(self, lease: Lease) -> None:
        with self._lock:
            self._sent += 1
            self._of(lease.key_name)[0] += 1

    def replayed(self) -> None:
        with self._lock:
            self._replayed += 1

    def ended(self, lease: Lease, outcome: Outcome, cost_usd: Decimal | None) -> None:
        """Count an attempt's end; `cost_usd` None: not known."""
        usage = outcome.usage or Usage()
        with self._lock:
            if outcome.kind is OutcomeKind.OK:
                self._answered += 1
                figures = self._of(lease.key_name)
                figures[1] += 1
                figures[2] += usage.total_tokens
                self._prompt_tokens += usage.prompt_tokens
                self._completion_tokens += usage.completion_tokens
                self._cost_usd += cost_usd or 0
                self._unpriced += cost_usd is None
            elif outcome.kind is OutcomeKind.UNSENT:
                self._sent -= 1
                self._of(lease.key_name)[0] -= 1
            elif outcome.kind is OutcomeKind.UNKNOWN:
                self._unknown += 1
                self._doubt_usd += lease.need.max_cost_usd or 0
                self._unpriced += lease.need.max_cost_usd is None

    def _of(self, key_name: str) -> list[int]:
        return self._keys.setdefault(key_name, [0, 0, 0])

    def figures(self) -> CallFigures:
        """Return how it stands now."""
        with self._lock:
            return CallFigures(
                sent=self._sent,
                answered=self._answered,
                replayed=self._replayed,
                unknown=self._unknown,
                prompt_tokens=self._prompt_tokens,
                completion_tokens=self._completion_tokens,
                cost_usd=self._cost_usd,
                max_cost_usd=self._cost_usd + self._doubt_usd,
                unpriced=self._unpriced,
                by_key={
                    name: KeyFigures(sent=sent, answered=answered, tokens=tokens)
                    for name, (sent, answered, tokens) in self._keys.items()
                },
            )
