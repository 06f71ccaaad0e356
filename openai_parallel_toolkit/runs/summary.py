"""What every run comes to: as a record, as JSON values and as a paragraph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal
from typing import Any

from ..core.command_line import started_as
from ..core.errors import FilesFailed
from ..core.html import html_table
from ..core.records import KeyStatus
from ..core.settings import SettingKind
from ..core.text import brief, counted, dollars, duration, visible
from ..costs.budget import Funds
from ..costs.figures import COST_UNKNOWN, Figures, usd_text
from .causes import FailureCause
from .notices import Notices

#: The value of `fail_on_error` that works on all, and then raises.
AT_THE_END = "end"
#: What `fail_on_error` may be where nothing is stopped by what fails.
RAISES_AT_END = SettingKind(f'"{AT_THE_END}" or False', lambda given: given in (AT_THE_END, False))
#: Why a run stopped, where the error follows that says it in full.
SEE_THE_ERROR = "see the error."
_MOST_KEYS = 20
_MOST_CAUSES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(ABC):
    """What a run came to; a subclass adds its counts and `lines`."""

    seconds: float = 0.0
    #: Why the run ended before its work did; "" when it did not.
    stopped: str = ""

    @abstractmethod
    def lines(self) -> Iterator[str]:
        """Yield it in words, line by line."""

    @abstractmethod
    def failed_words(self) -> str:
        """Return in a line what has no output, of a run that came to its end, and what to do.

        "": nothing has none.
        """

    def check_end(self, fail_on_error: object) -> None:
        """Raise FilesFailed where something has no output, if it is to be raised at the end."""
        words = self.failed_words() if fail_on_error == AT_THE_END else ""
        if words:
            raise FilesFailed(
                f"{words} (fail_on_error=False returns the summary instead)", summary=self
            )

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
        return f"{', '.join(told)} in {duration(self.seconds)}{self._pace_words()}.{stopped}"

    def _pace_words(self) -> str:
        """Return what is to be said of how fast it went, after a comma; ""."""
        return ""

    def __str__(self) -> str:
        return "\n".join(map(visible, self.lines()))

    def _repr_html_(self) -> str:
        return html_table(self.lines())


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsSummary(Summary, ABC):
    """What a run came to that made calls; money is USD."""

    calls: Figures = field(default_factory=Figures)
    #: What went wrong, most frequent first.
    causes: tuple[FailureCause, ...] = ()
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
        """As of `Summary`, with those of the calls."""
        told = Summary.as_dict(self)
        told["causes"] = [asdict(cause) for cause in self.causes]
        told["calls"] = self.calls.as_dict(
            "sent",
            "answered",
            "uncounted",
            "replayed",
            "unknown",
            "prompt_tokens",
            "completion_tokens",
        )
        funds = told.pop("funds")
        told["cap_usd"] = None if funds is None else usd_text(funds.cap_usd)
        told["all_runs_max_usd"] = None if funds is None else usd_text(funds.spent_usd)
        return told

    def calls_words(self) -> str:
        """Return what became of the calls, and their cost."""
        calls = self.calls
        silent = f" ({calls.uncounted:,} without usage)" if calls.uncounted else ""
        kept = f", {calls.replayed:,} from kept answers" if calls.replayed else ""
        doubt = f", {calls.unknown:,} unknown (maybe billed)" if calls.unknown else ""
        return (
            f"Calls: {calls.sent:,} sent, {calls.answered:,} answered{silent}{kept}{doubt}; "
            f"{calls.tokens_words}; {calls.cost.words()}."
        )

    def funds_words(self, place: str) -> Iterator[str]:
        """Yield how max_cost stands, if there is a cap."""
        if self.funds is not None:
            yield f"Money: {self.funds} in all runs of this {place}."

    def failure_words(self, path: str, again: str) -> Iterator[str]:
        """Yield what failed and why, where all of it is listed and how to `again`, if it did."""
        if path:
            yield f"Failed, by cause ({path} has them all):"
            shown = self.causes[:_MOST_CAUSES]
            yield from (f"  {cause}" for cause in shown)
            if len(shown) < len(self.causes):
                yield f"  {len(self.causes) - len(shown):,} more causes"
            yield f"To {again}: {started_as() or 'run again'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary(CallsSummary):
    """What a run did. Files are counted once each; money is USD."""

    #: Outputs published in this run.
    done: int = 0
    #: Finished before this run.
    skipped: int = 0
    #: Their hooks raised in this run.
    failed: int = 0
    #: Left alone after too many failed runs, until retry_failed asks for them.
    aside: int = 0
    #: Due, but not finished when the run ended.
    left: int = 0
    #: Files that were to be under way at a time at the end; 0: none was due.
    threads: int = 0
    #: Processes that ran the hooks, each with so many files; 0: this process alone.
    workers: int = 0
    #: Whether hooks used all that one core gives for most of the run.
    is_short_of_cpu: bool = False
    keys: tuple[KeyStatus, ...] = ()
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
    #: What to know of the files that are done.
    notices: Notices = field(default_factory=Notices)
    #: Batches that go on at the provider, for the next run to take in.
    batches_left: int = 0
    #: Calls in them.
    batch_calls_left: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; money as text, null where it is not known."""
        return {
            **CallsSummary.as_dict(self),
            "keys": [self._key_dict(key) for key in self.keys],
            "notices": self.notices.as_dict(),
        }

    def _key_dict(self, key: KeyStatus) -> dict[str, Any]:
        told = {"name": key.name, "state": key.state, "reason": key.reason, "sent": 0}
        figures = self.calls.by_key.get(key.name)
        if figures is not None:
            told |= {name: getattr(figures, name) for name in ("sent", "answered", "tokens")}
        return told

    def _pace_words(self) -> str:
        return f", {self.threads:,} at a time" if self.threads else ""

    def lines(self) -> Iterator[str]:
        """Yield it in words, line by line."""
        yield f"Files: {self.done:,} done, " + self.time_words(
            (self.skipped, "skipped"),
            (self.failed, "failed"),
            (self.aside, "put aside"),
            (self.left, "left"),
        )
        yield from self.notices.lines()
        if self.would_send is not None:
            yield self._would_words(self.would_send)
            return
        yield self.calls_words()
        if self.is_short_of_cpu:
            yield (
                "CPU: hooks were short of it: for most of the run they used all that one core "
                'gives, which threads share; engine="processes" (--engine processes) uses all.'
            )
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
                f"Put aside: {counted(self.aside, 'file')}, after too many runs that failed; "
                f"{self._again_words()}, and pays anew for answers that were of no use."
            )
        if self.output_file:
            yield f"Output: {self.output_file}"
        elif self.output_path:
            yield f"Outputs: {self.output_path}"

    def _again_words(self) -> str:
        command = started_as("--retry-failed")
        is_ours = command.endswith("--retry-failed")
        return (
            f"`{command}` tries again"
            if is_ours
            else "retry_failed=True (--retry-failed) tries again"
        )

    def failed_words(self) -> str:
        """Tell of files whose hooks failed, in this run or in too many."""
        if self.would_send is not None or not (self.failed or self.aside):
            return ""
        total = self.done + self.skipped + self.failed + self.aside
        told = f"{self.failed:,} of {counted(total, 'file')} failed" if self.failed else ""
        aside = f"{counted(self.aside, 'file')} put aside after too many runs that failed"
        ways = [f"see {self.failures_path}, mend what it tells and run again"] if told else []
        if self.aside:
            ways.append("retry_failed=True tries those put aside")
        counts = " and ".join(filter(None, [told, aside if self.aside else ""]))
        return f"{counts}; {'; '.join(ways)}"

    def aside_words(self) -> str:
        """Say how many files wait that failed in too many runs, and what tries them again."""
        return (
            f"Put aside: {counted(self.aside, 'file')}, after too many runs that failed; tried "
            "again by itself when the hooks are edited, or with retry_failed=True (--retry-failed)."
        )

    def _would_words(self, would_send: int) -> str:
        cost = self.would_cost_usd
        return (
            f"Dry run: {counted(self.left, 'file')} would be worked on and first send "
            f"{counted(would_send, 'call')} of about "
            f"{counted(self.would_send_tokens, 'prompt token')}, "
            f"{COST_UNKNOWN if cost is None else f'at most {dollars(cost)}'}; "
            "answers may lead to more calls. Nothing was sent."
        )

    def _key_words(self, key: KeyStatus) -> str:
        figures = self.calls.by_key.get(key.name)
        sent = f"{figures.sent:,} sent" if figures else "unused"
        state = "" if key.state == "alive" else f", {key.state}"
        reason = brief(key.reason)
        told = {"dropped": f" ({reason})", "on trial": f" (was dropped: {reason})"}
        return f"{key.name} {sent}{state}{told.get(key.state, '')}"
