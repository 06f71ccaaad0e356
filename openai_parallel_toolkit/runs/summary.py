"""What every run comes to: as a record, as JSON values and as a paragraph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any

from ..core.text import counted, duration
from ..costs.budget import Funds
from ..costs.figures import Figures, usd_text

#: Why a run stopped, where the error follows that says it in full.
SEE_THE_ERROR = "see the error."


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(ABC):
    """What a run came to; a subclass adds its counts and `lines`."""

    seconds: float = 0.0
    #: Why the run ended before its work did; "" when it did not.
    stopped: str = ""

    @abstractmethod
    def lines(self) -> Iterator[str]:
        """Yield it in words, line by line."""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; money as text, null where it is not known."""
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        return {n: usd_text(v) if isinstance(v, Decimal) else v for n, v in told.items()}

    def beside_error(self) -> str:
        """Return it in words for where the error follows that stopped the run and says why."""
        return str(replace(self, stopped=SEE_THE_ERROR))

    def time_words(self, *counts: tuple[int, str]) -> str:
        """Return the counts that are not 0, the first one always, how long it took and its end."""
        told = [f"{n:,} {word}" for at, (n, word) in enumerate(counts) if n or not at]
        stopped = f" Stopped: {self.stopped}" if self.stopped else ""
        return f"{', '.join(told)} in {duration(self.seconds)}.{stopped}"

    def __str__(self) -> str:
        return "\n".join(self.lines())


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsSummary(Summary, ABC):
    """What a run came to that made calls; money is USD."""

    calls: Figures
    #: What went wrong most often, in a line; "" when nothing did.
    failures_mostly: str = ""
    #: How max_cost stands over all runs with the same output; None: there is no cap.
    funds: Funds | None = None

    @property
    def cost_usd(self) -> Decimal:
        """Known cost of this run's answers."""
        return self.calls.cost_usd

    @property
    def max_cost_usd(self) -> Decimal:
        """The most that this run can have cost, answers that were lost included."""
        return self.calls.max_cost_usd

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; money as text, null where it is not known."""
        told = Summary.as_dict(self)
        told["calls"] = self.calls.as_dict(
            "sent", "answered", "replayed", "unknown", "prompt_tokens", "completion_tokens"
        )
        funds = told.pop("funds")
        told["cap_usd"] = None if funds is None else usd_text(funds.cap_usd)
        told["all_runs_max_usd"] = None if funds is None else usd_text(funds.spent_usd)
        return told

    def calls_words(self) -> str:
        """Return what became of the calls, and their cost."""
        calls = self.calls
        doubt = f", {calls.unknown:,} unknown (maybe billed)" if calls.unknown else ""
        return (
            f"Calls: {calls.sent:,} sent, {calls.answered:,} answered, {calls.replayed:,} replayed"
            f"{doubt}; {counted(calls.tokens, 'token')}; {calls.cost.words()}."
        )

    def funds_words(self, place: str) -> Iterator[str]:
        """Yield how max_cost stands, if there is a cap."""
        if self.funds is not None:
            yield f"Money: {self.funds} in all runs of this {place}."

    def failure_words(self, path: str, again: str) -> Iterator[str]:
        """Yield where failures are listed and what failed most, if anything did."""
        if path:
            yield f"Failures: {path} (run again to {again})."
            yield f"Most often: {self.failures_mostly}"
