"""Take one file through its hooks, from its input to its staged output."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from ..calls.file_calls import FileCalls
from ..calls.sender import Sender
from ..core.describe import is_a
from ..core.errors import HookUnwound, RunStopping, ToolkitError
from ..core.filesystem import as_toolkit_error
from ..core.logs import logger_of
from ..core.records import FailureNote, FileState
from ..files.plan import DueFile
from ..files.publish import Finished, Publisher, concerns_all
from ..files.remarks import FOUND_OUTPUTS
from ..files.staging import StagedFolder
from ..files.verdicts import found_outputs
from .folder_session import FolderSession
from .hook_failure import HookFailure, failure_of, note_of
from .hook_runner import FileTask, HookRunner
from .hooks import Hooks
from .options import RunOptions
from .results import FileResults
from .suspension import BatchSuspension

logger = logger_of(__name__)

#: Behind an error that names where outputs wait until they are whole.
_ABOUT_STAGING = (
    " (output_file_without_ext is the whole path of a place where outputs wait: write below it as "
    "it is, and build other names from those of current_file())"
)
#: Files whose outputs may wait to be moved into place.
_MOST_UNPUBLISHED = 1_000


class FileRunner(HookRunner[DueFile]):
    """Runs the hooks over single files and has what they wrote published.

    What differs between files is in their FileTask. One lock guards the set of those under way.
    """

    def __init__(
        self,
        options: RunOptions,
        hooks: Hooks,
        session: FolderSession,
        sender: Sender,
        results: FileResults,
        *,
        suspension: BatchSuspension | None = None,
    ) -> None:
        """Start the publisher.

        Args:
            results: told of every file that came to its end.
            suspension: in batch mode, where files wait for their answers; None: all is sent now.
        """
        super().__init__(hooks, sender.turns, session.inputs)
        self._max_file_attempts = options.max_file_attempts
        self._renews = options.retry_failed
        self._session = session
        self._journal = session.journal
        self._register = session.register
        #: Whether earlier runs added lines to common files, which may have to go.
        self._has_appended = bool(session.journal.appended_names())
        self._sender = sender
        self.context = session.context
        #: Takes the keys out of a text.
        self.clean = sender.keys.redactor.clean
        self._results = results
        self._suspension = suspension
        self._publisher = Publisher(
            session.tree,
            session.staging,
            session.journal,
            on_done=self._on_published,
            on_failed=self._on_not_published,
            on_found=self._on_found,
            force=options.force,
            key=session.name_key,
        )
        #: How outputs end that were there, after their inputs' names.
        self._found_ends: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._tasks: set[FileTask] = set()
        # Hooks that are faster than the disk wait here.
        self._room = threading.Semaphore(_MOST_UNPUBLISHED)

    @property
    def trouble(self) -> BaseException | None:
        """Why nothing can be published any more; None: it can."""
        return self._publisher.trouble

    def close(self) -> None:
        """Publish what waits for it."""
        self._publisher.close()

    def tasks(self) -> list[FileTask]:
        """Return the files that are under way."""
        with self._lock:
            return list(self._tasks)

    def begin(self, slot: int, due: DueFile, *, alone: bool = False) -> FileTask:
        """Mark a file as open and look up what it was answered before."""
        path = due.path
        self._register.enter(slot, path, alone=alone)
        record = self._journal.file(path, is_known=due.is_known)
        if record.state not in (None, FileState.OPEN):
            self._journal.opened(record.id)
        asks = self._suspension.asks(record.id) if self._suspension is not None else None
        file_calls = FileCalls(
            sender=self._sender,
            context=self._session.context,
            file_id=record.id,
            path=path,
            layout=self._session.layout,
            answers=self._journal.answers(record.id) if due.is_known else {},
            is_earlier=self._journal.is_earlier,
            absent=asks,
            renews=self._renews,
            on_call=lambda is_waiting: self._register.in_call(slot, is_waiting),
            clock=self._session.clock,
        )
        task = FileTask(path=path, slot=slot, file_calls=file_calls, asks=asks)
        with self._lock:
            self._tasks.add(task)
        return task

    def stage(self, task: FileTask) -> StagedFolder:
        """Make the folder that the hooks of a file, in whatever process, write to."""
        task.staged = self._stage(task)
        return task.staged

    def _stage(self, task: FileTask) -> StagedFolder:
        return self._session.staging.begin(self._session.layout.without_ext(task.path))

    def _hand_over(self, task: FileTask) -> None:
        if not self.publish(task):
            raise RunStopping

    def publish(self, task: FileTask) -> bool:
        """Hand to the publisher what a file's hooks have staged; False: they had no right to."""
        file_calls, staged = task.file_calls, task.staged
        is_open = task.asks is not None and not task.asks.close()
        if is_open or file_calls.is_unwound or staged is None or not self._let_go(task):
            return False
        appended = tuple(file_calls.appended)
        self._room.acquire()
        self._publisher.publish(
            Finished(
                file_id=file_calls.file_id,
                path=task.path,
                staged=staged,
                outputs=task.outputs,
                hooks_version=self.hooks.version,
                input_signature=task.signature,
                lines=appended if appended or self._has_appended else None,
            )
        )
        task.staged = None
        return True

    def _on_published(self, file: Finished) -> None:
        self._room.release()
        self._results.add_remarks(file, self._session.staging.token)
        self._results.add_done()

    def _on_found(self, file: Finished) -> None:
        """Count a file as done by outputs that are there."""
        self._room.release()
        finals = [output.final for output in file.outputs]
        base = self._session.layout.without_ext(file.path)
        # Another set each time: those who look have no lock.
        ends = (final.removeprefix(base) for final in finals if final.startswith(base))
        self._found_ends = self._found_ends.union(ends)
        self._count_found(file.path, finals, file.input_signature)

    def is_found(self, path: str) -> bool:
        """Whether a file's outputs are there, as those of others in this run turned out to be."""
        if not self._found_ends:
            return False
        session = self._session
        base = session.layout.without_ext(path)
        finals = [
            base + end
            for end in self._found_ends
            if session.tree.holds(base + end) and not self._journal.owner_of_output(base + end)
        ]
        if finals:
            self._count_found(path, finals, session.inputs.signature(path))
        return bool(finals)

    def _count_found(self, path: str, finals: Sequence[str], signature: str | None) -> None:
        self._results.remarks.add(FOUND_OUTPUTS, path)
        outputs = found_outputs(self._session.tree, finals)
        self._session.count_as_done(path, outputs, signature)
        self._results.add_done()

    def _on_not_published(self, file: Finished, error: ToolkitError) -> None:
        self._room.release()
        if concerns_all(error):
            self._session.stop.close(error)
        else:
            self._fail(file.path, file.file_id, note_of(error, self.clean))

    def finish(self, task: FileTask, error: BaseException | None) -> None:
        failure = None
        if not (error is None or task.file_calls.is_unwound or is_a(error, HookUnwound)):
            # While the file is still under way: methods of the user's are called.
            failure = failure_of(error, self.clean, self._session.layout.output_root)
        self.end(task, failure)

    def end(self, task: FileTask, failure: HookFailure | None) -> None:
        """Close the record of a file whose hooks have returned."""
        file_calls = task.file_calls
        with self._lock:
            self._tasks.discard(task)
        if task.staged is not None:
            task.staged.discard()
        if file_calls.is_abandoned:
            return
        file_calls.on_call = None  # what the hooks have left running waits in no slot
        self._register.leave(task.slot)
        if self._is_suspended(task) or failure is None:
            return
        if failure.stops_run is not None:
            self._session.stop.close(failure.stops_run)
        else:
            self._fail(task.path, file_calls.file_id, failure.note, is_own=failure.is_own)

    def _is_suspended(self, task: FileTask) -> bool:
        """Let a file wait for what its hooks asked for, whatever they did after that."""
        asks = [] if task.asks is None else task.asks.open()
        if not asks or self._suspension is None or self._session.stop.is_closed():
            return False
        try:
            note = self._suspension.suspend(task.path, task.file_calls, asks)
        except ToolkitError as exc:  # the journal cannot be read
            self._session.stop.close(exc)
            return True
        if note is not None:
            self._fail(task.path, task.file_calls.file_id, note)
        return True

    def _fail(self, path: str, file_id: int, note: FailureNote, *, is_own: bool = True) -> None:
        """Record a file's failure; one that is not its own does not put it aside."""
        if self._session.staging.token in note.message:
            note = replace(note, message=note.message + _ABOUT_STAGING)
        most = self._max_file_attempts if is_own else None
        self._journal.failed(file_id, note, max_file_attempts=most)
        self._tell_failed(path, note)

    def _tell_failed(self, path: str, note: FailureNote) -> None:
        logger.info("%s failed: %s: %s", path, note.kind, note.message)
        try:
            self._results.add_failed(path, note)
        except OSError as exc:
            self._session.stop.close(as_toolkit_error(exc, self._session.failures_path))

    def abandon(self, task: FileTask, note: FailureNote) -> bool:
        """Give up on a file whose hook hangs: record it, and ignore whatever it still does.

        False: its hooks have returned after all.
        """
        if not self._let_go(task):
            return False
        task.file_calls.is_abandoned = True
        self._register.leave(task.slot)
        self._fail(task.path, task.file_calls.file_id, note)
        return True

    def is_stopped(self) -> bool:
        """Whether nothing more may be begun."""
        return self._session.stop.is_closed()

    def suspect(self, task: FileTask) -> None:
        """Note that a file may have killed the process that its hooks ran in."""
        self._journal.mark_suspects([task.file_calls.file_id])

    def put_aside(self, task: FileTask, note: FailureNote) -> None:
        """Leave a file alone that has, until it is asked for."""
        self._journal.put_aside(task.file_calls.file_id, note)
        self._tell_failed(task.path, note)

    def take_back(self, task: FileTask) -> bool:
        """Take a file from hooks that died with their process; False: they were done with it."""
        is_taken = self._let_go(task)
        if is_taken:
            task.file_calls.is_abandoned = True
            self._register.leave(task.slot)
        if is_taken and task.staged is not None:
            task.staged.discard()
        return is_taken

    def _let_go(self, task: FileTask) -> bool:
        """Take a file out of the hands of its hooks; False: somebody else was first."""
        with self._lock:
            is_first = task in self._tasks and not task.file_calls.is_abandoned
            self._tasks.discard(task)
        return is_first
