"""Writes for all threads: whatever has gathered goes to the disk in one commit.

What takes little time is written on an event loop, if there is one; the disk is waited for on a
thread. A callback is told that a write is durable when both have been.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, groupby
from typing import Any, TypeAlias, cast

from ..core.checkpoint import checkpoint
from ..core.errors import JournalError, OutOfResources, StorageError, ToolkitError, UsageError
from ..core.logs import logger_of
from ..core.loop_calls import LoopCalls
from ..core.text import counted
from ..core.threads import start_thread
from . import operations
from .disk import explain, is_of_the_disk, no_room
from .log_sync import SyncedLog
from .operations import Change, Claimed, Ended, FileDone, Intent, NewFile, Operation
from .reserve import STEP_BYTES, AnswersInFlight, DiskReserve
from .schema import transaction
from .tallies import StagedTallies, Tallies

logger = logger_of(__name__)

#: After which nothing more can be kept.
_FAULTS = (StorageError, JournalError, OutOfResources)
_SPARE_BYTES = 8 * 1024 * 1024
_PAGE_BYTES = 4_096
#: What takes little time to write.
_SHORT = frozenset({NewFile, Claimed, Ended, Intent, FileDone})

#: Behind a batch of so many, many come at a time: they are waited for, so that fewer batches write
#: fewer pages. Measured with lists: a quarter less CPU for each call.
_MANY, _GATHER_S = 4, 0.003
#: To pack a longer request takes too much of an event loop's time.
_LONG_BYTES = 64 * 1024

#: Told None when the write is durable, otherwise why it is not; on the thread that writes.
Done: TypeAlias = Callable[[BaseException | None], None]
#: What is written together or not at all; nothing: the callback says that all before is settled.
_Queued: TypeAlias = tuple[Sequence[Operation], Done | None]


class Writer:
    """Takes operations from any thread and commits them in batches, in the order they came.

    Before a claim is committed, there is room in the reserve for every answer that may come; while
    there is none, claims wait. Once the disk has refused, claims are refused, and answers that
    cannot be committed are kept in the reserve until they can.

    One lock guards `_queue`, `_is_idle`, `_is_closed` and the errors. All else is touched by one
    thread at a time: the writer's own, or that of the event loop.
    """

    def __init__(self, db: sqlite3.Connection, path: str, reserve: DiskReserve) -> None:
        """Start the thread, with the answers that the reserve holds committed."""
        self._db = db
        self._path = path
        self._reserve = reserve
        self._tallies = Tallies()
        #: Memory for the answers in flight when there is no more.
        self._spare = bytearray(_SPARE_BYTES)
        self._in_flight = AnswersInFlight()
        self._log = SyncedLog(db, path)
        self._take_in()
        reserve.grow(STEP_BYTES, is_lone=False)
        #: Claims for whose answers there is no room yet.
        self._waiting: list[_Queued] = []
        #: Whether the disk has refused, and no claim was let in since.
        self._is_shut = False
        self._has_told = False
        #: Told the first fault of the disk, once.
        self.on_trouble: Callable[[ToolkitError], object] | None = None
        self._lock = threading.Lock()
        self._queue: list[_Queued] = []
        self._is_idle = True
        self._is_closed = False
        self._loop: LoopCalls | None = None
        self._trouble: ToolkitError | None = None
        self._lost: BaseException | None = None
        #: What the thread is to do; None: end.
        self._tasks: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = start_thread(self._run, name="journal-writer")

    @property
    def trouble(self) -> ToolkitError | None:
        """The first fault of the disk; None: there was none."""
        return self._trouble

    def write_on(self, loop: LoopCalls) -> None:
        """Have what takes little time written on an event loop from now on."""
        self._loop = loop

    def put(
        self, operation: Operation, done: Done | None = None, *, may_wait: bool = False
    ) -> None:
        """Queue an operation and return at once; `may_wait`: it goes along with the next one."""
        self.put_together((operation,), done, may_wait=may_wait)

    def put_together(
        self, group: Sequence[Operation], done: Done | None, *, may_wait: bool = False
    ) -> None:
        """Queue operations that are written together or not at all, and return at once."""
        with self._lock:
            if self._is_closed:
                raise _closed()
            self._queue.append((group, done))
            if not self._is_idle or may_wait:
                return
            self._is_idle = False
        self._go_on(self._work_off)

    def flush(self) -> None:
        """Wait until all that was queued is settled. Not to be called from a callback.

        Raises:
            ToolkitError: the first write that the disk refused or that nobody was told of.
        """
        settled = threading.Event()
        self.put_together((), lambda _: settled.set())
        settled.wait()
        self._raise_lost()

    def close(self) -> None:
        """Settle what is queued and end the thread; the connection stays open."""
        with self._lock:
            was_idle, self._is_idle, self._is_closed = self._is_idle, False, True
        if was_idle:
            self._go_on(self._work_off)
        self._thread.join()
        self._raise_lost()

    def _raise_lost(self) -> None:
        if isinstance(self._lost, _FAULTS):
            raise self._trouble or self._lost  # the first fault, which may be told already
        if self._lost is not None:
            raise self._lost

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
        for waiting in self._waiting:
            self._tell([waiting], _closed())
        self._settle_reserve()
        self._log.close()
        try:
            self._reserve.close()
        except OSError as error:
            logger.debug("the reserve was not closed: %s", error)

    def _go_on(self, task: Callable[[], object]) -> None:
        """Do something on the event loop, or without one on the thread."""
        if self._loop is not None:
            try:
                self._loop.post(task)
            except RuntimeError:  # it is closed
                self._loop = None
            else:
                return
        self._tasks.put(task)

    def _work_off(self) -> None:
        """Write all that is queued."""
        while (batch := self._next_batch()) is not None:
            if threading.get_ident() == self._thread.ident:
                self._write_all(batch)
            else:
                self._tasks.put(self._begin(batch))
                return

    def _next_batch(self) -> list[_Queued] | None:
        """Return all that is queued; None: there is nothing."""
        with self._lock:
            batch, self._queue = self._queue, []
            if batch:
                return batch
            self._is_idle = not self._is_closed
        if not self._is_idle:
            self._tasks.put(None)
        return None

    def _begin(self, batch: Sequence[_Queued]) -> Callable[[], object]:
        """Write a batch on the event loop, if that goes fast; return what the thread is to do."""
        operations = list(_operations(batch))
        claims = [operation for operation in operations if type(operation) is Claimed]
        is_short = _SHORT.issuperset(map(type, operations)) and not any(
            claim.body and len(claim.body) > _LONG_BYTES for claim in claims
        )
        if not is_short or self._waiting or self._is_shut or not self._has_room(claims):
            return partial(self._end, self._write_all, batch)
        try:
            self._commit(operations)
        except Exception as error:  # noqa: BLE001 - told to those who wait for the write
            return partial(self._end, self._refused, batch, error)
        return partial(self._sync, batch)

    def _sync(self, batch: Sequence[_Queued]) -> None:
        """Bring to the disk what was written on the event loop, which goes on then."""
        try:
            self._log.sync(_pages(batch))
        except Exception as error:  # noqa: BLE001 - told to those who wait for the write
            self._end(self._refused, batch, error)
        else:
            self._go_on(partial(self._settle, batch))
            if len(batch) >= _MANY:
                time.sleep(_GATHER_S)
            self._go_on(self._work_off)

    def _end(self, write: Callable[..., object], *args: Any) -> None:
        """Write on the thread what the event loop did not, which goes on then."""
        write(*args)
        self._go_on(self._work_off)

    def _write_all(self, batch: Sequence[_Queued]) -> None:
        """Write what may be written now, and what may be after that."""
        self._write(self._admitted(batch))
        while self._waiting and (freed := self._admitted(())):
            self._write(freed)

    def _admitted(self, batch: Sequence[_Queued]) -> Sequence[_Queued]:
        """Return what may be written now: all but the claims that wait, or that are refused."""
        claims = [op for op in _operations(batch) if type(op) is Claimed]
        if not (self._waiting or self._is_shut) and self._has_room(claims):
            return batch
        queue, self._waiting = [*self._waiting, *batch], []
        ended = {op.attempt_id for op in _operations(batch) if type(op) is Ended}
        admitted: list[_Queued] = []
        for queued in queue:
            claims = [op for op in queued[0] if type(op) is Claimed]
            if not claims or claims[0].attempt_id in ended:  # it is not sent any more
                admitted.append(queued)
            elif self._is_shut and not self._is_mended():
                self._tell([queued], self._trouble)
            elif not self._waiting and self._has_room(claims):
                admitted.append(queued)
            elif len(self._in_flight):
                self._waiting.append(queued)
            else:
                self._shut(no_room(self._reserve.cause, self._path))
                self._tell([queued], self._trouble)
        return admitted

    def _has_room(self, claims: Sequence[Claimed]) -> bool:
        """Count claims in; False: there is no room for what they may bring."""
        if not claims:
            return True
        in_flight = len(self._in_flight)
        for claim in claims:
            self._in_flight.begin(claim)
        is_lone = not in_flight and len(claims) == 1
        if self._reserve.grow(self._in_flight.room_bytes(), is_lone=is_lone):
            return True
        for claim in claims:
            self._in_flight.end(claim.attempt_id)
        if not self._has_told and in_flight:
            self._has_told = True
            logger.warning(
                "the disk has room for the answers of no more than %s at a time; free some space "
                "under %s, and more are sent",
                counted(in_flight, "request"),
                self._path,
                extra={"action": "small_reserve"},
            )
        return False

    def _write(self, batch: Sequence[_Queued]) -> None:
        try:
            self._commit(list(_operations(batch)))
            self._log.sync(_pages(batch))
        except Exception as error:  # noqa: BLE001 - told to those who wait for the write
            self._refused(batch, error)
        else:
            self._settle(batch)

    def _settle(self, batch: Sequence[_Queued]) -> None:
        self._let_go(batch)
        if not self._is_shut:  # they may be larger than was thought
            self._reserve.grow(self._in_flight.room_bytes(), is_lone=False)
        self._tell(batch, None)

    def _refused(self, batch: Sequence[_Queued], error: Exception) -> None:
        is_memory = isinstance(error, MemoryError)
        if is_memory or isinstance(error, OSError) or is_of_the_disk(error):
            fault = OutOfResources() if is_memory else explain(error, self._path)
            fault.__cause__ = error
            self._shut(fault)
            if is_memory and self._frees_memory():
                self._write(batch)
                return
            came = [queued for queued in batch if self._is_of_flight(queued[0])]
            rest = [queued for queued in batch if not self._is_of_flight(queued[0])]
            is_kept = self._keep([cast(Ended, operation) for operation in _operations(came)])
            self._let_go(batch, is_refused=True)
            if not len(self._in_flight):
                self._settle_reserve()
            self._tell(came, None if is_kept else fault)
            self._tell(rest, fault)
        elif len(batch) == 1:
            self._let_go(batch, is_refused=True)
            self._tell(batch, error)
        else:
            # One of them cannot be written; the others shall not suffer for it.
            for queued in batch:
                self._write([queued])

    def _frees_memory(self) -> bool:
        had, self._spare = len(self._spare), bytearray()
        return had > 0

    def _shut(self, fault: ToolkitError) -> None:
        """Let no more claims in, and say so at once."""
        self._is_shut = True
        with self._lock:
            is_first, self._trouble = self._trouble is None, self._trouble or fault
        if is_first and self.on_trouble is not None:
            self._call(self.on_trouble, fault)

    def _is_mended(self) -> bool:
        """Whether claims may go on, because the disk takes everything again.

        Never where somebody was told of the trouble, and stops for it.
        """
        if self.on_trouble is None and not len(self._in_flight) and self._settle_reserve():
            self._is_shut = not self._reserve.grow(STEP_BYTES, is_lone=False)
        if not self._is_shut:
            with self._lock:
                self._trouble = self._lost = None
        return not self._is_shut

    def _is_of_flight(self, group: Sequence[Operation]) -> bool:
        return all(type(op) is Ended and op.attempt_id in self._in_flight for op in group)

    def _keep(self, endings: Sequence[Ended]) -> bool:
        """Write what came into the reserve; tells whether it is there."""
        try:
            self._reserve.keep(endings)
        except OSError as error:
            logger.warning("the reserve cannot be written to: %s", error)
            return False
        return True

    def _let_go(self, batch: Sequence[_Queued], *, is_refused: bool = False) -> None:
        """Count out the attempts that have ended; of what was refused, those that were begun."""
        for operation in _operations(batch):
            if type(operation) is Ended:
                answer = operation.answer
                self._in_flight.end(operation.attempt_id, answer and answer[1])
            elif is_refused and type(operation) is Claimed:
                self._in_flight.end(operation.attempt_id)

    def _settle_reserve(self) -> bool:
        """Bring what the reserve holds into the journal; False: it stays where it is for now."""
        try:
            self._take_in()
        except (OSError, sqlite3.Error) as error:
            logger.debug("the answers stay in the reserve: %s", error)
            return False
        return True

    def _take_in(self) -> None:
        """Bring what the reserve holds into the journal, in the room that is left of it."""
        endings = self._reserve.kept()
        self._reserve.leave_only_answers()
        if not endings:
            return
        with transaction(self._db):
            staged = self._tallies.stage(self._db, (), operations.claimed(self._db, endings))
            operations.insert_endings(self._db, endings)
        self._log.sync(len(endings))
        self._tallies.apply(staged)
        self._reserve.empty()

    def _commit(self, batch: Sequence[Operation]) -> None:
        if not batch:
            return
        with transaction(self._db):
            staged = self._execute(batch)
        self._tallies.apply(staged)

    def _execute(self, batch: Sequence[Operation]) -> StagedTallies:
        """Insert the rows in bulk, then change what is there: no row waits for a change."""
        claims = [operation for operation in batch if isinstance(operation, Claimed)]
        endings = [operation for operation in batch if isinstance(operation, Ended)]
        # First, while an attempt that ends here has no end yet.
        staged = self._tallies.stage(self._db, claims, endings)
        operations.insert_files(self._db, [op for op in batch if isinstance(op, NewFile)])
        operations.insert_attempts(self._db, claims)
        operations.insert_endings(self._db, endings)
        if endings:
            checkpoint("journal.endings_inserted")
        self._change([op for op in batch if not isinstance(op, NewFile | Claimed | Ended)])
        return staged

    def _change(self, changes: Sequence[Intent | FileDone | Change]) -> None:
        """Make changes in their order; neighbours that come in rows are written together."""
        for kind, group in groupby(changes, type):
            if kind is Intent:
                operations.write_intents(self._db, cast(list[Intent], list(group)))
            elif kind is FileDone:
                operations.write_done(self._db, cast(list[FileDone], list(group)))
            else:
                for change in group:
                    cast(Change, change)(self._db)

    def _tell(self, batch: Sequence[_Queued], error: BaseException | None) -> None:
        for group, done in batch:
            is_fault = isinstance(error, _FAULTS)
            if group and (is_fault or (error is not None and done is None)):
                with self._lock:
                    self._lost = self._lost or error
            if done is not None:
                self._call(done, error if group else None)

    def _call(self, done: Callable[[Any], object], error: BaseException | None) -> None:
        try:
            done(error)
        except Exception as raised:
            # A callback's fault is its owner's, but it must not end the writing of the others.
            if raised is not error:  # else it passes on what `flush` and `trouble` tell
                logger.exception("a callback of the journal raised", extra={"action": "callback"})
            with self._lock:
                self._lost = self._lost or raised


def _operations(batch: Iterable[_Queued]) -> Iterable[Operation]:
    return chain.from_iterable(group for group, _ in batch)


def _pages(batch: Iterable[_Queued]) -> int:
    """Return about how many pages of the log a batch takes."""
    operations = list(_operations(batch))
    answers = [op.answer[1] for op in operations if type(op) is Ended and op.answer]
    requests = [op.body for op in operations if type(op) is Claimed and op.body]
    return 2 * len(operations) + sum(map(len, [*answers, *requests])) // _PAGE_BYTES


def _closed() -> UsageError:
    return UsageError("The journal is closed; open it again to write.")
