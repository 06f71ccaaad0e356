"""One run over a file of prompts, from taking the lock to the summary."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import ExitStack, closing
from typing import IO

from ...calls.rate_limiter import RateLimiter
from ...calls.run_context import RunContext
from ...calls.sender import Sender
from ...core.clock import Clock, SystemClock
from ...core.errors import RunStopped, ToolkitError, UsageError
from ...core.filesystem import as_toolkit_error, storage_error
from ...core.records import FailureNote
from ...core.redaction import guarded_logs
from ...core.signals import StopSignals
from ...core.text import counted
from ...costs.budget import Funds
from ...costs.prices import PriceBook
from ...costs.tally import CallFigures
from ...journal import Journal
from ...keys import APIKeyManager
from ...runs.carry_over import budget_left, forgive_keys
from ...runs.progress import Moment, NoProgress, make_progress
from ...runs.report import duration
from ...transport import Transport
from .asking import TICK_S, Asking
from .books import LINES, Paths, is_done, open_books
from .failures import FailedLines
from .options import PromptsOptions
from .source import Source
from .summary import PromptsSummary

logger = logging.getLogger(__name__)

#: A file of prompts is never put aside: each run asks its failed lines again.
_NEVER = 2**31


class PromptsRun:
    """Asks for every line of a file and writes the answers in its order; `run` does it.

    The output grows as `<output>.partial` and gets its name when it is whole. What was answered is
    in the journal, so that a run which was stopped, killed or met failures is finished by another.
    """

    def __init__(
        self,
        options: PromptsOptions,
        keys: APIKeyManager,
        *,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Prepare; nothing is read or sent yet.

        Args:
            transport: what sends; None: HTTP.
            clock: None: the system's.
        """
        self._options = options
        self._keys = keys
        self._transport = transport
        self._clock = clock or SystemClock()
        self._paths = Paths(options)

    def run(self) -> PromptsSummary:
        """Ask every line that has no answer yet, and return what it came to.

        Raises:
            UsageError: the input cannot be read, or the output must not be written over.
            RunLocked: another process works on this output.
            NoUsableKey, BudgetExceeded, StorageError: the rest is done by a later run.
            RunStopped: Ctrl-C or a signal; `summary` tells how far it came.
        """
        options, paths = self._options, self._paths
        source = Source(options.input_path, options.defaults)
        paths.check(options.input_path)
        with ExitStack() as stack:
            try:
                stack.enter_context(guarded_logs(self._keys.redactor, options.log_file))
            except OSError as exc:
                raise storage_error(exc, options.log_file or "") from exc
            journal = stack.enter_context(open_books(paths.state, self._keys, self._clock))
            signature = f"{source.signature()}:{options.output_format}"
            record = journal.file(LINES)
            if is_done(record, paths, options, signature):
                return PromptsSummary(
                    answered=0,
                    failed=0,
                    left=0,
                    calls=CallFigures(),
                    seconds=0.0,
                    output_path=paths.output,
                    was_done=True,
                )
            limiter = RateLimiter(
                rate_limit=options.rate_limit,
                token_rate_limit=options.token_rate_limit,
                clock=self._clock,
            )
            sender = Sender(
                self._keys, transport=self._transport, limiter=limiter, clock=self._clock
            )
            stack.enter_context(closing(sender))
            return _Run(self, journal, sender, limiter, source, record.id, signature).work()


