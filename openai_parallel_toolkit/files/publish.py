"""Move finished outputs into place, many files at a time, so that each is whole or absent.

For a batch: intents are committed while the staged bytes go to the disk; then everything is
moved; the folders go to the disk; *done* is committed. A crash in between is finished by
`roll_forward` at the next start.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from functools import partial

from ..core.checkpoint import checkpoint
from ..core.errors import (
    JournalError,
    OutOfResources,
    OutputConflict,
    ToolkitError,
    UnsafePath,
    UsageError,
)
from ..core.filesystem import (
    as_toolkit_error,
    check_relative,
    digest,
    is_disk_trouble,
)
from ..core.open_file_limit import is_out_of_room
from ..core.records import OutputFile
from ..core.threads import Helpers, start_thread
from .output_commits import Commits, Done, OutputJournal
from .output_tree import OutputTree, StagedMove
from .staging import StagedFolder, Staging

_BATCH_FILES = 256
#: A thread that comes back from the disk waits for its turn to run; several wait side by side.
_SYNC_THREADS = 4


@dataclass(slots=True, kw_only=True, eq=False)
class Finished:
    """An execution whose hooks have all returned."""

    file_id: int
    #: The input, relative.
    path: str
    staged: StagedFolder
    outputs: tuple[OutputFile, ...]
    hooks_version: str
    #: Of the input as it was read; None: not known.
    input_signature: str | None
    #: What is added to common files, by their names; None: nothing ever was.
    lines: tuple[tuple[str, str], ...] | None = None


@dataclass(eq=False)
class Publisher:
    """Publishes finished executions from a thread of its own.

    What waits is bounded by the caller: an execution ends when `on_done` or `on_failed` is called.
    One lock guards `_waiting` and `_closing`.
    """

    tree: OutputTree
    staging: Staging
    journal: OutputJournal
    _: KW_ONLY
    #: Called when *done* is committed, on the publisher's thread.
    on_done: Callable[[Finished], None]
    #: Called when the outputs could not be published, on the publisher's thread.
    on_failed: Callable[[Finished, ToolkitError], None]
    #: Called instead of that when all of them are there, made by no run that the journal knows;
    #: None: that is a failure as well.
    on_found: Callable[[Finished], None] | None = None
    #: Whether outputs that the journal does not know may be replaced.
    force: bool = False
    #: Gives equal results for names that the file system takes for the same.
    key: Callable[[str], str] = str

    def __post_init__(self) -> None:
        self._waiting: deque[Finished] = deque()
        self._closing = False
        self._changed = threading.Condition()
        #: Why publishing cannot go on: the disk refuses, or the publisher itself broke; else None.
        self.trouble: BaseException | None = None
        self._syncers = Helpers(_SYNC_THREADS - 1, "sync")
        self._thread = start_thread(self._run, name="publisher")

    def publish(self, file: Finished) -> None:
        """Hand over an execution; returns at once."""
        checkpoint("outputs.publishing")
        with self._changed:
            if self._closing:
                raise UsageError("The publisher is closed.") from self.trouble
            self._waiting.append(file)
            self._changed.notify()

    def close(self) -> None:
        """Publish what waits, then stop. Raises what broke the publisher, if anything did."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._syncers.close()
        if self.trouble is not None and not isinstance(self.trouble, ToolkitError):
            raise self.trouble

    def _run(self) -> None:
        try:
            while files := self._take():
                self._publish(_Batch(files))
        except BaseException as exc:  # noqa: BLE001  # close() raises it on its caller's thread
            with self._changed:
                self._closing, self.trouble = True, exc

    def _take(self) -> list[Finished]:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            count = min(len(self._waiting), _BATCH_FILES)
            return [self._waiting.popleft() for _ in range(count)]

    def _publish(self, batch: _Batch) -> None:
        claims: dict[str, int] = {}
        batch.each(batch.files, partial(self._check, claims))
        intents = self._start(batch, self._intend)
        self._sync(batch)
        self._wait(batch, intents)
        self._move(batch)
        self._wait(batch, self._start(batch, self._finish))
        for file in batch.files:
            self._end(file, batch.errors.get(file.file_id))

    def _check(self, claims: dict[str, int], file: Finished) -> None:
        found = []
        for output in file.outputs:
            check_relative(output.final)
            claimed = claims.setdefault(self.key(output.final), file.file_id)
            if self._is_there_unowned(file, output.final, claimed) and not self.force:
                found.append(output.final)
        if found:
            # Where names are not told apart, it may be another input's after all.
            is_all = len(found) == len(file.outputs) and self.key is str
            raise (_OutputsFound if is_all else OutputConflict)(
                f"{file.path!r} wrote {found[0]!r}, but a file of that name is there that no run "
                "made; move it away, or pass force=True to replace it.",
                path=found[0],
            )

    def _is_there_unowned(self, file: Finished, final: str, claimed: int) -> bool:
        """Refuse an output of another input's; the journal looks again as it takes the intent."""
        is_there = self.tree.holds(final)
        owner = self.journal.owner_of_output(final) if is_there else None
        for other in (owner, claimed):
            if other not in (None, file.file_id):
                raise OutputConflict(
                    f"{file.path!r} wrote {final!r}, which belongs to another input; give each "
                    "its own name, or add lines to one that all share with append_line.",
                    path=final,
                )
        return is_there and owner is None

    def _intend(self, file: Finished, done: Done) -> None:
        # Without outputs as well: what an earlier run wrote is then no longer expected.
        self.journal.intent(file.file_id, file.outputs, done, file.lines)

    def _finish(self, file: Finished, done: Done) -> None:
        self.journal.done_file(file.file_id, file.hooks_version, file.input_signature, done)

    def _start(self, batch: _Batch, begin: Callable[[Finished, Done], None]) -> Commits[Finished]:
        commits: Commits[Finished] = Commits()
        batch.each(batch.sound(), lambda file: commits.start(file, partial(begin, file)))
        return commits

    def _wait(self, batch: _Batch, commits: Commits[Finished]) -> None:
        for file, error in commits.wait():
            if error is not None:
                batch.fail(file, error)

    def _sync(self, batch: _Batch) -> None:
        files = batch.sound()
        shares = [files[first::_SYNC_THREADS] for first in range(min(_SYNC_THREADS, len(files)))]
        self._syncers.map(lambda share: batch.each(share, self._sync_file), shares)

    def _sync_file(self, file: Finished) -> None:
        for output in file.outputs:
            self.tree.files.sync(self.staging.path_of(output))

    def _move(self, batch: _Batch) -> None:
        files = batch.sound()
        moves = [
            StagedMove(self.staging.path_of(output), output.final, file.file_id)
            for file in files
            for output in file.outputs
        ]
        errors = self.tree.put_in_place(moves)
        for file in files:
            if file.file_id in errors:
                batch.fail(file, errors[file.file_id])

    def _end(self, file: Finished, error: ToolkitError | None) -> None:
        if error is None and not self.tree.leaves_sources:
            file.staged.release()
        else:
            file.staged.discard()
        if error is None:
            self.on_done(file)
            return
        if isinstance(error, _OutputsFound) and self.on_found is not None:
            self.on_found(file)
            return
        if self.trouble is None and concerns_all(error):
            self.trouble = error
        self.on_failed(file, error)


