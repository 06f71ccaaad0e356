"""Save what can be read of a damaged journal. The caller holds the run lock."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import islice
from typing import Any

from ..clock import Clock, SystemClock
from ..records import CallId, Outcome, OutcomeKind, Usage
from .columns import decimal
from .disk import explain, make_private, refused, sync_folder
from .operations import Claimed, Ended
from .rows import RepairReport, is_whole
from .schema import FILE_NAME, checked_version, connect, prepare
from .tallies import Tallies
from .upkeep import existing

_BATCH = 5_000
#: Beyond all row ids.
_END = 2**62
#: `standings` and `tallies` are worked out anew.
_TABLES = {
    "meta": "key, value",
    "runs": "id, started_wall_s, pid, host, hooks_version, ended_wall_s, how, summary",
    "files": "id, folder, name, state, failed_runs, failed_run_id, is_suspect, "
    "hooks_version, input_signature, failure_kind, failure_message, failure_trace, changed_wall_s",
    "outputs": "file_id, staged, final, size_bytes, sha256, is_current",
    "attempts": "id, run_id, file_id, hash, k, try, key_name, model, max_cost_usd, started_wall_s",
    "endings": "attempt_id, kind, status, code, message, prompt_tokens, completion_tokens, "
    "cached_tokens, cost_usd, request_id, ended_wall_s",
    "answers": "attempt_id, file_id, hash, k, try, encoding, crc, body",
    "dropped_keys": "fingerprint, name, reason, wall_s",
}


def repair(state_folder: str, *, clock: Clock = SystemClock()) -> RepairReport:  # noqa: B008
    """Check a journal in full; if it is damaged, save what can be read into a new one.

    The damaged journal is kept beside the new one, under a name with the time.

    Raises:
        JournalError: there is no journal, or it is of a newer version.
        StorageError: the disk refused.
    """
    path = existing(state_folder)
    problems = _problems(path)
    if not problems:
        return RepairReport(problems=())
    fresh = f"{path}.repaired"
    for name in (fresh, f"{fresh}-wal", f"{fresh}-shm"):
        _remove(name)
    make_private(state_folder, f"{FILE_NAME}.repaired")
    try:
        with closing(connect(fresh)) as new:
            prepare(new, fresh, created_wall_s=clock.wall_s())
            with closing(connect(path)) as old:
                _salvage(old, new)
            _rebuild_tallies(new)
            counts = {
                table: new.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
                for table in ("files", "attempts", "answers")
            }
    except sqlite3.DatabaseError as error:
        raise explain(error, fresh) from error
    kept_as = _swap(path, fresh, clock.wall_s())
    return RepairReport(problems=problems, kept_as=kept_as, **counts)


def _problems(path: str) -> tuple[str, ...]:
    """Return what is wrong, in words; empty: all is well."""
    try:
        with closing(connect(path)) as db:
            checked_version(db, path)
            found = [line for (line,) in db.execute("PRAGMA integrity_check(20)") if line != "ok"]
            found += _damaged_answers(db)
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise explain(error, path) from error
        return (str(error),)
    return tuple(found)


def _damaged_answers(db: sqlite3.Connection) -> Iterator[str]:
    for attempt_id, crc, body in db.execute("SELECT attempt_id, crc, body FROM answers"):
        if not is_whole(body, crc):
            yield f"the stored answer of attempt {attempt_id} is damaged"


def _salvage(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    for table, columns in _TABLES.items():
        rows = _rows(old, table, columns)
        if table == "answers":
            rows = (row for row in rows if is_whole(row[-1], row[-2]))
        _insert(new, table, columns, rows)
        if table == "files":
            _insert(new, table, "id, folder, name", _paths(old))
    # Without a path nobody can ask for an answer, and its file's id may be given again.
    new.execute("DELETE FROM answers WHERE file_id NOT IN (SELECT id FROM files)")


def _rows(db: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows that can be read, leaping over the pages that cannot."""
    query = f"SELECT rowid, {columns} FROM {table} NOT INDEXED WHERE rowid >= ? ORDER BY rowid"  # noqa: S608
    start: int | None = 0
    while start is not None:
        try:
            for rowid, *values in db.execute(query, (start,)):
                start = rowid + 1
                yield tuple(values)
        except sqlite3.DatabaseError:
            start = _beyond(db, query, start)
        else:
            return


