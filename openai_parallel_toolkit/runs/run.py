"""One run over a folder, from taking the lock to the summary."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing

from ..calls.run_context import RunContext
from ..calls.sender import Sender
from ..core.clock import Clock
from ..core.errors import ConfigError, FilesFailed, RunStopped, ToolkitError
from ..core.filesystem import storage_error
from ..core.open_file_limit import make_room
from ..core.records import FailureNote
from ..core.redaction import guarded_logs
from ..core.signals import StopSignals
from ..core.text import counted
from ..costs.budget import Funds
from ..costs.prices import PriceBook
from ..files.match import Selection
from ..files.plan import Plan
from ..files.publish import Finished, concerns_all
from ..files.run_folders import lay_out
from ..files.run_lock import state_folder_of
from ..journal.batch_rows import Standing
from ..keys import APIKeyManager
from ..transport import Transport
from .batch_mode import BatchMode
from .carry_over import budget_left
from .dry_run import PlannedCalls, rehearse, warn_of_changed_prompts
from .file_task import FileRunner
from .hang_watchdog import HangWatchdog
from .hooks import Hooks
from .options import RunOptions
from .progress import Moment, NoProgress, Progress, make_progress
from .report import FailuresFile, RunSummary, duration
from .sample import Sample
from .session import RunSession
from .workers import AsyncWorkers, Queue, ThreadWorkers, Workers

logger = logging.getLogger(__name__)

#: Descriptors that a run needs besides those of its files, and for each file under way: its input,
#: its output, its connection and what a hook may open.
_OWN_FILES = 24
_FILES_EACH = 4
#: How often the display is drawn and hung hooks are looked for.
_TICK_S = 0.2


def run_folder(
    options: RunOptions,
    hooks: Hooks,
    keys: APIKeyManager,
    *,
    transport: Transport | None = None,
    clock: Clock,
    sample: Sample | None = None,
    rehearsed: dict[str, PlannedCalls] | None = None,
) -> RunSummary:
    """Run the hooks over every file that is due; see `ParallelToolkit.run`.

    Args:
        sample: chooses some of them, and nothing is printed; None: all.
        rehearsed: where a dry run puts what each file wants; None: nowhere.
    """
    if options.mode == "batch" and transport is not None:
        raise ConfigError('mode="batch" sends by itself; a transport= works with mode="live" alone')
    layout = lay_out(
        options.input_path,
        options.output_path,
        output_names=options.output_names,
        state_path=options.state_path,
    )
    state_folder = state_folder_of(layout.output_root, options.state_path)
    with ExitStack() as stack:
        try:
            stack.enter_context(guarded_logs(keys.redactor, options.log_file))
        except OSError as exc:
            raise storage_error(exc, options.log_file or "") from exc
        session = RunSession(layout, state_folder, keys, hooks.version, clock)
        stack.enter_context(session)
        plan = session.plan(_selection(options))
        stack.callback(plan.close)
        if sample is not None:
            plan = sample.choose(plan, session.inputs, state_folder)
            stack.callback(plan.close)
        for note in plan.notes:
            logger.warning("%s", note)
        sender = Sender.of(keys)
        if transport is not None:
            sender = stack.enter_context(closing(Sender(keys, transport=transport)))
        if options.dry_run:
            summary = rehearse(hooks, session, plan, sender, rehearsed)
        else:
            warn_of_changed_prompts(options, hooks, session, sender)
            run = Run(options, hooks, session, sender, clock)
            summary = run.work(plan)
    if sample is None:
        _say(summary, options)
    return summary


def _selection(options: RunOptions) -> Selection:
    return Selection(
        pattern=options.pattern,
        exclude=options.exclude,
        recursive=options.recursive,
        retry_aside=options.retry_failed,
        force=options.force,
        file_count=options.file_count,
    )


def _say(summary: RunSummary | str, options: RunOptions) -> None:
    if options.progress and sys.stdout is not None:
        try:
            print(summary, flush=True)  # noqa: T201 - the summary is for people
        except OSError:  # nobody reads any more; the work is done all the same
            logger.debug("the summary could not be printed")


class Run:
    """Works a plan through and counts what comes of it.

    One lock guards the counts and the failures file.
    """

    def __init__(
        self, options: RunOptions, hooks: Hooks, session: RunSession, sender: Sender, clock: Clock
    ) -> None:
        self._options = options
        self._session = session
        self._sender = sender
        self._clock = clock
        self._since_s = clock.now_s()
        self._lock = threading.Lock()
        self._done = self._failed = 0
        self._failures = FailuresFile(session.failures_path)
        self._failures_allowed = float("inf")
        self._tick = threading.Event()
        self._stopping_since_s: float | None = None
        self._context = RunContext(
            journal=session.journal,
            policy=options.policy,
            prices=PriceBook(sender.keys.settings.prices, sender.keys.settings.api_base),
            budget=budget_left(session.journal, options.max_cost),
        )
        self._batch_mode: BatchMode | None = None
        if options.mode == "batch":
            self._batch_mode = BatchMode(options, hooks, session, sender, self._context, clock)
        self._publisher = session.publisher(
            force=options.force, on_done=self._on_done, on_failed=self._on_not_published
        )
        self._files = FileRunner(
            hooks=hooks,
            session=session,
            publisher=self._publisher,
            sender=sender,
            context=self._context,
            clock=clock,
            on_failed=self._on_failed,
            max_file_attempts=options.max_file_attempts,
            suspender=self._batch_mode.suspender if self._batch_mode is not None else None,
        )

    def work(self, plan: Plan) -> RunSummary:
        """Run the hooks over every file that is due, and close the books.

        Raises:
            RunStopped: a signal came.
            ToolkitError: what made the run stop; its `summary` tells how far it came.
        """
        self._failures_allowed = self._options.failures_allowed(plan.due_count)
        self._session.begin(retry_failed=self._options.retry_failed)
        is_batch = self._batch_mode is not None
        with StopSignals() as signals, self._sender.run_open(refuses_untracked=is_batch):
            self._work_through(plan, signals)
            self._look_for_trouble()
            summary = self._summary(plan, signals)
            try:
                self._session.end(summary)
            except ToolkitError as exc:  # told below, with the summary
                self._context.stop.close(exc)
                exc.summary = exc.summary or summary
        self._raise_reason(summary, signals)
        return summary

    def is_closed(self) -> bool:
        """Return whether no further file is to be started."""
        return self._context.stop.reason is not None

    def _work_through(self, plan: Plan, signals: StopSignals) -> None:
        already = plan.skipped_done + plan.skipped_existing
        total = already + plan.due_count
        progress: Progress = NoProgress()
        if self._options.progress:
            progress = make_progress(
                self._options.name, total=total, already=already, clock=self._clock
            )

        def look() -> None:
            if signals.received is not None:
                self._context.stop.close(KeyboardInterrupt())
            self._look_for_trouble()
            progress.show(self._moment())

        suspects = set(self._session.suspects)
        if self._batch_mode is not None:
            self._batch_mode.start()
        try:
            if suspects:
                alone = (file for file in plan.due() if file.path in suspects)
                self._see_through(Queue(alone, self.is_closed, is_alone=True), 1, look)
            rest = (file for file in plan.due() if file.path not in suspects)
            count = self._fitting(max(1, min(self._options.num_threads, plan.due_count)))
            self._see_through(Queue(rest, self.is_closed), count, look)
            if self._batch_mode is not None:
                self._batch_mode.work_off(
                    lambda ready: self._see_through(
                        Queue(iter(ready), self.is_closed), min(count, len(ready)), look
                    ),
                    look,
                    self.is_closed,
                )
        finally:
            if self._batch_mode is not None:
                self._batch_mode.close(self._options.grace_s)
            self._publisher.close()
            progress.show(self._moment())
            progress.close()

    def _see_through(self, queue: Queue, count: int, look: Callable[[], None]) -> None:
        kind = AsyncWorkers if self._files.hooks.is_async else ThreadWorkers
        workers: Workers = kind(self._files, count, self._tick.set, self._on_trouble)
        timeout_s = self._options.hook_timeout_s
        watch = HangWatchdog(self._files, workers, self._clock, timeout_s, self._context.stop.close)
        workers.start(queue)
        try:
            while workers.is_busy() and not self._is_grace_over():
                self._tick.wait(_TICK_S)
                self._tick.clear()
                look()
                watch.look()
        finally:
            self._files.abandon_all()
            workers.close()

    def _fitting(self, count: int) -> int:
        """Return how many of so many files the system lets be under way at a time."""
        room = make_room(_OWN_FILES + _FILES_EACH * count)
        if room is None:
            return count
        fitting = max(1, (room - _OWN_FILES) // _FILES_EACH)
        logger.warning(
            "%s at a time instead of num_threads=%d: this process may open only %d more files "
            "and connections; allow more with `ulimit -n`",
            counted(fitting, "file"),
            count,
            room,
        )
        return fitting

    def _on_trouble(self, error: BaseException) -> None:
        """Stop for what went wrong outside of hooks."""
        if isinstance(error, OSError):
            error = storage_error(error, str(error.filename or self._session.layout.output_root))
        self._context.stop.close(error)

    def _look_for_trouble(self) -> None:
        trouble = self._session.journal.trouble or self._publisher.trouble
        if trouble is not None:
            self._context.stop.close(trouble)

    def _is_grace_over(self) -> bool:
        if not self.is_closed():
            return False
        now_s = self._clock.now_s()
        if self._stopping_since_s is None:
            self._stopping_since_s = now_s
            in_flight = self._sender.keys.counts().in_flight
            if in_flight:
                logger.warning(
                    "stopping: waiting up to %s for %s",
                    duration(self._options.grace_s),
                    counted(in_flight, "answer that is paid for", "answers that are paid for"),
                )
        return now_s - self._stopping_since_s >= self._options.grace_s

    def _moment(self) -> Moment:
        keys = self._sender.keys
        wait = keys.waiting_on()
        waiting = ""
        if wait is not None:
            soon = "" if wait.until_s is None else duration(wait.until_s - self._clock.now_s())
            waiting = f"{wait.reason}{', ' + soon + ' to go' if soon else ''}"
        funds = self._funds()
        if funds is not None and funds.waiting and not waiting:
            waiting = "max_cost: answers in flight may give money back"
        if self._batch_mode is not None and not waiting:
            waiting = self._batch_mode.scheduler.words()
        with self._lock:
            done, failed = self._done, self._failed
        return Moment(
            files_done=done,
            files_failed=failed,
            calls=self._context.tally.figures(),
            keys=keys.counts().states,
            waiting=waiting,
            funds=funds,
        )

    def _funds(self) -> Funds | None:
        budget = self._context.budget
        return None if budget is None else budget.funds()

    def _on_done(self, file: Finished) -> None:
        del file
        self._files.is_published()
        with self._lock:
            self._done += 1

    def _on_not_published(self, file: Finished, error: ToolkitError) -> None:
        self._files.is_published()
        if concerns_all(error):
            self._context.stop.close(error)
        else:
            self._files.fail(file.path, file.file_id, self._files.note_of(error))

    def _on_failed(self, path: str, note: FailureNote) -> None:
        with self._lock:
            self._failed += 1
            self._failures.add(path, note)
            is_too_many = self._failed > self._failures_allowed
        if is_too_many:
            message = (
                f"{counted(self._failed, 'file')} failed, more than fail_on_error="
                f"{self._options.fail_on_error} allows; see {self._failures.path}"
            )
            self._context.stop.close(FilesFailed(message))

    def _summary(self, plan: Plan, signals: StopSignals) -> RunSummary:
        reason = self._context.stop.reason
        stopped = "" if reason is None else str(reason)
        remote = Standing() if self._batch_mode is None else self._batch_mode.standing()
        if signals.received is not None:
            stopped = f"told to by {signal.Signals(signals.received).name}"
        return RunSummary(
            done=self._done,
            skipped=plan.skipped_done + plan.skipped_existing,
            failed=self._failed,
            aside=plan.aside,
            left=plan.due_count + plan.later - self._done - self._failed,
            calls=self._context.tally.figures(),
            keys=tuple(self._sender.keys.status()),
            seconds=self._clock.now_s() - self._since_s,
            stopped=stopped,
            output_path=self._session.layout.output_name,
            output_file=self._session.only_output() if self._done or plan.skipped_done else "",
            failures_path=self._failures.path if self._failures.count else "",
            failures_mostly=self._failures.mostly(),
            funds=self._funds(),
            batches_left=remote.batches,
            batch_calls_left=remote.in_batches,
        )

    def _raise_reason(self, summary: RunSummary, signals: StopSignals) -> None:
        reason = self._context.stop.reason
        if signals.received is not None:
            _say(summary, self._options)
            raise RunStopped(128 + signals.received, summary)
        if isinstance(reason, ToolkitError):
            _say(summary.beside_error(), self._options)
            reason.summary = summary
        if reason is not None:
            raise reason
