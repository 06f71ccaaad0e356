"""One thread that writes for all others: whatever has gathered goes to the disk in one commit."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, groupby
from typing import Any, TypeAlias, cast

from ..core.checkpoint import checkpoint
from ..core.errors import JournalError, StorageError, ToolkitError, UsageError
from ..core.text import counted
from . import operations
from .disk import explain, is_of_the_disk, no_room
from .operations import Change, Claimed, Ended, FileDone, Intent, NewFile, Operation
from .reserve import STEP_BYTES, AnswersInFlight, DiskReserve
from .schema import transaction
from .tallies import StagedTallies, Tallies

logger = logging.getLogger(__name__)

#: Told from the writer's thread: None when the write is durable, otherwise why it is not.
Done: TypeAlias = Callable[[BaseException | None], None]
#: What is written together or not at all; nothing: the callback says that all before is settled.
_Queued: TypeAlias = tuple[Sequence[Operation], Done | None]


class Writer:
    """Takes operations from any thread and commits them in batches, in the order they came.

    Before a claim is committed, there is room in the reserve for every answer that may come; while
    there is none, claims wait. Once the disk has refused, claims are refused, and answers that
    cannot be committed are kept in the reserve until they can.

    One lock, that of `_arrived`, guards `_queue`, `_is_asleep`, `_is_closed` and the errors. The
    connection, the reserve and the tallies belong to the writer's thread.
    """

    def __init__(self, db: sqlite3.Connection, path: str, reserve: DiskReserve) -> None:
        """Start the thread, with the answers that the reserve holds committed."""
        self._db = db
        self._path = path
        self._reserve = reserve
        self._tallies = Tallies()
        self._in_flight = AnswersInFlight()
        self._take_in()
        reserve.grow(STEP_BYTES, is_lone=False)
        #: Claims for whose answers there is no room yet.
        self._waiting: list[_Queued] = []
        #: Whether the disk has refused, and no claim was let in since.
        self._is_shut = False
        self._has_told = False
        #: Told the first fault of the disk, once.
        self.on_trouble: Callable[[ToolkitError], object] | None = None
        self._arrived = threading.Condition(threading.Lock())
        self._queue: list[_Queued] = []
        self._is_asleep = False
        self._is_closed = False
        self._trouble: ToolkitError | None = None
        self._lost: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> ToolkitError | None:
        """The first fault of the disk; None: there was none."""
        return self._trouble

    def put(self, operation: Operation, done: Done | None = None) -> None:
        """Queue an operation and return at once."""
        self.put_together((operation,), done)

    def put_together(self, group: Sequence[Operation], done: Done | None) -> None:
        """Queue operations that are written together or not at all, and return at once."""
        with self._arrived:
            if self._is_closed:
                raise _closed()
            self._queue.append((group, done))
            if self._is_asleep:
                self._is_asleep = False
                self._arrived.notify()

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
        with self._arrived:
            self._is_closed = True
            self._arrived.notify()
        self._thread.join()
        self._raise_lost()

    def _raise_lost(self) -> None:
        if isinstance(self._lost, StorageError | JournalError):
            raise self._trouble or self._lost  # the first fault, which may be told already
        if self._lost is not None:
            raise self._lost

    def _run(self) -> None:
        while batch := self._next_batch():
            self._write(self._admitted(batch))
            while self._waiting and (freed := self._admitted(())):
                self._write(freed)
        for waiting in self._waiting:
            self._tell([waiting], _closed())
        self._settle_reserve()
        try:
            self._reserve.close()
        except OSError as error:
            logger.debug("the reserve was not closed: %s", error)

    def _next_batch(self) -> list[_Queued]:
        """Return all that is queued, waiting for something; empty: the journal is closed."""
        with self._arrived:
            while not self._queue and not self._is_closed:
                self._is_asleep = True
                self._arrived.wait()
            self._is_asleep = False
            batch, self._queue = self._queue, []
            return batch

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
        except Exception as error:  # noqa: BLE001 - told to those who wait for the write
            self._refused(batch, error)
        else:
            self._let_go(batch)
            if not self._is_shut:  # they may be larger than was thought
                self._reserve.grow(self._in_flight.room_bytes(), is_lone=False)
            self._tell(batch, None)

    def _refused(self, batch: Sequence[_Queued], error: Exception) -> None:
        if isinstance(error, sqlite3.Error) and is_of_the_disk(error):
            fault = explain(error, self._path)
            fault.__cause__ = error
            self._shut(fault)
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

    def _shut(self, fault: ToolkitError) -> None:
        """Let no more claims in, and say so at once."""
        self._is_shut = True
        with self._arrived:
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
            with self._arrived:
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
            is_fault = isinstance(error, StorageError | JournalError)
            if group and (is_fault or (error is not None and done is None)):
                with self._arrived:
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
            with self._arrived:
                self._lost = self._lost or raised


def _operations(batch: Iterable[_Queued]) -> Iterable[Operation]:
    return chain.from_iterable(group for group, _ in batch)


def _closed() -> UsageError:
    return UsageError("The journal is closed; open it again to write.")
