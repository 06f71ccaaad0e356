"""The journal of a run: what it may forget costs money, so it forgets nothing."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from decimal import Decimal
from itertools import count
from typing import Any

from ..core.clock import Clock, SystemClock
from ..core.errors import ToolkitError
from ..core.records import CallId, FailureNote, Outcome, OutputFile
from ..costs.figures import Figures
from . import changes, queries
from .batch_store import BatchStore
from .columns import path_bytes
from .disk import DiskReserve, faults_told, make_private
from .operations import Claimed, Ended, NewFile
from .output_commits import Finished, Intent
from .queries import Source
from .rows import FileRecord, RunTotals, StoredAnswer
from .schema import FILE_NAME, connect, prepare
from .writer import Done, Writer


class Journal:
    """The journal as the one process that works on an output folder uses it, from any thread.

    Writes are queued and return at once; `done` is called from the journal's own thread when the
    write is durable (with None) or has failed (with the error). Reads see what is durable.

    One lock guards `_uncommitted`, the files whose first row is still on its way to the disk.
    """

    #: Salts the fingerprints of keys; 16 random bytes, the same for the journal's whole life.
    salt: bytes

    def __init__(
        self, writing: sqlite3.Connection, source: Source, reserve: DiskReserve, clock: Clock
    ) -> None:
        self._writing = writing
        self._source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._uncommitted: dict[str, FileRecord] = {}
        self._run_id = 0
        self.salt = queries.salt(source)
        self._attempt_ids = count(self._first_free("SELECT max(id) FROM attempts"))
        # Attempts may outlive the row of their file, when the disk failed in between.
        self._file_ids = count(
            max(
                self._first_free("SELECT max(id) FROM files"),
                self._first_free("SELECT max(file_id) FROM attempts"),
            )
        )
        self._writer = Writer(writing, source.path, reserve)
        #: What batch mode keeps.
        self.batches = BatchStore(
            source, self._writer, clock, self._attempt_ids, lambda: self._run_id
        )

    @classmethod
    def open(
        cls,
        state_folder: str,
        *,
        clock: Clock = SystemClock(),  # noqa: B008 - it has no state
        connect: Callable[[str], sqlite3.Connection] = connect,
    ) -> Journal:
        """Open the journal in a folder, or begin one; takes milliseconds at any size.

        The caller holds the run lock: one process writes.

        Raises:
            JournalError: damaged, another program's, or written by a newer version.
            StorageError: the disk refused.
        """
        path = make_private(state_folder, FILE_NAME)
        reserve = DiskReserve(state_folder)
        with ExitStack() as stack:
            with faults_told(path):
                writing = stack.enter_context(closing(connect(path)))
                prepare(writing, path, created_wall_s=clock.wall_s())
                reading = stack.enter_context(closing(connect(path)))
            reserve.fill()
            journal = cls(writing, Source(reading, path), reserve, clock)
            stack.pop_all()
        return journal

    def _first_free(self, query: str) -> int:
        return (self._source.rows(query)[0][0] or 0) + 1

    # Runs

    def begin_run(self, hooks_version: str) -> int:
        """Note that a run begins and return its id; durable on return.

        Raises:
            StorageError: the disk refused.
        """
        self._run_id = self._first_free("SELECT max(id) FROM runs")
        wall_s, host = self._clock.wall_s(), socket.gethostname()
        self._writer.put(changes.run_began(self._run_id, os.getpid(), host, hooks_version, wall_s))
        self._writer.flush()
        return self._run_id

    def end_run(self, how: str, summary: Mapping[str, Any]) -> None:
        """Note that the run ended in good order, and how; durable on return.

        Raises:
            StorageError: the disk refused.
        """
        self._writer.put(changes.run_ended(self._run_id, how, summary, self._clock.wall_s()))
        self._writer.flush()

    def last_run_died(self) -> bool:
        """Tell whether the run before this one has no end."""
        run = queries.last_run(self._source, self._run_id or None)
        return run is not None and run.ended_wall_s is None

    def last_run_answered(self, file_id: int) -> bool:
        """Tell whether the run before this one gained an answer for a file."""
        run = queries.last_run(self._source, self._run_id or None)
        return run is not None and queries.gained(self._source, run.id, file_id)

    # Files

    def file(self, path: str, *, is_known: bool = True) -> FileRecord:
        """Return where an input stands; one that is not known gets its id and is noted.

        Args:
            is_known: False saves the look into the tables, when a scan has found no record.
        """
        with self._lock:
            record = self._uncommitted.get(path)
        if record is None and is_known:
            record = queries.file_at(self._source, path)
        return record or self._new_file(path)

    def _new_file(self, path: str) -> FileRecord:
        with self._lock:
            known = self._uncommitted.get(path)
            if known is not None:
                return known
            record = FileRecord(id=next(self._file_ids), path=path)
            self._uncommitted[path] = record
        self._writer.put(NewFile(record.id, path), lambda error: self._committed(path, error))
        return record

    def _committed(self, path: str, error: BaseException | None) -> None:
        if error is not None:
            raise error  # nobody else is told; `flush` raises it
        with self._lock:
            del self._uncommitted[path]

    def known(self, path: str) -> FileRecord | None:
        """Return where an input stands; None: nothing is known of it. Writes nothing."""
        return queries.file_at(self._source, path)

    def made_by_other_hooks(self, hooks_version: str) -> Iterator[FileRecord]:
        """Yield the files that hooks of another version finished."""
        return queries.made_by_others(self._source, hooks_version)

    def files_in(self, folder: str) -> Iterator[FileRecord]:
        """Yield the files directly in a folder ("" is the top) whose hooks were ever started.

        They come in the order in which Python sorts their names, a page at a time.
        """
        return queries.files_in(self._source, folder)

    def suspects(self) -> Iterator[FileRecord]:
        """Yield the files that may have killed a process."""
        return queries.suspects(self._source)

    def intents(self) -> Iterator[tuple[int, str, tuple[OutputFile, ...]]]:
        """Yield id, path and outputs of the files whose outputs are perhaps not all in place."""
        for record in queries.intents(self._source):
            yield record.id, record.path, self.outputs(record.id)

    def outputs(self, file_id: int) -> tuple[OutputFile, ...]:
        """Return the outputs that the last intent of a file listed."""
        return queries.outputs(self._source, file_id)

    def owner_of_output(self, final: str) -> int | None:
        """Return the id of the file whose intents listed this output; None: nobody's."""
        query = "SELECT file_id FROM outputs WHERE final = ?"
        rows = self._source.rows(query, (path_bytes(final),))
        return rows[0][0] if rows else None

    def opened(self, file_id: int, done: Done | None = None) -> None:
        """The hooks of the file start: it is OPEN."""
        self._writer.put(changes.opened(file_id, self._clock.wall_s()), done)

    def intent(self, file_id: int, outputs: Sequence[OutputFile], done: Done | None = None) -> None:
        """The outputs are staged: the file is INTENT, and they are its own for good.

        `done` is told OutputConflict when another file owns one of them; nothing is written then.
        """
        self._writer.put(Intent(file_id, outputs, self._clock.wall_s()), done)

    def done_file(
        self,
        file_id: int,
        hooks_version: str,
        input_signature: str | None = None,
        done: Done | None = None,
    ) -> None:
        """The file is DONE with the outputs of its last intent, and cleared of all blame."""
        wall_s = self._clock.wall_s()
        self._writer.put(Finished(file_id, hooks_version, input_signature, wall_s), done)

    def failed(
        self, file_id: int, note: FailureNote, max_file_attempts: int, done: Done | None = None
    ) -> None:
        """The hooks raised: the file is FAILED, or ASIDE after so many runs in which they did."""
        wall_s = self._clock.wall_s()
        change = changes.failed(file_id, note, self._run_id, max_file_attempts, wall_s)
        self._writer.put(change, done)

    def put_aside(self, file_id: int, note: FailureNote, done: Done | None = None) -> None:
        """The file is ASIDE: left alone until it is released."""
        self._writer.put(changes.aside(file_id, note, self._clock.wall_s()), done)

    def release_aside(self, paths: Sequence[str] | None = None, done: Done | None = None) -> None:
        """Files that are ASIDE are FAILED again, with no failed run counted; None: all of them."""
        self._writer.put(changes.released(paths), done)

    def mark_suspects(self, file_ids: Sequence[int], done: Done | None = None) -> None:
        """One of these files may have killed the process."""
        self._writer.put(changes.suspected(file_ids, is_suspect=True), done)

    def clear_suspect(self, file_id: int, done: Done | None = None) -> None:
        """The file did not kill the process."""
        self._writer.put(changes.suspected([file_id], is_suspect=False), done)

    # Calls

    def answers(self, file_id: int) -> dict[tuple[str, int, int], StoredAnswer]:
        """Return the answers of a file by (request hash, k, try)."""
        return queries.answers(self._source, file_id)

    def answer(self, call: CallId) -> StoredAnswer | None:
        """Return the answer to one call; None: there is none."""
        return queries.answer(self._source, call)

    def claim(
        self,
        call: CallId,
        *,
        key_name: str,
        model: str,
        max_cost_usd: Decimal | None,
        done: Done | None = None,
    ) -> int:
        """An attempt is about to be sent; return its id. It may be sent once `done` is told None.

        Args:
            max_cost_usd: the most it can cost; None: the price is not known.
        """
        attempt_id, wall_s = next(self._attempt_ids), self._clock.wall_s()
        self._writer.put(
            Claimed(attempt_id, self._run_id, call, key_name, model, max_cost_usd, wall_s), done
        )
        return attempt_id

    def answered(
        self,
        attempt_id: int,
        call: CallId,
        outcome: Outcome,
        body: bytes,
        cost_usd: Decimal | None,
        done: Done | None = None,
    ) -> None:
        """The attempt got a usable answer, which is kept unless the call has one.

        Args:
            cost_usd: None: not known, then it stays in doubt up to the most it can cost.
        """
        wall_s, answer = self._clock.wall_s(), (call, body)
        self._writer.put(Ended(attempt_id, outcome, cost_usd, wall_s, answer), done)

    def ended(
        self,
        attempt_id: int,
        outcome: Outcome,
        cost_usd: Decimal | None = None,
        done: Done | None = None,
    ) -> None:
        """The attempt ended without a usable answer.

        Args:
            cost_usd: what it cost nevertheless; None: not known if the outcome is UNKNOWN, else
                nothing.
        """
        self._writer.put(Ended(attempt_id, outcome, cost_usd, self._clock.wall_s(), None), done)

    def totals(self) -> RunTotals:
        """Return the figures of this run and of all runs."""
        return queries.totals(queries.figures(self._source), self._run_id)

    def by_model(self) -> dict[str, Figures]:
        """Return the figures of all runs by model."""
        return queries.add_up(queries.figures(self._source), lambda row: row[2])

    # Keys

    def key_dropped(
        self, fingerprint: str, name: str, reason: str, done: Done | None = None
    ) -> None:
        """A key is dead; the reason is remembered in later runs."""
        wall_s = self._clock.wall_s()
        self._writer.put(changes.key_dropped(fingerprint, name, reason, wall_s), done)

    def key_restored(self, fingerprint: str, done: Done | None = None) -> None:
        """A key works again."""
        self._writer.put(changes.key_restored(fingerprint), done)

    def dropped_keys(self) -> dict[str, str]:
        """Return reasons by fingerprint of the keys that were dropped."""
        return dict(self._source.rows("SELECT fingerprint, reason FROM dropped_keys"))

    # The end

    @property
    def trouble(self) -> ToolkitError | None:
        """The first fault of the disk: send nothing more; None: there was none."""
        return self._writer.trouble

    def flush(self) -> None:
        """Wait until all that was queued is settled. Not to be called from a `done`.

        Raises:
            ToolkitError: the first write that the disk refused or that nobody was told of.
        """
        self._writer.flush()

    def close(self) -> None:
        """Settle what is queued and let go of the files.

        Raises:
            ToolkitError: as `flush` does.
        """
        try:
            self._writer.close()
        finally:
            self._source.close()
            self._writing.close()
