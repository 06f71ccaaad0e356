"""One run over a folder, from taking the lock to the summary."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ..calls import openai_import
from ..calls.open_runs import OpenRun
from ..calls.sender import Sender
from ..core.errors import ConfigError
from ..core.filesystem import as_toolkit_error
from ..core.logs import logger_of
from ..core.open_file_limit import make_room
from ..core.settings import settings_told
from ..core.text import counted
from ..core.threads import startable
from ..files.common_files import write_common_files
from ..files.match import Selection
from ..files.plan import DueFile, Plan
from ..files.remarks import FOUND_OUTPUTS
from ..files.run_folders import lay_out
from ..journal.batch_rows import BatchCounts
from ..keys import APIKeyManager
from ..transport import Transport
from .async_workers import AsyncWorkers
from .batch_mode import BatchMode
from .cpu_use import CpuUse
from .dry_run import dry_run
from .file_task import FileRunner
from .folder_session import FolderSession
from .hang_watchdog import HangWatchdog
from .hook_runner import FileTask, stack_of
from .hooks import Hooks
from .notices import IN_SUMMARY, Notices
from .options import RunOptions
from .progress import make_display
from .prompt_check import count_changed_prompts
from .results import FileResults
from .sample import Sample
from .session import told_early
from .summary import RunSummary
from .thread_count import ThreadCount
from .workers import FileQueue, ThreadWorkers, Workers

if TYPE_CHECKING:
    from .cluster.processes import WorkerPool

logger = logger_of(__name__)

#: Descriptors that a run needs besides those of its files, and for each file under way: its input,
#: its output, its connection and what a hook may open.
_OWN_FILES = 24
_FILES_EACH = 4
#: Threads besides one for each file under way: the publisher's helpers, the bar's, those of hooks.
_OWN_THREADS = 6
#: How often the display is drawn and hung hooks are looked for.
_TICK_S = 0.2


def run_folder(
    options: RunOptions,
    hooks: Hooks,
    keys: APIKeyManager,
    *,
    transport: Transport | None = None,
    sample: Sample | None = None,
) -> RunSummary:
    """Run the hooks over every file that is due; see `ParallelToolkit.run`.

    Args:
        sample: chooses some of them, and nothing is printed; None: all.
    """
    if options.mode == "batch" and transport is not None:
        raise ConfigError('mode="batch" sends by itself; a transport= works with mode="live" alone')
    layout = lay_out(
        options.input_path,
        options.output_path,
        output_names=options.output_names,
        state_path=options.state_path,
    )
    with (
        told_early(RunSummary, prints=options.progress),
        FolderSession(layout, options, keys) as session,
        ExitStack() as stack,
    ):
        plan = session.plan(options.part(Selection), hooks.version)
        stack.callback(plan.close)
        if sample is not None:
            plan = sample.choose(plan, session.inputs, session.state_folder)
            stack.callback(plan.close)
        for note in plan.notes:
            logger.warning("%s", note)
        sender = Sender.of(keys)
        if transport is not None:
            sender = stack.enter_context(closing(Sender(keys, transport=transport)))
        openai_import.make_durable()
        stack.callback(hooks.close)
        changed_prompts = count_changed_prompts(options, hooks, session, sender)
        if options.dry_run:
            planned = None if sample is None else sample.planned
            notices = Notices.of(plan.remarks, changed_prompts=changed_prompts)
            summary = replace(dry_run(hooks, session, plan, sender, planned), notices=notices)
        else:
            run = FolderRun(options, hooks, session, sender, plan, changed_prompts=changed_prompts)
            summary = run.work()
    if sample is None:
        session.say(str(summary))
        if not options.progress:
            for line in summary.notices.lines():
                logger.warning("%s", line, extra={"action": IN_SUMMARY})
            if summary.aside:
                logger.warning("%s", summary.aside_words())
        summary.check_end(options.fail_on_error)
    return summary


class FolderRun:
    """Works a plan through, and tells what came of it."""

    def __init__(
        self,
        options: RunOptions,
        hooks: Hooks,
        session: FolderSession,
        sender: Sender,
        plan: Plan,
        *,
        changed_prompts: int = 0,
    ) -> None:
        """Prepare; about so many finished files would ask something else now."""
        self._changed_prompts = changed_prompts
        self._options = options
        self._hooks = hooks
        self._session = session
        self._sender = sender
        session.journal.write_on(sender.calls)
        self._plan = plan
        self._pool: WorkerPool | None = None
        self._tick = threading.Event()
        self._threads = ThreadCount(options.num_threads, session.keys, session.clock)
        session.on_threads = self._threads.tell
        self._cpu = CpuUse(session.clock.now_s, sender.cpu_s)
        self._already = plan.skipped_done + plan.skipped_existing
        self._batch_mode: BatchMode | None = None
        if options.mode == "batch":
            self._batch_mode = BatchMode(options, hooks, session, sender)
        self._results = FileResults(
            session.failures_path, session.stop, options, plan.due_count, plan.remarks
        )
        self._files = FileRunner(
            options,
            hooks,
            session,
            sender,
            self._results,
            suspension=self._batch_mode.suspender if self._batch_mode is not None else None,
        )
        if options.engine != "threads" and plan.due_count:
            from .cluster.lending import Suspects
            from .cluster.processes import WorkerPool

            self._pool = WorkerPool(options, hooks, session, sender, plan.due_count)
            self._suspects = Suspects(self._files)

    def work(self) -> RunSummary:
        """Run the hooks over every file that is due, and note in the journal how it ended.

        Raises:
            RunStopped: a signal came.
            ToolkitError: what made the run stop; its `summary` tells how far it came.
        """
        session, is_batch = self._session, self._batch_mode is not None
        run = OpenRun(self._sender, session.context, refuses_untracked=is_batch)
        session.begin(self._hooks.version, settings_told(self._options))
        is_asked = self._options.retry_failed
        session.journal.release_aside(other_than=None if is_asked else self._hooks.version)
        with session.heeding(self._summary), OpenRun.opened(run):
            with self._stopping():
                self._work_through()
            with self._stopping():
                self._write_common_files()
            summary = self._summary()
            session.end(summary)
        return session.hand_over(summary)

    def _write_common_files(self) -> None:
        session = self._session
        if session.journal.trouble is None:
            force = self._options.force
            is_old_copy = self._results.remarks.count(FOUND_OUTPUTS) > 0
            session.journal.flush()  # what was found is noted
            write_common_files(
                session.journal,
                session.staging,
                session.tree,
                force=force,
                is_old_copy=is_old_copy,
            )

    def _work_through(self) -> None:
        options, plan, batch_mode = self._options, self._plan, self._batch_mode
        suspects, clock = set(self._session.suspects), self._session.clock
        self._display = make_display(
            options.name, clock=clock, already=self._already, is_wanted=options.progress
        )
        if batch_mode is not None:
            batch_mode.start()
        try:
            if suspects:
                alone = (file for file in plan.due() if file.path in suspects)
                self._see_through(alone, 1, is_alone=True)
            most = max(1, plan.due_count)
            wanted = min(self._threads.count, most)
            count = self._fitting(wanted)
            if count < wanted:
                self._threads.tell(count)
            self._see_through(self._others(suspects), count, most=most)
            while self._pool is not None and (found := self._suspects.take()):
                self._see_through(iter(found), 1, is_alone=True)
            if batch_mode is not None:
                batch_mode.work_off(
                    lambda ready: self._see_through(iter(ready), min(count, len(ready))),
                    self._look,
                )
        finally:
            if batch_mode is not None:
                batch_mode.close(options.grace_s)
            if self._pool is not None:
                self._pool.close()
            self._files.close()
            self._session.tell_soon()
            self._look()
            self._display.close()

    def _others(self, suspects: set[str]) -> Iterator[DueFile]:
        for file in self._plan.due():
            if file.path not in suspects and not self._files.is_found(file.path):
                yield file

    def _see_through(
        self, files: Iterator[DueFile], count: int, *, most: int = 1, is_alone: bool = False
    ) -> None:
        """Work through files, `count` at a time at first and never more than `most`."""
        session = self._session
        queue = FileQueue(files, session.stop.is_closed, is_alone=is_alone)
        workers, stack = self._workers(queue, count)
        timeout_s = self._options.hook_timeout_s
        stop = session.stop.close
        watchdog = HangWatchdog(self._files, workers, session.clock, timeout_s, stop, stack)
        try:
            with self._stopping():
                workers.start()
            while workers.is_busy() and not session.is_grace_over():
                self._tick.wait(_TICK_S)
                self._tick.clear()
                with self._stopping():
                    self._look()
                    watchdog.look()
                    self._resize(workers, most)
        finally:
            for task in self._files.tasks():  # ignore whatever they do from now on
                task.file_calls.is_abandoned = True
            workers.close()

    def _workers(self, queue: FileQueue, count: int) -> tuple[Workers, Callable[[FileTask], str]]:
        """Return what keeps files of a queue under way, and what tells where their hooks are."""
        given = (queue, self._files, count, self._tick.set, self._on_trouble)
        if self._pool is not None:
            from .cluster.lending import LendingWorkers

            lending = LendingWorkers(*given, pool=self._pool, suspects=self._suspects)
            return lending, lending.stack_of
        return (AsyncWorkers if self._hooks.is_async else ThreadWorkers)(*given), stack_of

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """Stop the run for what goes wrong in the block; what is in flight is still taken in."""
        try:
            yield
        except Exception as exc:  # noqa: BLE001 - raised at the end of the run
            self._on_trouble(exc)

    def _resize(self, workers: Workers, most: int) -> None:
        """Have as many files under way as is said, or as keys have room for."""
        funds = self._session.funds
        wanted = self._threads.look(is_short=funds is not None and funds.waiting > 0)
        wanted, now = min(wanted, most), workers.count
        if wanted > now:
            fitting = now + self._fitting(wanted - now, beside=now)
            if fitting < wanted:
                self._threads.tell(fitting)
            wanted = fitting
        if wanted != now:
            workers.resize(wanted)

    def _fitting(self, count: int, *, beside: int = 0) -> int:
        """Return how many of so many more files the system lets be under way at a time."""
        room = make_room(_OWN_FILES + _FILES_EACH * count)
        fitting = count
        if room is not None:
            fitting = max(1, (room - _OWN_FILES) // _FILES_EACH)
            words = f"open only {room} more files and connections"
            self._tell_of_limit(beside + fitting, beside + count, words, "ulimit -n")
        threads = _OWN_THREADS + (0 if self._hooks.is_async else fitting)
        started = startable(threads)
        if started < threads:
            fitting = max(1, started - _OWN_THREADS)
            words = f"start only {counted(started, 'more thread')}"
            self._tell_of_limit(beside + fitting, beside + count, words, "ulimit -u")
        return fitting

    def _tell_of_limit(self, fitting: int, count: int, limit: str, command: str) -> None:
        logger.warning(
            "%s at a time instead of num_threads=%d: this process may %s; allow more with `%s`",
            counted(fitting, "file"),
            count,
            limit,
            command,
        )

    def _on_trouble(self, error: BaseException) -> None:
        """Stop for what went wrong outside of hooks."""
        if isinstance(error, OSError | MemoryError):
            error = as_toolkit_error(error, self._session.layout.output_root)
        self._session.stop.close(error)

    def _look(self) -> None:
        self._session.look()
        self._cpu.look()
        if self._files.trouble is not None:
            self._session.stop.close(self._files.trouble)
        done, failed = self._results.counts()
        due, pace = self._plan.due_count, []
        if self._pool is not None:
            pace.append(counted(self._pool.size, "worker"))
        if self._threads.is_auto:
            pace.append(f"{min(self._threads.count, due):,} at a time")
        standing = self._session.standing(
            done + failed, due, failed, self._batch_words, ", ".join(pace)
        )
        finished, total = self._already + done + failed, self._already + due
        self._display.show(finished, total, standing)
        self._session.tell_progress("file", finished, total, failed, self._batch_words)

    def _batch_words(self) -> str:
        return "" if self._batch_mode is None else self._batch_mode.scheduler.words()

    def _summary(self) -> RunSummary:
        session, plan, failures = self._session, self._plan, self._results.failures
        self._results.remark_strays(session.tree, session.journal)
        done, failed = self._results.counts()
        remote = (
            BatchCounts() if self._batch_mode is None else self._batch_mode.scheduler.batch_counts()
        )
        return RunSummary(
            done=done,
            skipped=self._already,
            failed=failed,
            aside=plan.aside,
            left=plan.due_count + plan.later - done - failed,
            calls=session.context.tally.figures(),
            workers=0 if self._pool is None else self._pool.size,
            is_short_of_cpu=self._pool is None and self._cpu.is_short,
            threads=min(self._threads.count, plan.due_count),
            keys=tuple(session.keys.status()),
            seconds=session.seconds,
            stopped=session.stopped,
            output_path=session.layout.output_name,
            output_file=session.only_output() if done or plan.skipped_done else "",
            failures_path=failures.path if failed else "",
            causes=failures.causes.told(),
            notices=Notices.of(plan.remarks, changed_prompts=self._changed_prompts),
            funds=session.funds,
            batches_left=remote.batches,
            batch_calls_left=remote.in_batches,
        )
