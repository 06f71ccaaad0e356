"""The journal of a run: what it may forget costs money, so it forgets nothing."""

from __future__ import annotations

import errno
import json
import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from decimal import Decimal
from functools import partial
from itertools import count
from typing import Any

from ..core.clock import Clock, SystemClock
from ..core.errors import ToolkitError
from ..core.filesystem import path_bytes
from ..core.loop_calls import LoopCalls
from ..core.records import CallId, FailureNote, Outcome, OutputFile
from .batch_store import BatchStore
from .columns import split, text
from .disk import damaged, faults_told, make_private, refused
from .operations import Change, Claimed, Ended, FileDone, Intent, NewFile, statements
from .queries import JournalQueries, totals
from .reserve import DiskReserve
from .rows import FileRecord, RunTotals
from .schema import FILE_NAME, connect, prepare
from .writer import Done, Writer

#: Longer requests, as those with large media, are kept as a hash alone.
MOST_REQUEST_BYTES = 1_000_000


class Journal(JournalQueries):
    """The journal as the one process that works on an output folder uses it, from any thread.

    Writes are queued and return at once; `done` is called from the thread that writes when the
    write is durable (with None) or has failed (with the error). Reads see what is committed.

    One lock guards `_uncommitted`, the files whose first row is still on its way to the disk.
    """

    #: Salts the fingerprints of keys; 16 random bytes, the same for the journal's whole life.
    salt: bytes
    #: Whether requests are kept as they were sent, and not as a hash alone.
    keeps_requests: bool = True

    def __init__(
        self,
        writing: sqlite3.Connection,
        reading: sqlite3.Connection,
        path: str,
        reserve: DiskReserve,
        clock: Clock,
    ) -> None:
        super().__init__(reading, path)
        self._writing = writing
        self._clock = clock
        self._lock = threading.Lock()
        self._uncommitted: dict[str, FileRecord] = {}
        self._run_id = 0
        #: The first attempt that this run can have made.
        self._first_attempt_id = 0
        self.salt = bytes(self.one("SELECT value FROM meta WHERE key = 'salt'") or b"")
        if not self.salt:
            raise damaged(path)
        self._attempt_ids = count(self._first_free("SELECT max(id) FROM attempts"))
        # Attempts may outlive the row of their file, when the disk failed in between.
        queries = "SELECT max(id) FROM files", "SELECT max(file_id) FROM attempts"
        self._file_ids = count(max(map(self._first_free, queries)))
        self._writer = Writer(writing, path, reserve)
        #: What batch mode keeps.
        self.batches = BatchStore(
            self,
            self._writer,
            clock,
            self._attempt_ids,
            lambda: self._run_id,
            lambda: self.keeps_requests,
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
        """
        path = make_private(state_folder, FILE_NAME)
        with ExitStack() as stack, faults_told(path):
            try:
                reserve = stack.enter_context(closing(DiskReserve(state_folder)))
                writing = stack.enter_context(closing(connect(path)))
                prepare(writing, path, created_wall_s=clock.wall_s())
                reading = stack.enter_context(closing(connect(path)))
                journal = cls(writing, reading, path, reserve, clock)
            except OSError as error:
                raise refused(error.errno or errno.EIO, path) from error
            stack.pop_all()
        return journal

    def write_on(self, loop: LoopCalls) -> None:
        """Have what takes little time written on an event loop from now on."""
        self._writer.write_on(loop)

    def _first_free(self, query: str) -> int:
        return (self.one(query) or 0) + 1

    def _write(self, statement: str, *values: Any) -> None:
        self._writer.put(lambda db: db.execute(statement, values))

    # Runs

    def begin_run(self, hooks_version: str, settings: Mapping[str, Any] | None = None) -> int:
        """Note that a run begins, with what settings, and return its id; durable on return."""
        self._run_id = self._first_free("SELECT max(id) FROM runs")
        self._first_attempt_id = self._first_free("SELECT max(id) FROM attempts")
        self.batches.unusable.clear()
        self._write(
            "INSERT INTO runs (id, started_wall_s, pid, host, hooks_version, settings) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            *(self._run_id, self._clock.wall_s(), os.getpid()),
            *(text(socket.gethostname()), text(hooks_version), json.dumps(settings or {})),
        )
        self.flush()
        return self._run_id

    def end_run(self, how: str, summary: Mapping[str, Any]) -> None:
        """Note that the run ended in good order, and how; durable on return."""
        self._write(
            "UPDATE runs SET ended_wall_s = ?, how = ?, summary = ? WHERE id = ?",
            *(self._clock.wall_s(), text(how), json.dumps(summary, default=str), self._run_id),
        )
        self.flush()

    def last_run_died(self) -> bool:
        """Tell whether the run before this one has no end."""
        run = self.last_run(self._run_id or None)
        return run is not None and run.ended_wall_s is None

    def last_run_answered(self, file_id: int) -> bool:
        """Tell whether the run before this one gained an answer for a file."""
        run = self.last_run(self._run_id or None)
        query = (
            "SELECT 1 FROM attempts JOIN answers ON answers.attempt_id = attempts.id "
            "WHERE attempts.file_id = ? AND run_id = ? LIMIT 1"
        )
        return run is not None and self.one(query, file_id, run.id) is not None

    # Files

    def file(self, path: str, *, is_known: bool = True) -> FileRecord:
        """Return where an input stands; one that is not known gets its id and is noted.

        Without `is_known` the look into the tables is saved: a scan has found no record.
        """
        with self._lock:
            record = self._uncommitted.get(path)
        if record is None and is_known:
            record = self.known(path)
        return record or self._new_file(path)

    def _new_file(self, path: str) -> FileRecord:
        with self._lock:
            known = self._uncommitted.get(path)
            if known is not None:
                return known
            record = FileRecord(id=next(self._file_ids), path=path)
            self._uncommitted[path] = record
        committed = partial(self._committed, path)
        self._writer.put(NewFile(record.id, path), committed, may_wait=True)
        return record

    def _committed(self, path: str, error: BaseException | None) -> None:
        if error is not None:
            raise error  # nobody else is told; `flush` raises it
        with self._lock:
            del self._uncommitted[path]

    def opened(self, file_id: int) -> None:
        """The hooks of the file start: it is OPEN."""
        change = "UPDATE files SET state = 'open', changed_wall_s = ? WHERE id = ?"
        self._write(change, self._clock.wall_s(), file_id)

    def intent(
        self,
        file_id: int,
        outputs: Sequence[OutputFile],
        done: Done | None = None,
        lines: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        """The outputs are staged: the file is INTENT, and they are its own for good.

        Args:
            done: told OutputConflict when another file owns one of them; nothing is written then.
            lines: what the file's hooks add to common files, by their names; None: as it was.
        """
        intent = Intent(file_id, outputs, self._clock.wall_s())
        added = () if lines is None else (_lines_added(file_id, lines),)
        self._writer.put_together((*added, intent), done)

    def done_file(
        self,
        file_id: int,
        hooks_version: str,
        input_signature: str | None = None,
        done: Done | None = None,
    ) -> None:
        """The file is DONE with the outputs of its last intent, and cleared of all blame."""
        wall_s = self._clock.wall_s()
        self._writer.put(FileDone(file_id, hooks_version, input_signature, wall_s), done)

    def keep_lines(self, name: str, lines: bytes) -> None:
        """These lines of a common file are of files that count as done; durable on return."""
        self._write("INSERT OR REPLACE INTO appended VALUES (0, ?, ?)", path_bytes(name), lines)
        self.flush()

    def own_output(self, final: str, owner: int) -> None:
        """Note whose an output is that no intent lists; durable on return."""
        values = (owner, path_bytes(final))
        self._write("INSERT OR REPLACE INTO outputs VALUES (?, x'', ?, 0, '', 1, 0)", *values)
        self.flush()

    def count_as_done(
        self, path: str, outputs: Sequence[OutputFile], signature: str | None
    ) -> None:
        """The file is DONE: its outputs are there, and no run that is known of made them."""
        place = split(path)
        facts = (signature, self._clock.wall_s())
        finals = [
            (path_bytes(one.final), one.size_bytes, one.sha256, one.is_blank, *place)
            for one in outputs
        ]
        with self._lock:
            file_id = next(self._file_ids)  # for one that is not known yet
        self._writer.put(
            statements(
                (_COUNT_AS_DONE, [(file_id, *place, *facts)]),
                (_FORGET_OUTPUTS, [place]),
                (_FORGET_LINES, [place]),
                (_HAS_FOUND, [()]),
                (_ADD_OUTPUTS, finals),
            )
        )

    def renew_signature(self, file_id: int, signature: str) -> None:
        """The input of a file that is DONE looks so now, and holds what it held."""
        change = "UPDATE files SET input_signature = ? WHERE id = ? AND state = 'done'"
        self._write(change, signature, file_id)

    def failed(self, file_id: int, note: FailureNote, max_file_attempts: int | None) -> None:
        """The hooks raised: the file is FAILED, or ASIDE after so many runs in which they did.

        None: this failure puts no file aside. Several times in one run count once.
        """
        self._write(
            "UPDATE files SET failed_runs = failed_runs + (failed_run_id IS NOT ?1), "
            "failed_run_id = ?1, state = CASE WHEN failed_runs + (failed_run_id IS NOT ?1) >= ?2 "
            "THEN 'aside' ELSE 'failed' END, failure_kind = ?3, failure_message = ?4, "
            "failure_trace = ?5, changed_wall_s = ?6, hooks_version = "
            "(SELECT hooks_version FROM runs ORDER BY id DESC LIMIT 1) WHERE id = ?7",
            *(self._run_id, max_file_attempts, *_kept(note), self._clock.wall_s(), file_id),
        )

    def put_aside(self, file_id: int, note: FailureNote) -> None:
        """The file is ASIDE: left alone until it is released."""
        self._write(
            "UPDATE files SET state = 'aside', is_suspect = 0, failure_kind = ?, "
            "failure_message = ?, failure_trace = ?, changed_wall_s = ?, hooks_version = "
            "(SELECT hooks_version FROM runs ORDER BY id DESC LIMIT 1) WHERE id = ?",
            *(*_kept(note), self._clock.wall_s(), file_id),
        )

    def release_aside(
        self, paths: Sequence[str] | None = None, *, other_than: str | None = None
    ) -> None:
        """Files that are ASIDE are FAILED again, with no failed run counted; None: all of them.

        Args:
            other_than: of all, only those that hooks of another version left so; None: any.
        """
        release = "UPDATE files SET state = 'failed', failed_runs = 0, failed_run_id = NULL WHERE "
        if paths is None:
            edited = None if other_than is None else text(other_than)
            all_of_them = "state = 'aside' AND state <> 'done' AND (?1 IS NULL OR "
            self._write(release + all_of_them + "hooks_version <> ?1)", edited)
        else:
            chosen = release + "folder = ? AND name = ? AND state = 'aside'"
            self._writer.put(statements((chosen, [split(path) for path in paths])))

    def mark_suspects(self, file_ids: Sequence[int]) -> None:
        """One of these files may have killed the process."""
        change = "UPDATE files SET is_suspect = 1 WHERE id = ?"
        self._writer.put(statements((change, [(file_id,) for file_id in file_ids])))

    def clear_suspect(self, file_id: int) -> None:
        """The file did not kill the process."""
        self._write("UPDATE files SET is_suspect = 0 WHERE id = ?", file_id)

    # Calls

    def claim(
        self,
        call: CallId,
        *,
        key_name: str,
        model: str,
        max_cost_usd: Decimal | None,
        done: Done | None = None,
        reply_bytes: int | None = None,
        body: bytes | None = None,
        waited_s: float = 0.0,
        wait_reason: str = "",
    ) -> int:
        """An attempt is about to be sent; return its id. It may be sent once `done` is told None.

        Args:
            max_cost_usd: what it can cost; None: the price is not known.
            done: told late where the disk has no room yet for the answer, besides those in flight.
            reply_bytes: the most that the answer has; None: not known; 0: it is not kept.
            body: the request, to be kept; None: it was before, or is not to be.
            waited_s: how long it waited for a key.
            wait_reason: for what, in a word.
        """
        attempt_id, wall_s = next(self._attempt_ids), self._clock.wall_s()
        if body is not None and (not self.keeps_requests or len(body) > MOST_REQUEST_BYTES):
            body = None
        claim = Claimed(
            *(attempt_id, self._run_id, call, key_name, model, max_cost_usd, wall_s, reply_bytes),
            *(body, waited_s, wait_reason),
        )
        self._writer.put(claim, done)
        return attempt_id

    def answered(
        self,
        attempt_id: int,
        call: CallId,
        outcome: Outcome,
        body: bytes,
        cost_usd: Decimal | None,
        done: Done | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        service_s: float | None = None,
        finish_reason: str = "",
    ) -> None:
        """The attempt got an answer, usable or not, which is kept unless the call has one.

        If its cost is not known (None), it stays in doubt up to the most it can cost.
        """
        wall_s, answer = self._clock.wall_s(), (call, body)
        besides = (headers or {}, service_s, finish_reason)
        ended = Ended(attempt_id, outcome, cost_usd, wall_s, answer, *besides)
        self._writer.put(ended, done)

    def is_earlier(self, attempt_id: int) -> bool:
        """Tell whether an earlier run met the answer of an attempt.

        What a batch of an earlier run brings now counts as met now, if it is unusable.
        """
        is_older = attempt_id < self._first_attempt_id
        return is_older and attempt_id not in self.batches.unusable

    def ended(
        self,
        attempt_id: int,
        outcome: Outcome,
        cost_usd: Decimal | None = None,
        done: Done | None = None,
        *,
        service_s: float | None = None,
    ) -> None:
        """The attempt ended without an answer.

        Its cost, None, is not known if the outcome is UNKNOWN, else it is nothing.
        """
        wall_s = self._clock.wall_s()
        self._writer.put(Ended(attempt_id, outcome, cost_usd, wall_s, None, {}, service_s), done)

    def totals(self) -> RunTotals:
        """Return the figures of this run and of all runs."""
        return totals(self.figures(), self._run_id)

    # Keys

    def key_dropped(self, fingerprint: str, name: str, reason: str) -> None:
        """A key is dead; the reason is remembered in later runs."""
        self._write(
            "INSERT INTO dropped_keys VALUES (?, ?, ?, ?) ON CONFLICT (fingerprint) DO UPDATE SET "
            "name = excluded.name, reason = excluded.reason, wall_s = excluded.wall_s",
            *(fingerprint, text(name), text(reason), self._clock.wall_s()),
        )

    def key_restored(self, fingerprint: str) -> None:
        """A key works again."""
        self._write("DELETE FROM dropped_keys WHERE fingerprint = ?", fingerprint)

    # The end

    @property
    def trouble(self) -> ToolkitError | None:
        """The first fault of the disk: send nothing more; None: there was none."""
        return self._writer.trouble

    def on_trouble(self, tell: Callable[[ToolkitError], object]) -> None:
        """Have `tell` called with the first fault of the disk, from the journal's thread."""
        self._writer.on_trouble = tell

    def flush(self) -> None:
        """Wait until all that was queued is settled, as `Writer.flush`; not from a `done`."""
        self._writer.flush()

    def close(self) -> None:
        """Settle what is queued and let go of the files."""
        try:
            self._writer.close()
        finally:
            super().close()
            self._writing.close()


_COUNT_AS_DONE = (
    "INSERT INTO files (id, folder, name, state, hooks_version, input_signature, changed_wall_s) "
    "VALUES (?, ?, ?, 'done', '', ?, ?) ON CONFLICT (folder, name) DO UPDATE SET state = 'done', "
    "failed_runs = 0, failed_run_id = NULL, is_suspect = 0, failure_kind = NULL, "
    "failure_message = NULL, failure_trace = NULL, hooks_version = '', "
    "input_signature = excluded.input_signature, changed_wall_s = excluded.changed_wall_s"
)
_FORGET_OUTPUTS = (
    "UPDATE outputs SET is_current = 0 "
    "WHERE file_id = (SELECT id FROM files WHERE folder = ? AND name = ?)"
)
_FORGET_LINES = (
    "DELETE FROM appended WHERE file_id = (SELECT id FROM files WHERE folder = ? AND name = ?)"
)
_HAS_FOUND = "INSERT INTO meta VALUES ('has_found', 1) ON CONFLICT DO NOTHING"
_ADD_OUTPUTS = (
    "INSERT INTO outputs SELECT id, x'', ?, ?, ?, 1, ? FROM files WHERE folder = ? AND name = ? "
    "ON CONFLICT (final) DO UPDATE SET is_current = 1 WHERE file_id = excluded.file_id"
)


def _lines_added(file_id: int, lines: Sequence[tuple[str, str]]) -> Change:
    by_name: dict[str, str] = {}
    for name, line in lines:
        by_name[name] = by_name.get(name, "") + line
    rows = [(file_id, path_bytes(name), text.encode()) for name, text in by_name.items()]
    forget = ("DELETE FROM appended WHERE file_id = ?", [(file_id,)])
    return statements(forget, ("INSERT INTO appended VALUES (?, ?, ?)", rows))


def _kept(note: FailureNote) -> tuple[str, str, str]:
    return text(note.kind), text(note.message), text(note.trace)
