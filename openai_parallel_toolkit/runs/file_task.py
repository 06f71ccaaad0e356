"""Take one file through its hooks, from its input to its staged output."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..calls.file_calls import FileCalls, current_file_calls
from ..calls.run_context import RunContext
from ..calls.sender import Sender
from ..core.clock import Clock
from ..core.errors import HookUnwound, RunStopping, ToolkitError
from ..core.filesystem import as_toolkit_error, is_disk_trouble
from ..core.records import FailureNote, FileState
from ..files.inputs import signature_of
from ..files.plan import DueFile
from ..files.publish import Finished, Publisher
from ..files.staging import StagedFolder
from .hooks import Hooks
from .session import RunSession
from .suspension import BatchSuspension, PendingRequests

logger = logging.getLogger(__name__)

_TRACE_FRAMES = 6
#: Files whose outputs may wait to be moved into place.
_MOST_UNPUBLISHED = 1_000


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One file in the hands of its hooks."""

    path: str
    slot: int
    file_calls: FileCalls
    #: In batch mode, what its hooks ask for; None: that is sent at once.
    asks: PendingRequests | None = None
    staged: StagedFolder | None = None
    signature: str = ""
    #: Where its hooks run now.
    thread_id: int = field(default_factory=threading.get_ident)
    #: What runs its async hook; None: no async hook runs.
    task: asyncio.Task[Any] | None = None


