"""Say what a BatchFolder came to: as a record and as a paragraph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from ...core.text import brief, counted
from ...costs.figures import Cost, token_words
from ...runs.summary import SEE_THE_ERROR, Summary
from .job import Job

_REASONS_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFolderSummary(Summary):
    """What a run did. Files are counted once each; money is USD at batch prices."""

    #: Files whose results, whole or with lines that failed, are in their place.
    done: int = 0
    #: Of these, files with lines that failed.
    partly_failed: int = 0
    #: Files that failed as a whole: they could not be used, or no line was answered.
    failed: int = 0
    #: Files under way or waiting when the run ended.
    left: int = 0
    lines_answered: int = 0
    lines_failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: Of the answers whose price is known.
    cost_usd: Decimal = Decimal(0)
    #: `cost_usd` plus the most that the lines in doubt can have cost.
    max_cost_usd: Decimal = Decimal(0)
    #: Lines that may be billed although nothing says how much: an answer without usage, or none
    #: from a batch that worked or was lost. Counted once for each batch.
    lines_in_doubt: int = 0
    #: Answers, and lines in doubt, whose price is not known.
    lines_without_price: int = 0
    #: Batches that go on at the provider, for the next run to collect.
    batches_left: int = 0
    #: Why files are left, one sentence each.
    reasons: tuple[str, ...] = ()
    #: Why keys were dropped, by their names.
    dropped_keys: dict[str, str] = field(default_factory=dict)
    output_path: str = ""
    error_path: str = ""

    @property
    def cost(self) -> Cost:
        """What the lines cost."""
        unpriced = self.lines_without_price
        return Cost(known_usd=self.cost_usd, max_usd=self.max_cost_usd, unpriced=unpriced)

    def with_job(self, job: Job) -> BatchFolderSummary:
        """Return it with a job counted that came to its end."""
        figures = job.figures
        is_done = figures.answered > 0
        return replace(
            self,
            done=self.done + is_done,
            failed=self.failed + (not is_done),
            partly_failed=self.partly_failed + (is_done and figures.failed > 0),
            lines_answered=self.lines_answered + figures.answered,
            lines_failed=self.lines_failed + (figures.failed or (0 if is_done else job.lines)),
            prompt_tokens=self.prompt_tokens + figures.usage.prompt_tokens,
            completion_tokens=self.completion_tokens + figures.usage.completion_tokens,
            cost_usd=self.cost_usd + figures.cost_usd,
            max_cost_usd=self.max_cost_usd + figures.cost_usd + figures.doubt_usd,
            lines_without_price=self.lines_without_price + figures.unpriced,
            lines_in_doubt=self.lines_in_doubt + figures.in_doubt,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; money as text, null when no price is known."""
        return {**Summary.as_dict(self), **self.cost.as_dict()}

    def beside_error(self) -> str:
        """Return it in words for where the error follows that stopped the run and says why."""
        others = tuple(reason for reason in self.reasons if reason != self.stopped)
        return str(replace(self, stopped=SEE_THE_ERROR, reasons=others))

    def failed_words(self) -> str:
        """Tell of files and lines that failed, and of files that are left."""
        counts = [(self.failed, "failed"), (self.partly_failed, "failed in part")]
        told = [f"{count:,} {word}" for count, word in [*counts, (self.left, "are left")] if count]
        if not told:
            return ""
        see = f"see {self.error_path}" if self.failed or self.partly_failed else "run again"
        total = counted(self.done + self.failed + self.left, "file")
        return f"of {total} {', '.join(told)}; {see}"

    def lines(self) -> Iterator[str]:
        """Yield it in words, line by line."""
        if not (self.done or self.failed or self.left or self.stopped):
            yield "No input was there; look at the input folder and the pattern."
        partly = f" ({self.partly_failed:,} with lines that failed)" * bool(self.partly_failed)
        yield "Files: " + self.time_words(
            (self.done, f"done{partly}"), (self.failed, "failed"), (self.left, "left")
        )
        tokens = token_words(self.prompt_tokens + self.completion_tokens, self.lines_answered)
        yield (
            f"Lines: {self.lines_answered:,} answered, {self.lines_failed:,} failed; "
            f"{tokens}; {self.cost.words('line')} at batch prices."
        )
        if self.lines_in_doubt:
            lines = counted(self.lines_in_doubt, "line")
            yield f"In doubt: {lines} may be billed although no answer came that says how much."
        if self.batches_left:
            yield (
                f"At the provider: {counted(self.batches_left, 'batch', 'batches')}, paid for; run "
                "again to collect the results, today or tomorrow, or cancel with `batch cancel`."
            )
        for name, why in self.dropped_keys.items():
            yield f"Dropped: {name} ({brief(why)})."
        reasons = Counter(self.reasons)
        for reason, files in list(reasons.items())[:_REASONS_SHOWN]:
            yield f"Left: {reason}" + (f" ({counted(files, 'file')})" if files > 1 else "")
        if len(reasons) > _REASONS_SHOWN:
            yield f"Left: {len(reasons) - _REASONS_SHOWN:,} more for other reasons"
        if self.done:
            yield f"Outputs: {self.output_path}"
        if self.failed or self.partly_failed:
            yield f"Errors: {self.error_path}"
