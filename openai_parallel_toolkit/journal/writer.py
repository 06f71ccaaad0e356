"""One thread that writes for all others: whatever has gathered goes to the disk in one commit."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeAlias, cast

from ..core.checkpoint import checkpoint
from ..core.errors import JournalError, StorageError, ToolkitError, UsageError
from ..core.logs import logger_of
from . import operations
from .disk import DiskReserve, explain, is_full, is_of_the_disk
from .operations import Change, Claimed, Ended, FileDone, Intent, NewFile, Operation
from .schema import transaction
from .tallies import StagedTallies, Tallies

logger = logger_of(__name__)

#: Told from the writer's thread: None when the write is durable, otherwise why it is not.
Done: TypeAlias = Callable[[BaseException | None], None]
#: None as operation: only the callback, which then says that all before it is settled.
_Queued: TypeAlias = tuple[Operation | None, Done | None]


class Writer:
    """Takes operations from any thread and commits them in batches, in the order they came.

    One lock, that of `_arrived`, guards `_queue`, `_is_asleep`, `_is_closed` and the errors. The
    connection and the tallies belong to the writer's thread.
    """

    def __init__(self, db: sqlite3.Connection, path: str, reserve: DiskReserve) -> None:
        self._db = db
        self._path = path
        self._reserve = reserve
        self._tallies = Tallies()
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

    def put(self, operation: Operation | None, done: Done | None = None) -> None:
        """Queue an operation and return at once."""
        self.put_together([operation], done)

    def put_together(self, group: Sequence[Operation | None], done: Done | None) -> None:
        """Queue operations for one commit and return at once; `done` is told of the last."""
        with self._arrived:
            if self._is_closed:
                raise UsageError("The journal is closed; open it again to write.")
            self._queue += [(operation, None) for operation in group[:-1]]
            self._queue.append((group[-1], done))
            if self._is_asleep:
                self._is_asleep = False
                self._arrived.notify()

    def flush(self) -> None:
        """Wait until all that was queued is settled. Not to be called from a callback.

        Raises:
            ToolkitError: the first write that the disk refused or that nobody was told of.
        """
        settled = threading.Event()
        self.put(None, lambda _: settled.set())
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
            self._write(batch)

    def _next_batch(self) -> list[_Queued]:
        """Return all that is queued, waiting for something; empty: the journal is closed."""
        with self._arrived:
            while not self._queue and not self._is_closed:
                self._is_asleep = True
                self._arrived.wait()
            self._is_asleep = False
            batch, self._queue = self._queue, []
            return batch

    def _write(self, batch: Sequence[_Queued]) -> None:
        try:
            self._commit([operation for operation, _ in batch if operation is not None])
        except Exception as error:  # noqa: BLE001 - told to those who wait for the write
            self._refused(batch, error)
        else:
            self._tell(batch, None)

    def _refused(self, batch: Sequence[_Queued], error: Exception) -> None:
        if isinstance(error, sqlite3.Error) and is_of_the_disk(error):
            fault = explain(error, self._path)
            fault.__cause__ = error
            with self._arrived:
                self._trouble = self._trouble or fault
            # The reserve is there once, so this comes back here at most once.
            if is_full(fault) and self._reserve.free():
                self._write(batch)
            else:
                self._tell(batch, fault)
        elif len(batch) == 1:
            self._tell(batch, error)
        else:
            # One of them cannot be written; the others shall not suffer for it.
            for queued in batch:
                self._write([queued])

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
        for operation, done in batch:
            is_fault = isinstance(error, StorageError | JournalError)
            if is_fault or (error is not None and done is None):
                with self._arrived:
                    self._lost = self._lost or error
            if done is not None:
                self._call(done, None if operation is None else error)

    def _call(self, done: Done, error: BaseException | None) -> None:
        try:
            done(error)
        except Exception as raised:
            # A callback's fault is its owner's, but it must not end the writing of the others.
            if raised is not error:  # else it passes on what `flush` and `trouble` tell
                logger.exception("a callback of the journal raised", extra={"action": "callback"})
            with self._arrived:
                self._lost = self._lost or raised
