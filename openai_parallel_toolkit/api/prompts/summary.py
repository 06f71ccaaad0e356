"""Say what the work on a file of prompts came to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

from ...core.text import counted
from ...costs.budget import Funds
from ...costs.tally import CallFigures
from ...runs.report import SEE_THE_ERROR, duration, funds_words, money


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptsSummary:
    """What a run did. Lines are counted once each, blank ones not at all; money is USD."""

    #: Lines that have an answer, replayed ones included.
    answered: int
    #: Lines that got none; the next run asks them again.
    failed: int
    #: Lines that were not come to an end with.
    left: int
    calls: CallFigures
    seconds: float
    #: The output; "" while it is not whole.
    output_path: str = ""
    #: JSON lines, one per failed line; "" when there was none.
    errors_path: str = ""
    #: What went wrong most often, in a line; "" when nothing did.
    failures_mostly: str = ""
    #: Why the run ended before its work did; "" when it did not.
    stopped: str = ""
    #: Whether all was done before, so that nothing had to be looked at.
    was_done: bool = False
    #: How max_cost stands over all runs of the output; None: there is no cap.
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
        told = {name: getattr(self, name) for name in _PLAIN}
        calls = asdict(self.calls)
        is_known = not self.calls.unpriced or self.cost_usd
        calls["cost_usd"] = str(self.cost_usd) if is_known else None
        calls["max_cost_usd"] = None if self.calls.unpriced else str(self.max_cost_usd)
        told["cap_usd"] = None if self.funds is None else str(self.funds.cap_usd)
        told["all_runs_max_usd"] = None if self.funds is None else str(self.funds.spent_usd)
        return {**told, "calls": calls}

    def beside_error(self) -> str:
        """Return it in words for where the error follows that stopped the run and says why."""
        return str(replace(self, stopped=SEE_THE_ERROR))

    def __str__(self) -> str:
        return "\n".join(_words(self))


_PLAIN = (
    "answered",
    "failed",
    "left",
    "seconds",
    "output_path",
    "errors_path",
    "failures_mostly",
    "stopped",
    "was_done",
)


def _words(summary: PromptsSummary) -> Iterator[str]:
    if summary.was_done:
        yield f"{summary.output_path} is done already; --force writes it anew."
        return
    calls = summary.calls
    lines = [f"{summary.answered:,} answered"]
    lines += [f"{summary.failed:,} failed"] if summary.failed else []
    lines += [f"{summary.left:,} left"] if summary.left else []
    stopped = f" Stopped: {summary.stopped}" if summary.stopped else ""
    yield f"Lines: {', '.join(lines)} in {duration(summary.seconds)}.{stopped}"
    doubt = f", {calls.unknown:,} unknown (maybe billed)" if calls.unknown else ""
    yield (
        f"Calls: {calls.sent:,} sent, {calls.answered:,} answered, {calls.replayed:,} replayed"
        f"{doubt}; {counted(calls.tokens, 'token')}; {money(calls)}."
    )
    if summary.funds is not None:
        yield f"Money: {funds_words(summary.funds)} in all runs of this output."
    if summary.errors_path:
        yield f"Failures: {summary.errors_path} (run again to ask again)."
        yield f"Most often: {summary.failures_mostly}"
    if summary.output_path:
        yield f"Output: {summary.output_path}"