def _beyond(db: sqlite3.Connection, query: str, start: int) -> int | None:
    """Return a row id after `start` from which reading goes on; None: it does not."""
    step = 1
    while not _is_readable(db, query, start + step):
        step *= 2
        if step > _END:
            return None
    bad, good = start + step // 2, start + step
    while good - bad > 1:
        middle = (bad + good) // 2
        if _is_readable(db, query, middle):
            good = middle
        else:
            bad = middle
    return good


def _is_readable(db: sqlite3.Connection, query: str, start: int) -> bool:
    try:
        db.execute(f"{query} LIMIT 1", (start,)).fetchall()
    except sqlite3.DatabaseError:
        return False
    return True


def _paths(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """Yield ids and paths out of the index, from both ends: the rows themselves may be lost."""
    for order in ("", "DESC"):
        query = (
            "SELECT id, folder, name FROM files INDEXED BY files_by_path "  # noqa: S608
            f"ORDER BY folder {order}, name {order}"
        )
        with suppress(sqlite3.DatabaseError):  # the other end may be better
            yield from db.execute(query)


def _insert(
    db: sqlite3.Connection, table: str, columns: str, rows: Iterator[tuple[Any, ...]]
) -> None:
    # The new journal has a salt of its own; the old one is worth more.
    verb = "REPLACE" if table == "meta" else "IGNORE"
    marks = ", ".join("?" * len(columns.split(", ")))
    statement = f"INSERT OR {verb} INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608
    while batch := list(islice(rows, _BATCH)):
        db.execute("BEGIN")
        db.executemany(statement, batch)
        db.execute("COMMIT")


def _rebuild_tallies(db: sqlite3.Connection) -> None:
    query = (
        "SELECT id, run_id, key_name, model, max_cost_usd, kind, prompt_tokens, completion_tokens, "
        "cached_tokens, cost_usd FROM attempts LEFT JOIN endings ON attempt_id = id "
        "WHERE id > ? ORDER BY id LIMIT ?"
    )
    tallies, last_id = Tallies(), 0
    while rows := db.execute(query, (last_id, _BATCH)).fetchall():
        last_id = rows[-1][0]
        claims = [_claim(*row[:5]) for row in rows]
        endings = [_ending(row[0], *row[5:]) for row in rows if row[5] is not None]
        db.execute("BEGIN")
        folded = tallies.fold(db, claims, endings)
        db.execute("COMMIT")
        tallies.adopt(folded)


def _claim(attempt_id: int, run_id: int, key_name: str, model: str, most: str | None) -> Claimed:
    call = CallId(file_id=0, hash="")  # the sums do not ask which call it was
    return Claimed(attempt_id, run_id, call, key_name, model, decimal(most), 0.0)


def _ending(
    attempt_id: int, kind: str, prompt: int | None, completion: int, cached: int, cost: str | None
) -> Ended:
    usage = None
    if prompt is not None:
        usage = Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached)
    outcome = Outcome(kind=OutcomeKind(kind), usage=usage)
    return Ended(attempt_id, outcome, decimal(cost), 0.0, None)


def _swap(path: str, fresh: str, wall_s: float) -> str:
    """Put the new journal in the old one's place; return where the old one is kept.

    At every moment some journal is there under the name, so no run can begin an empty one.
    """
    kept_as = f"{path}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(wall_s))}"
    try:
        os.link(path, kept_as)
        if os.path.exists(f"{path}-wal"):
            os.link(f"{path}-wal", f"{kept_as}-wal")
        # A log that is left would be played into the new journal.
        _remove(f"{path}-wal")
        _remove(f"{path}-shm")
        os.replace(fresh, path)
        sync_folder(os.path.dirname(path))
    except OSError as error:
        raise refused(error.errno or errno.EIO, path) from error
    return kept_as


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
