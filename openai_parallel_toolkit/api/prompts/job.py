"""One run over a file of prompts, from taking the lock to the summary."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import IO

from ...calls.admission import RateLimiter
from ...calls.open_runs import OpenRun
from ...calls.sender import Sender
from ...core.clock import SystemClock
from ...core.errors import ToolkitError, UsageError
from ...core.filesystem import (
    as_toolkit_error,
    atomic_file,
    new_file,
    replace_durably,
    storage_errors,
)
from ...core.logs import logger_of
from ...core.records import FailureNote
from ...core.settings import settings_told
from ...core.short_traces import short_traces
from ...core.text import counted
from ...journal import FileRecord
from ...keys import APIKeyManager
from ...runs.progress import make_display
from ...runs.session import RunSession, told_early
from ...runs.summary import CallsSummary
from ...transport import Transport
from .answer_table import answer_columns, write_answers
from .asking import TICK_S, Asking
from .files import LINES, Paths, PromptsFile
from .options import PromptsOptions
from .results import FailedLines

logger = logger_of(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptsSummary(CallsSummary):
    """What a run did. Lines are counted once each, blank ones not at all; money is USD."""

    #: Lines that have an answer, replayed ones included.
    answered: int = 0
    #: Lines that got none; the next run asks them again.
    failed: int = 0
    #: Lines that were not come to an end with.
    left: int = 0
    #: The output; "" while it is not whole.
    output_path: str = ""
    #: JSON lines, one per failed line; "" when there was none.
    errors_path: str = ""
    #: Whether all was done before, so that nothing had to be looked at.
    was_done: bool = False

    def lines(self) -> Iterator[str]:
        """Yield it in words, line by line."""
        if self.was_done:
            yield f"{self.output_path} is done already; --force writes it anew."
            return
        yield "Lines: " + self.time_words(
            (self.answered, "answered"), (self.failed, "failed"), (self.left, "left")
        )
        yield self.calls_words()
        yield from self.funds_words("output")
        yield from self.failure_words(self.errors_path, "ask again")
        if self.output_path:
            yield f"Output: {self.output_path}"

    def failed_words(self) -> str:
        """Tell of lines that got no answer."""
        if not self.failed:
            return ""
        total = counted(self.answered + self.failed, "line")
        return f"{self.failed:,} of {total} got no answer; see {self.errors_path} and run again"


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
    ) -> None:
        """Prepare; nothing is read or sent yet.

        Args:
            transport: what sends; None: HTTP.
        """
        self._options = options
        self._keys = keys
        self._transport = transport
        self._clock = SystemClock()
        self._paths = Paths(options)

    @short_traces
    def run(self) -> PromptsSummary:
        """Ask every line that has no answer yet, and return what it came to.

        Raises:
            UsageError: the input cannot be read, or the output must not be written over.
            RunLocked: another process works on this output.
            NoUsableKey, BudgetExceeded, StorageError: the rest is done by a later run.
            FilesFailed: lines got no answer, and all others did; see `fail_on_error`.
            RunStopped: Ctrl-C or a signal; `summary` tells how far it came.
        """
        options, paths = self._options, self._paths
        self._source = PromptsFile(options.input_path, options.defaults)
        paths.check(self._source)
        if paths.table_format is not None:
            answer_columns(self._source, options.answer_column)
        self._session = session = RunSession(
            paths.state,
            self._keys,
            clock=self._clock,
            policy=options.policy,
            max_cost=options.max_cost,
            grace_s=options.grace_s,
            log_file=options.log_file,
            keep_requests=options.keep_requests,
        )
        with told_early(PromptsSummary, prints=False), session:
            form = options.output_format if paths.table_format is None else options.answer_column
            self._signature = f"{self._source.signature()}:{form}"
            record = session.journal.file(LINES)
            if paths.is_done(record, self._signature) or self._is_found(record):
                return PromptsSummary(output_path=paths.output, was_done=True)
            self._limiter = RateLimiter(
                rate_limit=options.rate_limit,
                token_rate_limit=options.token_rate_limit,
                clock=self._clock,
            )
            sender = Sender(
                self._keys, transport=self._transport, limiter=self._limiter, clock=self._clock
            )
            session.journal.write_on(sender.calls)
            with closing(sender):
                return self._work(record.id, sender)

    def _is_found(self, record: FileRecord) -> bool:
        """Whether the output is there that a lost journal knew; from now on this one knows it."""
        session, options = self._session, self._options
        known_until_s = session.journal.last_wall_s()
        if options.force or not self._paths.holds_answers(self._source, known_until_s):
            return False
        logger.warning(
            "%s holds an answer to each line and no known run has made it: it counts as done",
            self._paths.output,
            extra={"action": "output_found"},
        )
        session.journal.done_file(record.id, options.version, self._signature)
        session.journal.flush()
        return True

    def _work(self, file_id: int, sender: Sender) -> PromptsSummary:
        """Ask, write, and note in the journal how it ended."""
        options, paths, session = self._options, self._paths, self._session
        self._looked_s = self._clock.now_s() - TICK_S
        self._total = self._source.count()
        with storage_errors(paths.errors):
            self._failed = FailedLines(paths.errors)
        self._asking = Asking(
            file_id=file_id,
            session=session,
            sender=sender,
            options=options,
            failed=self._failed,
        )
        self._display = make_display(
            "Prompts", clock=self._clock, unit="line", is_wanted=options.progress
        )
        session.begin(options.version, settings_told(options))
        session.journal.opened(file_id)
        with session.heeding(self._summary), OpenRun.opened(OpenRun(sender, session.context)):
            is_whole = self._ask_all()
            if self._failed.count:
                words = f"lines without an answer: {self._failed.count:,}; see {paths.errors}"
                note = FailureNote(kind="LinesFailed", message=words)
                session.journal.failed(file_id, note, None)  # each run asks its failed lines again
            elif is_whole:
                session.journal.done_file(file_id, options.version, self._signature)
            summary = self._summary(is_whole=is_whole)
            session.end(summary)
        session.hand_over(summary).check_end(options.fail_on_error)
        return summary

    @property
    def _left(self) -> int:
        return self._total - self._asking.answered - self._failed.count

    def _ask_all(self) -> bool:
        """Return whether the output is whole and in its place."""
        try:
            with ExitStack() as stack:
                out = stack.enter_context(
                    open(self._paths.partial, "wb", opener=partial(new_file, mode=0o666))
                )
                to_ask, to_write = (
                    stack.enter_context(closing(self._source.lines())) for _ in range(2)
                )
                self._asking.work(to_ask, to_write, out, self._look)
                if not self._session.stop.is_closed():
                    self._publish(out)
        except (OSError, ToolkitError) as exc:
            self._session.stop.close(as_toolkit_error(exc, self._paths.partial))
        finally:
            self._session.tell_soon()
            self._show()
            self._display.close()
        return not self._session.stop.is_closed()

    def _publish(self, out: IO[bytes]) -> None:
        """Give the output its name, once all of it is on the disk."""
        if not self._signature.startswith(f"{self._source.signature()}:"):
            raise UsageError(
                f"{self._source.path!r} was changed meanwhile; run again: no answer is paid twice"
            )
        out.flush()
        paths = self._paths
        if paths.table_format is None:
            replace_durably(paths.partial, paths.output)
            return
        with atomic_file(paths.output, part=f"{paths.partial}.part") as part:
            column, format = self._options.answer_column, paths.table_format
            write_answers(self._source, paths.partial, column, part, format)
        os.unlink(paths.partial)

    def _look(self) -> bool:
        """Look around now and then; False: what is under way has had its grace."""
        now_s = self._clock.now_s()
        if now_s - self._looked_s < TICK_S:
            return True
        self._looked_s = now_s
        self._session.look()
        self._show()
        return not self._session.is_grace_over()

    def _show(self) -> None:
        finished = self._total - self._left
        standing = self._session.standing(
            finished, self._total, self._failed.count, self._why_waiting
        )
        self._display.show(finished, self._total, standing)
        self._session.tell_progress(
            "line", finished, self._total, self._failed.count, self._why_waiting
        )

    def _why_waiting(self) -> str:
        if self._limiter.holds_back():
            return "the limit that was given"
        is_end = 0 < self._left == self._keys.counts().in_flight
        return f"answers to the last lines ({self._left:,})" if is_end else ""

    def _summary(self, *, is_whole: bool = False) -> PromptsSummary:
        return PromptsSummary(
            answered=self._asking.answered,
            failed=self._failed.count,
            left=self._left,
            calls=self._session.context.tally.figures(),
            seconds=self._session.seconds,
            output_path=self._paths.output if is_whole else "",
            errors_path=self._paths.errors if self._failed.count else "",
            causes=self._failed.causes.told(),
            stopped=self._session.stopped,
            funds=self._session.funds,
        )
