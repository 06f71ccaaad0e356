"""Take one file through its hooks, from its input to its staged output."""

from __future__ import annotations

import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..clock import Clock
from ..errors import HookUnwound, RunStopping, ToolkitError
from ..execution import Execution, current_execution
from ..journal import Journal
from ..live import LiveLane
from ..records import FailureNote
from ..scope import Scope
from ..work import OpenFiles, Publisher, StagedFolder, Staging, input_signature
from .hooks import Hooks

logger = logging.getLogger(__name__)

_TRACE_FRAMES = 6


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One file in the hands of its hooks."""

    path: str
    slot: int
    execution: Execution
    staged: StagedFolder | None = None
    signature: str = ""
    thread_id: int = field(default_factory=threading.get_ident)


class FileRunner:
    """Runs the hooks over single files; what differs between files is in their Job.

    One lock guards the set of jobs that are under way.
    """

    def __init__(
        self,
        *,
        hooks: Hooks,
        journal: Journal,
        lane: LiveLane,
        scope: Scope,
        input_root: str,
        staging: Staging,
        publisher: Publisher,
        register: OpenFiles,
        clock: Clock,
        on_failed: Callable[[str, FailureNote], None],
        max_file_attempts: int,
    ) -> None:
        self.hooks = hooks
        self._journal = journal
        self._lane = lane
        self._scope = scope
        self._input_root = input_root
        self._staging = staging
        self._publisher = publisher
        self._register = register
        self._clock = clock
        self._on_failed = on_failed
        self._max_file_attempts = max_file_attempts
        self._lock = threading.Lock()
        self._jobs: set[Job] = set()

    def jobs(self) -> list[Job]:
        """Return the files that are under way."""
        with self._lock:
            return list(self._jobs)

    def run(self, slot: int, path: str, *, alone: bool = False) -> None:
        """Take one file through blocking hooks; never raises for what they do."""
        with self.job(slot, path, alone=alone) as job:
            data = self.read(job)
            self.write(job, self.hooks.process_data(data))

    @contextmanager
    def job(self, slot: int, path: str, *, alone: bool = False) -> Iterator[Job]:
        """Open a file for the block; what the block raises becomes the file's failure."""
        job = self.begin(slot, path, alone=alone)
        token = current_execution.set(job.execution)
        error: BaseException | None = None
        try:
            yield job
        except BaseException as exc:  # noqa: BLE001 - a hook may raise anything, SystemExit too
            error = exc
        finally:
            current_execution.reset(token)
            self.finish(job, error)

    def begin(self, slot: int, path: str, *, alone: bool = False) -> Job:
        """Mark a file as open and look up what it was answered before."""
        self._register.enter(slot, path, alone=alone)
        record = self._journal.file(path)
        execution = Execution(
            lane=self._lane,
            scope=self._scope,
            file_id=record.id,
            path=path,
            answers=self._journal.answers(record.id),
            on_call=lambda is_waiting: self._register.in_call(slot, is_waiting),
            clock=self._clock,
        )
        job = Job(path=path, slot=slot, execution=execution)
        with self._lock:
            self._jobs.add(job)
        return job

    def read(self, job: Job) -> Any:
        """Run process_input over the open file."""
        with self.hooks.open_input(os.path.join(self._input_root, job.path)) as file:
            job.signature = input_signature(file.fileno())
            return self.hooks.process_input(file)

    def write(self, job: Job, result: Any) -> None:
        """Run process_output into staging and hand what it wrote to the publisher."""
        job.staged = self._staging.folder_for(job.path)
        self.hooks.process_output(result, job.staged.path_without_ext)
        execution = job.execution
        if execution.is_unwound or execution.is_fenced:
            raise RunStopping
        self._publisher.submit(
            file_id=execution.file_id,
            path=job.path,
            staged=job.staged,
            signature=job.signature,
        )
        job.staged = None

    def finish(self, job: Job, error: BaseException | None) -> None:
        """Close a file's record; an error that is no order to stop is its failure."""
        with self._lock:
            self._jobs.discard(job)
        if job.staged is not None:
            job.staged.discard()
        execution = job.execution
        if execution.is_fenced:
            return
        self._register.leave(job.slot)
        if error is None or execution.is_unwound or isinstance(error, HookUnwound):
            return
        self.fail(job.path, execution.file_id, self.note_of(error))

    def note_of(self, error: BaseException) -> FailureNote:
        """Return what may be shown and kept of an error."""
        clean = self._lane.keys.redactor.clean
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

    def fence(self, job: Job, note: FailureNote) -> None:
        """Give up on a file whose hook hangs: record it, and ignore whatever it still does."""
        job.execution.is_fenced = True
        self._register.leave(job.slot)
        self.fail(job.path, job.execution.file_id, note)
