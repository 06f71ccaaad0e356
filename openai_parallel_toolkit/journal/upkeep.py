"""Mend or shrink a journal that no run is using. The caller holds the run lock."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from ..core.clock import Clock, SystemClock
from ..core.errors import StorageError
from ..core.file_kinds import exists
from ..core.filesystem import path_text, replace_durably
from ..core.records import CallId, FileState, Outcome, OutcomeKind, Usage
from .columns import decimal
from .disk import FAULTS, explain, faults_told, make_private, refused
from .operations import Claimed, Ended
from .rows import PruneReport, RepairReport, is_whole
from .schema import (
    FILE_NAME,
    STEPS,
    checked_version,
    connect,
    existing,
    migrate,
    prepare,
    transaction,
)
from .tallies import Tallies

#: Rows or pages that are handled in one transaction, so that the log stays small.
_BATCH = 5_000
#: Beyond all row ids.
_END = 2**62
#: `standings` and `tallies` are worked out anew; `rounds` belong to one run.
_COLUMNS = """SELECT tables.name, columns.name, columns.type
    FROM sqlite_master AS tables JOIN pragma_table_info(tables.name) AS columns
    WHERE tables.type = 'table' AND tables.name NOT IN ('standings', 'tallies', 'rounds')
    ORDER BY tables.rowid, columns.cid"""


def _money(kept: str) -> None:
    if not Decimal(kept).is_finite():
        raise ValueError(kept)


#: What a value must pass, by the declared type of its column and by the column's name.
_TYPES: dict[str, type | tuple[type, ...]] = {
    "INTEGER": int,
    "TEXT": str,
    "REAL": float,
    "BLOB": (bytes, float),
}
_PARSERS: dict[str, Callable[[Any], object]] = {
    "state": FileState,
    "kind": OutcomeKind,
    "max_cost_usd": _money,
    "cost_usd": _money,
    "folder": path_text,
    "staged": path_text,
    "final": path_text,
}


def repair(state_folder: str, *, clock: Clock = SystemClock()) -> RepairReport:  # noqa: B008
    """Check a journal in full; if it is damaged, save what can be read into a new one.

    The damaged journal is kept beside the new one, under a name with the time.
    """
    path = existing(state_folder)
    problems = _problems(path)
    if not problems:
        return RepairReport(problems=())
    fresh = f"{path}.repaired"
    for name in (fresh, f"{fresh}-wal", f"{fresh}-shm"):
        Path(name).unlink(missing_ok=True)
    make_private(state_folder, f"{FILE_NAME}.repaired")
    with faults_told(fresh), closing(connect(fresh)) as new:
        prepare(new, fresh, created_wall_s=clock.wall_s())
        with closing(connect(path)) as old:
            _salvage(old, new)
        _rebuild_tallies(new)
        counts = {
            table: new.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for table in ("files", "attempts", "answers")
        }
    kept_as = _swap(path, fresh, clock.wall_s())
    return RepairReport(problems=problems, kept_as=kept_as, **counts)


def _problems(path: str) -> tuple[str, ...]:
    """Return what is wrong, in words; empty: all is well."""
    try:
        with closing(connect(path)) as db:
            checked_version(db, path)
            found = [line for (line,) in db.execute("PRAGMA integrity_check(20)") if line != "ok"]
            found += _senseless(db)
    except FAULTS as error:
        fault = explain(error, path)
        if isinstance(fault, StorageError):
            raise fault from error
        return (str(error),)
    return tuple(found)


def _senseless(db: sqlite3.Connection) -> Iterator[str]:
    """Yield what SQLite can read and we cannot, in words."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        migrate(model, 0, STEPS, created_wall_s=0.0)
        schema = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
        if db.execute(schema).fetchall() != model.execute(schema).fetchall():
            yield "the schema is not the one that was written"
            return
    for table, columns in _tables(db).items():
        for row in db.execute(f"SELECT {', '.join(columns)} FROM {table}"):  # noqa: S608
            if not _makes_sense(columns, row):
                yield f"a row of {table} makes no sense"


def _tables(db: sqlite3.Connection) -> dict[str, dict[str, str]]:
    """Return the declared types of columns by table, in the order in which they were made."""
    tables: dict[str, dict[str, str]] = {}
    for table, column, type in db.execute(_COLUMNS):
        tables.setdefault(table, {})[column] = type
    return tables


def _makes_sense(columns: dict[str, str], row: Sequence[Any]) -> bool:
    values = dict(zip(columns, row, strict=True))
    try:
        for name, value in values.items():
            if value is not None:
                if not isinstance(value, _TYPES[columns[name]]):
                    return False
                _PARSERS.get(name, bool)(value)
        if isinstance(values.get("name"), bytes):
            path_text(values["name"])
    except (ValueError, ArithmeticError):
        return False
    return "crc" not in values or is_whole(values["body"], values["crc"])