class _Run:
    """What one run counts and decides; used by the thread that called `PromptsRun.run` alone."""

    def __init__(
        self,
        owner: PromptsRun,
        journal: Journal,
        sender: Sender,
        limiter: RateLimiter,
        source: Source,
        file_id: int,
        signature: str,
    ) -> None:
        self._options, self._paths, self._clock = owner._options, owner._paths, owner._clock
        self._journal = journal
        self._sender = sender
        self._limiter = limiter
        self._source = source
        self._file_id = file_id
        self._signature = signature
        self._since_s = self._clock.now_s()
        self._looked_s = self._since_s - TICK_S
        self._stopping_since_s: float | None = None
        self._total = source.count()
        settings = sender.keys.settings
        self._context = RunContext(
            journal=journal,
            policy=self._options.policy,
            prices=PriceBook(settings.prices, settings.api_base),
            budget=budget_left(journal, self._options.max_cost),
        )
        try:
            self._failed = FailedLines(self._paths.errors)
        except OSError as exc:
            raise storage_error(exc, self._paths.errors) from exc
        self._asking = Asking(
            file_id=file_id,
            journal=journal,
            sender=sender,
            context=self._context,
            most=self._options.workers,
            format=self._options.output_format,
            failed=self._failed,
        )
        self._progress = (
            NoProgress()
            if not self._options.progress
            else make_progress(
                "Prompts", total=self._total, already=0, clock=self._clock, unit="line"
            )
        )

    def work(self) -> PromptsSummary:
        """Ask, write, and close the books."""
        self._journal.begin_run(self._options.version)
        self._journal.opened(self._file_id)
        with StopSignals() as signals, self._sender.run_open(), closing(self._failed):
            is_whole = self._ask_all(signals)
            summary = self._summary(signals, is_whole=is_whole)
            try:
                self._end(summary)
            except ToolkitError as exc:  # told below, with the summary
                self._context.stop.close(exc)
        reason = self._context.stop.reason
        if signals.received is not None and reason is not None:
            raise RunStopped(128 + signals.received, summary)
        if isinstance(reason, ToolkitError):
            reason.facts["summary"] = summary
        if reason is not None:
            raise reason
        return summary

    def _ask_all(self, signals: StopSignals) -> bool:
        """Return whether the output is whole and in its place."""
        try:
            with ExitStack() as stack:
                out = stack.enter_context(open(self._paths.partial, "wb"))
                to_ask, to_write = (
                    stack.enter_context(closing(self._source.lines())) for _ in range(2)
                )
                self._asking.work(to_ask, to_write, out, lambda: self._look(signals))
                if self._context.stop.reason is None:
                    self._publish(out)
        except (OSError, ToolkitError) as exc:
            self._context.stop.close(as_toolkit_error(exc, self._paths.partial))
        finally:
            self._progress.show(self._moment())
            self._progress.close()
        return self._context.stop.reason is None

    def _publish(self, out: IO[bytes]) -> None:
        """Give the output its name, once all of it is on the disk."""
        if not self._signature.startswith(f"{self._source.signature()}:"):
            raise UsageError(
                f"{self._source.path!r} was changed meanwhile; run again: no answer is paid twice"
            )
        os.fsync(out.fileno())
        os.replace(self._paths.partial, self._paths.output)
        folder = os.open(os.path.dirname(self._paths.output), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _look(self, signals: StopSignals) -> bool:
        """Look around now and then; False: what is under way has had its grace."""
        now_s = self._clock.now_s()
        if now_s - self._looked_s < TICK_S:
            return True
        self._looked_s = now_s
        stop = self._context.stop
        if signals.received is not None:
            stop.close(KeyboardInterrupt())
        if self._journal.trouble is not None:
            stop.close(self._journal.trouble)
        self._progress.show(self._moment())
        if stop.reason is None:
            return True
        if self._stopping_since_s is None:
            self._stopping_since_s = now_s
            self._tell_of_grace()
        return now_s - self._stopping_since_s < self._options.grace_s

    def _tell_of_grace(self) -> None:
        in_flight = self._sender.keys.counts().in_flight
        if in_flight:
            logger.warning(
                "stopping: waiting up to %s for %s",
                duration(self._options.grace_s),
                counted(in_flight, "answer that is paid for", "answers that are paid for"),
            )

    def _moment(self) -> Moment:
        keys, funds = self._sender.keys, self._funds()
        return Moment(
            files_done=self._asking.answered,
            files_failed=self._failed.count,
            calls=self._context.tally.figures(),
            keys=keys.counts().states,
            waiting=self._why_waiting(funds),
            funds=funds,
        )

    def _why_waiting(self, funds: Funds | None) -> str:
        wait = self._sender.keys.waiting_on()
        if wait is not None:
            until_s = wait.until_s
            left_s = None if until_s is None else until_s - self._clock.now_s()
            return wait.reason if left_s is None else f"{wait.reason}, {duration(left_s)} to go"
        if funds is not None and funds.waiting:
            return "max_cost: answers in flight may give money back"
        if self._limiter.holds_back():
            return "the limit that was given"
        left = self._total - self._asking.answered - self._failed.count
        return (
            f"answers to the last lines ({left:,})"
            if 0 < left == self._sender.keys.counts().in_flight
            else ""
        )

    def _funds(self) -> Funds | None:
        return None if self._context.budget is None else self._context.budget.funds()

    def _summary(self, signals: StopSignals, *, is_whole: bool) -> PromptsSummary:
        reason = self._context.stop.reason
        stopped = "" if reason is None else str(reason)
        if reason is not None and signals.received is not None:
            stopped = f"told to by {signal.Signals(signals.received).name}"
        return PromptsSummary(
            answered=self._asking.answered,
            failed=self._failed.count,
            left=self._total - self._asking.answered - self._failed.count,
            calls=self._context.tally.figures(),
            seconds=self._clock.now_s() - self._since_s,
            output_path=self._paths.output if is_whole else "",
            errors_path=self._paths.errors if self._failed.count else "",
            failures_mostly=self._failed.reasons.mostly(),
            stopped=stopped,
            funds=self._funds(),
        )

    def _end(self, summary: PromptsSummary) -> None:
        """Note in the journal how it ended."""
        forgive_keys(self._journal, self._sender.keys)
        if summary.failed:
            note = FailureNote(
                kind="LinesFailed",
                message=f"lines without an answer: {summary.failed:,}; see {self._paths.errors}",
            )
            self._journal.failed(self._file_id, note, _NEVER)
        elif summary.output_path:
            self._journal.done_file(self._file_id, self._options.version, self._signature)
        self._journal.end_run("stopped" if summary.stopped else "finished", summary.as_dict())
