"""Say what a BatchFolder came to: as a record and as a paragraph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

from ...core.text import brief, counted
from ...runs.report import duration
from .job import Job

_REASONS_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFolderSummary:
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
    seconds: float = 0.0
    #: Batches that go on at the provider, for the next run to collect.
    batches_left: int = 0
    #: Why files are left, one sentence each.
    reasons: tuple[str, ...] = ()
    #: Why keys were dropped, by their names.
    dropped_keys: dict[str, str] = field(default_factory=dict)
    #: Why the run ended before its work did; "" when it did not.
    stopped: str = ""
    output_path: str = ""
    error_path: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; money as text, null when no price is known."""
        plain = asdict(self)
        plain["cost_usd"] = str(self.cost_usd) if _is_cost_known(self) else None
        plain["max_cost_usd"] = None if self.lines_without_price else str(self.max_cost_usd)
        return plain

    def beside_error(self) -> str:
        """Return it in words for where the error follows that stopped the run and says why."""
        others = tuple(reason for reason in self.reasons if reason != self.stopped)
        return str(replace(self, stopped="see the error", reasons=others))

    def __str__(self) -> str:
        return "\n".join(_lines(self))


class Count:
    """Adds up what became of the files; used by one event loop."""

    def __init__(self) -> None:
        self._so_far = BatchFolderSummary()

    def add(self, job: Job) -> None:
        """Count a job that came to its end."""
        figures, before = job.figures, self._so_far
        is_done = figures.answered > 0
        failed = figures.failed or (0 if is_done else job.lines)
        self._so_far = replace(
            before,
            done=before.done + is_done,
            failed=before.failed + (not is_done),
            partly_failed=before.partly_failed + (is_done and figures.failed > 0),
            lines_answered=before.lines_answered + figures.answered,
            lines_failed=before.lines_failed + failed,
            prompt_tokens=before.prompt_tokens + figures.usage.prompt_tokens,
            completion_tokens=before.completion_tokens + figures.usage.completion_tokens,
            cost_usd=before.cost_usd + figures.cost_usd,
            max_cost_usd=before.max_cost_usd + figures.cost_usd + figures.doubt_usd,
            lines_without_price=before.lines_without_price + figures.unpriced,
            lines_in_doubt=before.lines_in_doubt + figures.in_doubt,
        )

    def summary(self, **facts: Any) -> BatchFolderSummary:
        """Return what was counted, completed by other facts."""
        return replace(self._so_far, **facts)


def money(summary: BatchFolderSummary) -> str:
    """Return the cost in words; what is not known is never shown as 0."""
    if not _is_cost_known(summary):
        return "cost unknown (no price is set for the model)"
    rest = summary.lines_without_price
    known = f"${summary.cost_usd:.4f}"
    if summary.max_cost_usd > summary.cost_usd:
        known += f" known, at most ${summary.max_cost_usd:.4f}"
    return known + (f" and {counted(rest, 'line')} without a price" if rest else "")


def _is_cost_known(summary: BatchFolderSummary) -> bool:
    return bool(summary.cost_usd) or not summary.lines_without_price


def _lines(summary: BatchFolderSummary) -> Iterator[str]:
    counts = [f"{summary.done:,} done"]
    if summary.partly_failed:
        counts[0] += f" ({summary.partly_failed:,} with lines that failed)"
    counts += [f"{summary.failed:,} failed"] if summary.failed else []
    counts += [f"{summary.left:,} left"] if summary.left else []
    if not (summary.done or summary.failed or summary.left or summary.stopped):
        yield "No input was there; look at the input folder and the pattern."
    stopped = f" Stopped: {summary.stopped}." if summary.stopped else ""
    yield f"Files: {', '.join(counts)} in {duration(summary.seconds)}.{stopped}"
    tokens = summary.prompt_tokens + summary.completion_tokens
    yield (
        f"Lines: {summary.lines_answered:,} answered, {summary.lines_failed:,} failed; "
        f"{counted(tokens, 'token')}; {money(summary)} at batch prices."
    )
    if summary.lines_in_doubt:
        lines = counted(summary.lines_in_doubt, "line")
        yield f"In doubt: {lines} may be billed although no answer came that says how much."
    if summary.batches_left:
        yield (
            f"At the provider: {counted(summary.batches_left, 'batch', 'batches')}, paid for; run "
            "again to collect the results, today or tomorrow, or cancel with `batch cancel`."
        )
    for name, why in summary.dropped_keys.items():
        yield f"Dropped: {name} ({brief(why)})."
    reasons = Counter(summary.reasons)
    for reason, files in list(reasons.items())[:_REASONS_SHOWN]:
        yield f"Left: {reason}" + (f" ({counted(files, 'file')})" if files > 1 else "")
    if len(reasons) > _REASONS_SHOWN:
        yield f"Left: {len(reasons) - _REASONS_SHOWN:,} more for other reasons"
    if summary.done:
        yield f"Outputs: {summary.output_path}"
    if summary.failed or summary.partly_failed:
        yield f"Errors: {summary.error_path}"