def _salvage(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    for table, columns in _tables(new).items():
        rows = _rows(old, table, columns)
        _insert(new, table, columns, (row for row in rows if _makes_sense(columns, row)))
        if table == "files":
            few = {name: columns[name] for name in ("id", "folder", "name", "state")}
            _insert(new, table, few, (row for row in _paths(old) if _makes_sense(few, row)))
    # Without a path nobody can ask for an answer, and its file's id may be given again.
    new.execute("DELETE FROM answers WHERE file_id NOT IN (SELECT id FROM files)")


def _rows(db: sqlite3.Connection, table: str, columns: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows that can be read, leaping over the pages that cannot."""
    query = (
        f"SELECT rowid, {', '.join(columns)} FROM {table} NOT INDEXED "  # noqa: S608
        "WHERE rowid >= ? ORDER BY rowid"
    )
    start: int | None = 0
    while start is not None:
        try:
            for rowid, *values in db.execute(query, (start,)):
                start = rowid + 1
                yield tuple(values)
        except FAULTS:
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
    good = start + step
    return bisect_left(
        range(good),
        True,
        lo=start + step // 2 + 1,
        hi=good,
        key=lambda row: _is_readable(db, query, row),
    )


def _is_readable(db: sqlite3.Connection, query: str, start: int) -> bool:
    try:
        db.execute(f"{query} LIMIT 1", (start,)).fetchall()
    except FAULTS:
        return False
    return True


def _paths(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """Yield ids and paths out of the index, from both ends: the rows themselves may be lost.

    Such a file is OPEN: it is due again, and its answers are replayed.
    """
    for order in ("", "DESC"):
        query = (
            "SELECT id, folder, name, 'open' FROM files INDEXED BY files_by_path "  # noqa: S608
            f"ORDER BY folder {order}, name {order}"
        )
        with suppress(*FAULTS):  # the other end may be better
            yield from db.execute(query)


def _insert(
    db: sqlite3.Connection, table: str, columns: Collection[str], rows: Iterator[Sequence[Any]]
) -> None:
    # The new journal has a salt of its own; the old one is worth more.
    verb = "REPLACE" if table == "meta" else "IGNORE"
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    statement = f"INSERT OR {verb} INTO {table} ({names}) VALUES ({marks})"  # noqa: S608
    while batch := list(islice(rows, _BATCH)):
        with transaction(db):
            db.executemany(statement, batch)


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
        with transaction(db):
            staged = tallies.stage(db, claims, endings)
        tallies.apply(staged)


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
        with suppress(FileNotFoundError):
            os.link(f"{path}-wal", f"{kept_as}-wal")
        # A log that is left would be played into the new journal.
        for name in (f"{path}-wal", f"{path}-shm"):
            Path(name).unlink(missing_ok=True)
        replace_durably(fresh, path)
    except OSError as error:
        raise refused(error.errno or errno.EIO, path) from error
    return kept_as


def prune(state_folder: str) -> PruneReport:
    """Drop the kept requests and answers of files that are done, and give their space back.

    Should such a file become due again, its calls are paid for again.
    """
    path = existing(state_folder)
    before_bytes = _size_bytes(path)
    with faults_told(path), closing(connect(path)) as db:
        prepare(db, path, created_wall_s=0.0)
        answers = _drop(db, "answers")
        requests = _drop(db, "requests")
        _give_back(db)
    freed_bytes = max(0, before_bytes - _size_bytes(path))
    return PruneReport(answers=answers, requests=requests, freed_bytes=freed_bytes)


def _size_bytes(path: str) -> int:
    return sum(os.path.getsize(p) for p in (path, f"{path}-wal") if exists(p))


#: Which file a row belongs to, by table.
_FILE_OF = {
    "answers": "file_id",
    "requests": "(SELECT file_id FROM attempts WHERE id = requests.attempt_id)",
}


def _drop(db: sqlite3.Connection, table: str) -> int:
    dropped, low = 0, 0
    (high,) = db.execute(f"SELECT max(attempt_id) FROM {table}").fetchone()  # noqa: S608
    while low <= (high or 0):
        dropped += db.execute(
            f"DELETE FROM {table} WHERE attempt_id BETWEEN ? AND ? AND "  # noqa: S608
            f"(SELECT state FROM files WHERE id = {_FILE_OF[table]}) = 'done'",
            (low, low + _BATCH - 1),
        ).rowcount
        low += _BATCH
    return dropped


def _give_back(db: sqlite3.Connection) -> None:
    (free_pages,) = db.execute("PRAGMA freelist_count").fetchone()
    for _ in range(0, free_pages, _BATCH):
        # A script, because `execute` stops after the first page: the pragma returns no columns.
        db.executescript(f"PRAGMA incremental_vacuum({_BATCH})")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
