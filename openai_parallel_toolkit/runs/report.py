"""Say what a run came to: as a record and as a paragraph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

from ..core.records import KeyStatus
from ..core.text import brief, counted
from ..costs.budget import Funds
from ..costs.tally import CallFigures

#: Why a run stopped, where the error follows that says it in full.
SEE_THE_ERROR = "see the error."


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run did. Files are counted once each; money is USD."""

    #: Outputs published in this run.
    done: int
    #: Finished before this run.
    skipped: int
    #: Their hooks raised in this run.
    failed: int
    #: Left alone after too many failed runs, until retry_failed asks for them.
    aside: int
    #: Due, but not finished when the run ended.
    left: int
    calls: CallFigures
    keys: tuple[KeyStatus, ...]
    seconds: float
    #: Why the run ended before its work did; "" when it did not.
    stopped: str = ""
    output_path: str = ""
    #: The output of a single input; "" when there are several inputs, or it has not just one.
    output_file: str = ""
    #: JSON lines, one per failed file; "" when there was none.
    failures_path: str = ""
    #: What went wrong most often, in a line; "" when nothing did.
    failures_mostly: str = ""
    #: Calls that a dry run would have sent at first; None: it was no dry run.
    would_send: int | None = None
    #: Their prompts' tokens, estimated.
    would_send_tokens: int = 0
    #: The most that they can cost; None: a price is not known, or it was no dry run.
    would_cost_usd: Decimal | None = None
    #: How max_cost stands over all runs of the output folder; None: there is no cap.
    funds: Funds | None = None
    #: Batches that go on at the provider, for the next run to take in.
    batches_left: int = 0
    #: Calls in them.
    batch_calls_left: int = 0

    @property
    def cost_usd(self) -> Decimal:
        """Known cost of this run's answers."""
        return self.calls.cost_usd

    @property
    def max_cost_usd(self) -> Decimal:
        """The most that this run can have cost, answers that were lost included."""
        return self.calls.max_cost_usd

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; money as text."""
        plain = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        calls = asdict(self.calls)
        is_known = not calls["unpriced"] or self.cost_usd
        calls["cost_usd"] = str(self.cost_usd) if is_known else None
        calls["max_cost_usd"] = str(self.max_cost_usd) if not calls["unpriced"] else None
        would_cost = self.would_cost_usd
        funds = self.funds
        plain["cap_usd"] = None if funds is None else str(funds.cap_usd)
        plain["all_runs_max_usd"] = None if funds is None else str(funds.spent_usd)
        plain["would_cost_usd"] = None if would_cost is None else str(would_cost)
        keys = [
            {
                "name": key.name,
                "state": key.state,
                "reason": key.reason,
                **asdict(self.calls.by_key[key.name]),
            }
            if key.name in self.calls.by_key
            else {"name": key.name, "state": key.state, "reason": key.reason, "sent": 0}
            for key in self.keys
        ]
        del calls["by_key"]
        return {**plain, "calls": calls, "keys": keys}

    def beside_error(self) -> str:
        """Return it in words for where the error follows that stopped the run and says why."""
        return str(replace(self, stopped=SEE_THE_ERROR))

    def __str__(self) -> str:
        return "\n".join(_lines(self))


_PLAIN_FIELDS = (
    "done",
    "skipped",
    "failed",
    "aside",
    "left",
    "seconds",
    "stopped",
    "output_path",
    "output_file",
    "failures_path",
    "failures_mostly",
    "would_send",
    "would_send_tokens",
    "batches_left",
    "batch_calls_left",
)


def _lines(summary: RunSummary) -> Iterable[str]:
    calls = summary.calls
    files = [f"{summary.done:,} done", f"{summary.skipped:,} skipped"]
    files += [
        f"{count:,} {word}"
        for count, word in (
            (summary.failed, "failed"),
            (summary.aside, "put aside"),
            (summary.left, "left"),
        )
        if count
    ]
    stopped = f" Stopped: {summary.stopped}" if summary.stopped else ""
    yield f"Files: {', '.join(files)} in {duration(summary.seconds)}.{stopped}"
    if summary.would_send is not None:
        yield _would_words(summary)
        return
    doubt = f", {calls.unknown:,} unknown (maybe billed)" if calls.unknown else ""
    yield (
        f"Calls: {calls.sent:,} sent, {calls.answered:,} answered, {calls.replayed:,} replayed"
        f"{doubt}; {counted(calls.tokens, 'token')}; {money(calls)}."
    )
    if summary.batches_left:
        yield (
            f"At the provider: {counted(summary.batches_left, 'batch', 'batches')} with "
            f"{counted(summary.batch_calls_left, 'call')}, paid for; run again to take the answers "
            "in, today or tomorrow, or cancel with the command `batch cancel`."
        )
    if summary.funds is not None:
        yield f"Money: {funds_words(summary.funds)} in all runs of this output folder."
    if summary.keys:
        yield f"Keys: {'; '.join(_key_words(key, calls) for key in summary.keys[:20])}."
    if summary.failures_path:
        yield f"Failures: {summary.failures_path} (run again to try them again)."
        yield f"Most often: {summary.failures_mostly}"
    if summary.aside:
        yield "Put aside: failed in too many runs; retry_failed=True (--retry-failed) tries again."
    if summary.output_file:
        yield f"Output: {summary.output_file}"
    elif summary.output_path:
        yield f"Outputs: {summary.output_path}"


def _would_words(summary: RunSummary) -> str:
    cost = summary.would_cost_usd
    price = "cost unknown (no price is set for the model)"
    if cost is not None:
        price = f"at most ${cost:.4f}"
    return (
        f"Dry run: {counted(summary.left, 'file')} would be worked on and first send "
        f"{counted(summary.would_send or 0, 'call')} of about "
        f"{counted(summary.would_send_tokens, 'prompt token')}, "
        f"{price}; answers may lead to more calls. Nothing was sent."
    )


def _key_words(key: KeyStatus, calls: CallFigures) -> str:
    figures = calls.by_key.get(key.name)
    sent = f"{figures.sent:,} sent" if figures else "unused"
    state = "" if key.state == "alive" else f", {key.state}"
    reason = f" ({brief(key.reason)})" if key.state == "dropped" else ""
    return f"{key.name} {sent}{state}{reason}"


def money(calls: CallFigures) -> str:
    """Return a run's cost in words; what is not known is never shown as 0."""
    if calls.unpriced and not calls.cost_usd:
        return "cost unknown (no price is set for the model)"
    known = f"${calls.cost_usd:.4f}"
    if calls.max_cost_usd > calls.cost_usd:
        known += f" known, at most ${calls.max_cost_usd:.4f}"
    return known + (
        f" and {counted(calls.unpriced, 'call')} without a price" if calls.unpriced else ""
    )


def funds_words(funds: Funds) -> str:
    """Return how max_cost stands in words."""
    return f"at most ${funds.spent_usd:.4f} of ${funds.cap_usd:f} (max_cost)"


def duration(seconds: float) -> str:
    """Return seconds as people say them: "0.8 s", "12 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest_s} s"
    return f"{minutes // 60} h {minutes % 60} min"