def concerns_all(error: BaseException) -> bool:
    """Whether no file can be published any more, so that this one did not fail."""
    is_final = isinstance(error, JournalError | OutOfResources)
    return is_final or is_disk_trouble(error) or is_out_of_room(error)


class _OutputsFound(OutputConflict):
    """All outputs of a file are there, and no run that is known has made them."""


class _Batch:
    """Files that are published together; one that fails does not hold the others."""

    def __init__(self, files: list[Finished]) -> None:
        self.files = files
        #: By file id, the first error of each.
        self.errors: dict[int, ToolkitError] = {}

    def sound(self) -> list[Finished]:
        return [file for file in self.files if file.file_id not in self.errors]

    def each(self, files: Sequence[Finished], act: Callable[[Finished], None]) -> None:
        """Do something with each of these files; what it raises fails the file."""
        for file in files:
            try:
                act(file)
            except (OSError, ToolkitError) as exc:
                self.fail(file, exc)

    def fail(self, file: Finished, error: BaseException) -> None:
        self.errors.setdefault(file.file_id, as_toolkit_error(error, file.path))


def roll_forward(journal: OutputJournal, staging: Staging, tree: OutputTree) -> None:
    """Finish what the death of an earlier run left between intent and *done*, at a run's start.

    The outputs that intents list are moved, and the staging folder is swept; files whose outputs
    are not whole are due again. It may be cut off anywhere and called again.
    """
    commits: Commits[int] = Commits()
    for file_id, _, outputs in list(journal.intents()):
        if _is_finished(outputs, staging, tree):
            # Which hooks ran, and on which bytes, died with their process.
            commits.start(file_id, partial(journal.done_file, file_id, "", None))
    for _, error in commits.wait():
        if error is not None:
            raise error
    staging.sweep()


def _is_finished(outputs: Sequence[OutputFile], staging: Staging, tree: OutputTree) -> bool:
    """Bring all outputs of one file into place; False when one of them is not whole."""
    try:
        sources = [_whole_copy(output, staging, tree) for output in outputs]
        for output, source in zip(outputs, sources, strict=True):
            if source is None or None in sources:
                return False
            tree.put_again(source, output.final)
    except UnsafePath:
        return False
    except OSError as exc:
        if is_disk_trouble(exc):
            raise as_toolkit_error(exc, tree.root) from exc
        return False
    return True


def _whole_copy(output: OutputFile, staging: Staging, tree: OutputTree) -> str | None:
    for path in (staging.path_of(output), tree.path_of(output.final)):
        with suppress(FileNotFoundError, NotADirectoryError):
            if digest(path) == (output.size_bytes, output.sha256):
                return path
    return None
