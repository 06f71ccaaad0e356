"""Say what a run over a folder came to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..core.records import KeyStatus
from ..core.text import brief, counted
from ..costs.figures import COST_UNKNOWN
from .summary import CallsSummary

_MOST_KEYS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary(CallsSummary):
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
    keys: tuple[KeyStatus, ...]
    output_path: str = ""
    #: The output of a single input; "" when there are several inputs, or it has not just one.
    output_file: str = ""
    #: JSON lines, one per failed file; "" when there was none.
    failures_path: str = ""
    #: Calls that a dry run would have sent at first; None: it was no dry run.
    would_send: int | None = None
    #: Their prompts' tokens, estimated.
    would_send_tokens: int = 0
    #: The most that they can cost; None: a price is not known, or it was no dry run.
    would_cost_usd: Decimal | None = None
    #: Batches that go on at the provider, for the next run to take in.
    batches_left: int = 0
    #: Calls in them.
    batch_calls_left: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; money as text, null where it is not known."""
        return {**CallsSummary.as_dict(self), "keys": [self._key_dict(key) for key in self.keys]}

    def _key_dict(self, key: KeyStatus) -> dict[str, Any]:
        told = {"name": key.name, "state": key.state, "reason": key.reason, "sent": 0}
        figures = self.calls.by_key.get(key.name)
        if figures is not None:
            told |= {name: getattr(figures, name) for name in ("sent", "answered", "tokens")}
        return told

    def lines(self) -> Iterator[str]:
        """Yield it in words, line by line."""
        yield f"Files: {self.done:,} done, " + self.time_words(
            (self.skipped, "skipped"),
            (self.failed, "failed"),
            (self.aside, "put aside"),
            (self.left, "left"),
        )
        if self.would_send is not None:
            yield self._would_words(self.would_send)
            return
        yield self.calls_words()
        if self.batches_left:
            yield (
                f"At the provider: {counted(self.batches_left, 'batch', 'batches')} with "
                f"{counted(self.batch_calls_left, 'call')}, paid for; run again to take the "
                "answers in, today or tomorrow, or cancel with the command `batch cancel`."
            )
        yield from self.funds_words("output folder")
        if self.keys:
            yield f"Keys: {'; '.join(self._key_words(key) for key in self.keys[:_MOST_KEYS])}."
        yield from self.failure_words(self.failures_path, "try them again")
        if self.aside:
            yield (
                "Put aside: failed in too many runs; retry_failed=True (--retry-failed) tries "
                "again."
            )
        if self.output_file:
            yield f"Output: {self.output_file}"
        elif self.output_path:
            yield f"Outputs: {self.output_path}"

    def _would_words(self, would_send: int) -> str:
        cost = self.would_cost_usd
        return (
            f"Dry run: {counted(self.left, 'file')} would be worked on and first send "
            f"{counted(would_send, 'call')} of about "
            f"{counted(self.would_send_tokens, 'prompt token')}, "
            f"{COST_UNKNOWN if cost is None else f'at most ${cost:.4f}'}; "
            "answers may lead to more calls. Nothing was sent."
        )

    def _key_words(self, key: KeyStatus) -> str:
        figures = self.calls.by_key.get(key.name)
        sent = f"{figures.sent:,} sent" if figures else "unused"
        state = "" if key.state == "alive" else f", {key.state}"
        reason = f" ({brief(key.reason)})" if key.state == "dropped" else ""
        return f"{key.name} {sent}{state}{reason}"
