"""What calls came to: counts, tokens and cost, as data, as words and as JSON values."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from ..core.records import Lease, Outcome, OutcomeKind
from ..core.text import counted, dollars

COST_UNKNOWN = "cost unknown (no price is set for the model)"


def usd_text(amount_usd: Decimal | None) -> str | None:
    """Return dollars as text, exactly; None: not known."""
    return None if amount_usd is None else format(amount_usd, "f")


def usd_sum(amounts_usd: Iterable[Decimal | None]) -> Decimal | None:
    """Add amounts up; None: one of them is not known."""
    total = Decimal(0)
    for amount in amounts_usd:
        if amount is None:
            return None
        total += amount
    return total


def token_words(tokens: int, answers: int) -> str:
    """Return the tokens of so many answers in words; none at all: they do not say."""
    return counted(tokens, "token") if tokens or not answers else "tokens unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What something cost, from what is known to what is possible, USD; unknown is never 0."""

    known_usd: Decimal
    #: `known_usd` and the most that what is in doubt can have cost.
    max_usd: Decimal
    #: Parts without a price: they are in neither amount.
    unpriced: int

    @property
    def is_known(self) -> bool:
        """Whether anything is known of it."""
        return bool(self.known_usd) or not (self.unpriced or self.max_usd)

    @property
    def now(self) -> str:
        """What is known of it, in words."""
        return dollars(self.known_usd) if self.is_known else "unknown"

    def words(self, unit: str = "call") -> str:
        """Return it in words; `unit` is what has a price or none."""
        if not (self.known_usd or self.max_usd) and self.unpriced:
            return COST_UNKNOWN
        known = dollars(self.known_usd) if self.is_known else "cost unknown"
        if self.max_usd > self.known_usd:
            known += f"{' known' * self.is_known}, at most {dollars(self.max_usd)}"
        return known + (
            f" and {counted(self.unpriced, unit)} without a price" * bool(self.unpriced)
        )

    def as_dict(self) -> dict[str, str | None]:
        """Return both amounts as JSON values; what is not known is null."""
        return {
            "cost_usd": usd_text(self.known_usd) if self.is_known else None,
            "max_cost_usd": None if self.unpriced else usd_text(self.max_usd),
        }


@dataclass(slots=True, kw_only=True)
class Figures:
    """What some attempts came to. An attempt is one request that was, or was about to be, sent.

    Who counts with `begin` and `end` keeps them to itself and hands out copies.
    """

    #: Whatever came of them; those that reached no server do not count.
    sent: int = 0
    answered: int = 0
    #: Ended with no whole reply: maybe billed.
    unknown: int = 0
    #: Without an end: in flight now, or lost when their process died, then maybe billed.
    unanswered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: Part of prompt_tokens.
    cached_tokens: int = 0
    #: Known cost.
    cost_usd: Decimal = Decimal(0)
    #: The most that attempts of unknown cost can have cost besides.
    doubt_usd: Decimal = Decimal(0)
    #: Maybe billed attempts without a price: they are in neither amount.
    unpriced: int = 0
    #: Calls whose answer was in the journal already.
    replayed: int = 0
    #: Answers that do not say, or not legibly, how many tokens they took.
    uncounted: int = 0
    #: The same for each key, where it is told.
    by_key: Mapping[str, Figures] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """All tokens that were counted."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def tokens_words(self) -> str:
        """All tokens that were counted, in words."""
        return token_words(self.tokens, self.answered)

    @property
    def max_cost_usd(self) -> Decimal:
        """Known cost and all doubt, USD."""
        return self.cost_usd + self.doubt_usd

    @property
    def cost(self) -> Cost:
        """What they cost."""
        return Cost(known_usd=self.cost_usd, max_usd=self.max_cost_usd, unpriced=self.unpriced)

    def as_dict(self, *counts: str) -> dict[str, Any]:
        """Return these counts and the cost as JSON values."""
        told = {name: getattr(self, name) for name in (*counts, "unpriced")}
        return {**told, **self.cost.as_dict()}

    def begin(self, max_cost_usd: Decimal | None) -> None:
        """Count an attempt that is about to be sent; None: its price is not known."""
        self.sent += 1
        self.unanswered += 1
        self.doubt(max_cost_usd, 1)

    def end(self, max_cost_usd: Decimal | None, outcome: Outcome, cost_usd: Decimal | None) -> None:
        """Count the end of an attempt that `begin` counted; `cost_usd` None: not known."""
        kind, usage = outcome.kind, outcome.usage
        self.unanswered -= 1
        self.sent -= kind is OutcomeKind.UNSENT
        self.answered += kind.is_answer
        self.unknown += kind is OutcomeKind.UNKNOWN
        self.uncounted += kind.is_answer and usage is None
        if usage is not None:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
            self.cached_tokens += usage.cached_tokens
        if cost_usd is not None:
            self.cost_usd += cost_usd
        if cost_usd is not None or not kind.may_be_billed:
            self.doubt(max_cost_usd, -1)

    def doubt(self, max_cost_usd: Decimal | None, sign: int) -> None:
        """Add (1) or take away (-1) what an attempt may cost."""
        if max_cost_usd is None:
            self.unpriced += sign
        else:
            self.doubt_usd += sign * max_cost_usd

    def __add__(self, other: Figures) -> Figures:
        names = (*COUNTED, "uncounted")
        return Figures(**{name: getattr(self, name) + getattr(other, name) for name in names})


#: What the journal adds up: what an attempt changes.
COUNTED = tuple(Figures.__dataclass_fields__)[:-3]


class Tally:
    """Adds up a run's calls as they happen; one lock guards all figures."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._replayed = 0
        self._keys: defaultdict[str, Figures] = defaultdict(Figures)

    def sent(self, lease: Lease) -> None:
        """Count an attempt that is on its way."""
        with self._lock:
            self._keys[lease.key_name].sent += 1

    def replayed(self, calls: int = 1) -> None:
        """Count calls whose answers were kept."""
        with self._lock:
            self._replayed += calls

    def ended(self, lease: Lease, outcome: Outcome, cost_usd: Decimal | None) -> None:
        """Count an attempt's end; `cost_usd` None: not known."""
        if not outcome.kind.is_answer:  # what was of no use has no tokens to tell of
            outcome = replace(outcome, usage=None)
        most_usd = lease.need.max_cost_usd
        with self._lock:
            figures = self._keys[lease.key_name]
            figures.unanswered += 1  # in doubt from here on: what is under way is not told so
            figures.doubt(most_usd, 1)
            figures.end(most_usd, outcome, cost_usd)

    def figures(self) -> Figures:
        """Return how it stands now."""
        with self._lock:
            keys = {name: replace(figures) for name, figures in self._keys.items()}
            replayed = self._replayed
        return replace(sum(keys.values(), Figures()), replayed=replayed, by_key=keys)