class FileRunner:
    """Runs the hooks over single files; what differs between files is in their Job.

    One lock guards the set of jobs that are under way.
    """

    def __init__(
        self,
        *,
        hooks: Hooks,
        session: RunSession,
        publisher: Publisher,
        sender: Sender,
        context: RunContext,
        clock: Clock,
        on_failed: Callable[[str, FailureNote], None],
        max_file_attempts: int,
        suspender: BatchSuspension | None = None,
    ) -> None:
        self.hooks = hooks
        self._journal = session.journal
        self._layout = session.layout
        self._inputs = session.inputs
        self._staging = session.staging
        self._register = session.register
        self._publisher = publisher
        self._sender = sender
        self._context = context
        self._clock = clock
        self._on_failed = on_failed
        self._max_file_attempts = max_file_attempts
        self._suspender = suspender
        self._lock = threading.Lock()
        self._jobs: set[Job] = set()
        # Hooks that are faster than the disk wait here.
        self._room = threading.Semaphore(_MOST_UNPUBLISHED)

    def jobs(self) -> list[Job]:
        """Return the files that are under way."""
        with self._lock:
            return list(self._jobs)

    def abandon_all(self) -> None:
        """Ignore whatever the files that are still under way do from now on."""
        for job in self.jobs():
            job.file_calls.is_abandoned = True

    def run(self, slot: int, due: DueFile, *, alone: bool = False) -> None:
        """Take one file through blocking hooks; never raises for what they do."""
        with self.job(slot, due, alone=alone) as job:
            data = self.read(job)
            self.write(job, self.hooks.process_data(data))

    @contextmanager
    def job(self, slot: int, due: DueFile, *, alone: bool = False) -> Iterator[Job]:
        """Open a file for the block; what the block raises becomes the file's failure."""
        job = self.begin(slot, due, alone=alone)
        token = current_file_calls.set(job.file_calls)
        error: BaseException | None = None
        try:
            yield job
        except BaseException as exc:  # noqa: BLE001 - a hook may raise anything, SystemExit too
            error = exc
        finally:
            current_file_calls.reset(token)
            self.finish(job, error)

    def begin(self, slot: int, due: DueFile, *, alone: bool = False) -> Job:
        """Mark a file as open and look up what it was answered before."""
        path = due.path
        self._register.enter(slot, path, alone=alone)
        record = self._journal.file(path, is_known=due.is_known)
        if record.state not in (None, FileState.OPEN):
            self._journal.opened(record.id)
        asks = self._suspender.asks(record.id) if self._suspender is not None else None
        file_calls = FileCalls(
            sender=self._sender,
            context=self._context,
            file_id=record.id,
            path=path,
            answers=self._journal.answers(record.id) if due.is_known else {},
            absent=asks,
            on_call=lambda is_waiting: self._register.in_call(slot, is_waiting),
            clock=self._clock,
        )
        job = Job(path=path, slot=slot, file_calls=file_calls, asks=asks)
        with self._lock:
            self._jobs.add(job)
        return job

    def read(self, job: Job) -> Any:
        """Run process_input over the open file."""
        with ExitStack() as stack:
            with job.file_calls.in_call():  # no hook runs while it comes from afar
                found = stack.enter_context(self._inputs.at_hand(job.path))
            file = stack.enter_context(self.hooks.open_input(found.path))
            job.signature = found.signature or signature_of(os.fstat(file.fileno()))
            return self.hooks.process_input(file)

    def write(self, job: Job, result: Any) -> None:
        """Run process_output into staging and hand what it wrote to the publisher."""
        job.staged = self._staging.begin(self._layout.without_ext(job.path))
        self.hooks.process_output(result, job.staged.path_without_ext)
        outputs = job.staged.collect()
        self._check_unchanged(job)
        file_calls = job.file_calls
        is_open = job.asks is not None and not job.asks.close()
        if is_open or file_calls.is_unwound or not self._let_go(job):
            raise RunStopping
        self._room.acquire()
        self._publisher.publish(
            Finished(
                file_id=file_calls.file_id,
                path=job.path,
                file_calls=job.staged,
                outputs=outputs,
                hooks_version=self.hooks.version,
                input_signature=job.signature,
            )
        )
        job.staged = None

    def is_published(self) -> None:
        """Note that one file's outputs were published, or could not be."""
        self._room.release()

    def _check_unchanged(self, job: Job) -> None:
        if not self._inputs.check_unchanged(job.path, job.signature):
            logger.warning("%s was removed while it was worked on", job.path)

    def finish(self, job: Job, error: BaseException | None) -> None:
        """Close a file's record; an error that is no order to stop is its failure."""
        with self._lock:
            self._jobs.discard(job)
        if job.staged is not None:
            job.staged.discard()
        file_calls = job.file_calls
        if file_calls.is_abandoned:
            return
        self._register.leave(job.slot)
        if self._is_suspended(job):
            return
        if error is None or file_calls.is_unwound or isinstance(error, HookUnwound):
            return
        if is_disk_trouble(error):  # the next file would fare no better
            place = getattr(error, "filename", None) or self._layout.output_root
            self._context.stop.close(as_toolkit_error(error, str(place)))
            return
        self.fail(job.path, file_calls.file_id, self.note_of(error))

    def _is_suspended(self, job: Job) -> bool:
        """Let a file wait for what its hooks asked for, whatever they did after that."""
        asks = [] if job.asks is None else job.asks.open()
        if not asks or self._suspender is None or self._context.stop.reason is not None:
            return False
        try:
            note = self._suspender.suspend(job.path, job.file_calls, asks)
        except ToolkitError as exc:  # the journal cannot be read
            self._context.stop.close(exc)
            return True
        if note is not None:
            self.fail(job.path, job.file_calls.file_id, note)
        return True

    def note_of(self, error: BaseException) -> FailureNote:
        """Return what may be shown and kept of an error."""
        clean = self._sender.keys.redactor.clean
        frames = traceback.format_exception(type(error), error, error.__traceback__)
        trace = "" if isinstance(error, ToolkitError) else "".join(frames[-_TRACE_FRAMES:])
        return FailureNote(
            kind=type(error).__name__, message=clean(str(error))[:2000], trace=clean(trace)[:8000]
        )

    def fail(self, path: str, file_id: int, note: FailureNote) -> None:
        """Record a file's failure."""
        self._journal.failed(file_id, note, max_file_attempts=self._max_file_attempts)
        logger.info("%s failed: %s: %s", path, note.kind, note.message)
        self._on_failed(path, note)

    def abandon(self, job: Job, note: FailureNote) -> bool:
        """Give up on a file whose hook hangs: record it, and ignore whatever it still does.

        False: its hooks have returned after all.
        """
        if not self._let_go(job):
            return False
        job.file_calls.is_abandoned = True
        self._register.leave(job.slot)
        self.fail(job.path, job.file_calls.file_id, note)
        return True

    def _let_go(self, job: Job) -> bool:
        """Take a file out of the hands of its hooks; False: somebody else was first."""
        with self._lock:
            is_first = job in self._jobs and not job.file_calls.is_abandoned
            self._jobs.discard(job)
        return is_first
