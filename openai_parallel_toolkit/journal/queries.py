"""What both faces of the journal read; each query is one short read transaction.

One lock guards the connection of a `Source`.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import groupby
from typing import Any

from ..core.records import CallId, FileState, OutputFile
from .batch_rows import BatchRecord, Stage, Standing, Told
from .columns import join, path_bytes, path_text, split
from .disk import damaged, faults_told
from .rows import FIGURES, Figures, FileRecord, RunRecord, StoredAnswer, Totals

#: Files that are read at a time where there may be millions.
_PAGE = 500
_COLUMNS = "id, folder, name, state, failed_runs, is_suspect, hooks_version, input_signature"
_RUN_COLUMNS = "id, started_wall_s, pid, host, hooks_version, ended_wall_s, how, summary"


class Source:
    """Reads what is committed, for many threads in turn."""

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self._db = db
        self.path = path
        self._lock = threading.Lock()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows.

        Raises:
            JournalError: the journal is damaged.
            StorageError: the disk refused.
        """
        with faults_told(self.path), self._lock:
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Take values that cannot be what was written for the damage that they are.

        Raises:
            JournalError: the journal is damaged.
        """
        try:
            yield
        except (ValueError, TypeError, ArithmeticError) as error:
            raise damaged(self.path) from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._db.close()


def salt(source: Source) -> bytes:
    """Return the random bytes that belong to this journal.

    Raises:
        JournalError: they are lost.
    """
    rows = source.rows("SELECT value FROM meta WHERE key = 'salt'")
    if not rows:
        raise damaged(source.path)
    return bytes(rows[0][0])


def figures(source: Source) -> list[tuple[int, str, str, Figures]]:
    """Return runs, key names and models with their figures."""
    rows = source.rows("SELECT * FROM tallies ORDER BY run_id")
    with source.understood():
        return [(run_id, key, model, _figures(values)) for run_id, key, model, *values in rows]


def _figures(values: Sequence[Any]) -> Figures:
    facts = dict(zip(FIGURES, values, strict=True))
    facts["cost_usd"] = Decimal(facts["cost_usd"])
    facts["doubt_usd"] = Decimal(facts["doubt_usd"])
    return Figures(**facts)


def add_up(
    rows: Sequence[tuple[int, str, str, Figures]], name: Callable[[tuple[Any, ...]], Any]
) -> dict[Any, Figures]:
    """Return the sums of figures by what `name` picks of a row."""
    sums: dict[Any, Figures] = {}
    for row in rows:
        sums[name(row)] = sums.get(name(row), Figures()) + row[3]
    return sums


def totals(rows: Sequence[tuple[int, str, str, Figures]], run_id: int) -> Totals:
    """Return the figures of one run and of all."""
    return Totals(
        this_run=sum((row[3] for row in rows if row[0] == run_id), Figures()),
        all_runs=sum((row[3] for row in rows), Figures()),
    )


def last_run(source: Source, before: int | None = None) -> RunRecord | None:
    """Return the newest run, or the newest one before a run; None: there was none."""
    rows = source.rows(
        f"SELECT {_RUN_COLUMNS} FROM runs WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT 1",  # noqa: S608
        (before,),
    )
    fields = _RUN_COLUMNS.replace("summary", "summary_json").split(", ")
    return RunRecord(**dict(zip(fields, rows[0], strict=True))) if rows else None


def gained(source: Source, run_id: int, file_id: int) -> bool:
    """Tell whether a run got an answer for a file."""
    query = (
        "SELECT 1 FROM attempts JOIN answers ON answers.attempt_id = attempts.id "
        "WHERE attempts.file_id = ? AND run_id = ? LIMIT 1"
    )
    return bool(source.rows(query, (file_id, run_id)))


def file_at(source: Source, path: str) -> FileRecord | None:
    """Return the record of an input; None: it is not known."""
    return next(iter(_files(source, "folder = ? AND name = ?", split(path))), None)


def files_in(source: Source, folder: str) -> Iterator[FileRecord]:
    """Yield the files directly in a folder whose hooks were ever started, as their names sort."""
    condition, last = "folder = ? AND state IS NOT NULL", b""
    while page := _page(source, condition, (path_bytes(folder),), "name", last):
        yield from page
        last = split(page[-1].path)[1]


def intents(source: Source) -> Iterator[FileRecord]:
    """Yield the files whose outputs are perhaps not all in place."""
    # The second condition is what lets SQLite use the index.
    return _by_id(source, "state = 'intent' AND state <> 'done'")


def suspects(source: Source) -> Iterator[FileRecord]:
    """Yield the files that may have killed a process."""
    return _by_id(source, "is_suspect = 1 AND state <> 'done'")


def made_by_others(source: Source, hooks_version: str) -> Iterator[FileRecord]:
    """Yield the files that hooks of another version finished; its own are not looked through."""
    query = "SELECT DISTINCT hooks_version FROM runs WHERE hooks_version <> ?"
    for other in source.rows(query, (hooks_version,)):
        yield from _by_id(source, "state = 'done' AND hooks_version = ?", other)


def _by_id(source: Source, condition: str, values: Sequence[Any] = ()) -> Iterator[FileRecord]:
    last = 0
    while page := _page(source, condition, values, "id", last):
        yield from page
        last = page[-1].id


def _page(
    source: Source, condition: str, values: Sequence[Any], column: str, after: Any
) -> list[FileRecord]:
    where = f"{condition} AND {column} > ? ORDER BY {column} LIMIT {_PAGE}"
    return _files(source, where, (*values, after), order=column)


def _files(
    source: Source, where: str, values: Sequence[Any], order: str = "id"
) -> list[FileRecord]:
    rows = source.rows(
        f"SELECT found.*, outputs.final FROM (SELECT {_COLUMNS} FROM files WHERE {where}) AS found "  # noqa: S608
        "LEFT JOIN outputs ON outputs.file_id = found.id AND outputs.is_current "
        f"ORDER BY found.{order}, outputs.final",
        values,
    )
    with source.understood():
        return [_file(file, group) for file, group in groupby(rows, lambda row: row[:-1])]


def _file(columns: Sequence[Any], rows: Iterable[Sequence[Any]]) -> FileRecord:
    file_id, folder, name, state, failed_runs, is_suspect, hooks_version, signature = columns
    return FileRecord(
        id=file_id,
        path=join(folder, name),
        state=state and FileState(state),
        failed_runs=failed_runs,
        is_suspect=bool(is_suspect),
        hooks_version=hooks_version,
        input_signature=signature,
        finals=tuple(path_text(row[-1]) for row in rows if row[-1] is not None),
    )


def outputs(source: Source, file_id: int) -> tuple[OutputFile, ...]:
    """Return the outputs that the last intent of a file listed."""
    rows = source.rows(
        "SELECT staged, final, size_bytes, sha256 FROM outputs "
        "WHERE file_id = ? AND is_current ORDER BY final",
        (file_id,),
    )
    with source.understood():
        return tuple(
            OutputFile(staged=path_text(s), final=path_text(f), size_bytes=size, sha256=sha256)
            for s, f, size, sha256 in rows
        )


def answers(source: Source, file_id: int) -> dict[tuple[str, int, int], StoredAnswer]:
    """Return the answers of a file by (request hash, k, try)."""
    rows = source.rows(
        "SELECT hash, k, try, attempt_id, encoding, crc, body FROM answers WHERE file_id = ?",
        (file_id,),
    )
    return {
        (hash.hex(), k, attempt_try): StoredAnswer(
            attempt_id=attempt_id, encoding=encoding, crc=crc, stored=body
        )
        for hash, k, attempt_try, attempt_id, encoding, crc, body in rows
    }


def answer(source: Source, call: CallId) -> StoredAnswer | None:
    """Return the answer to one call; None: there is none."""
    rows = source.rows(
        "SELECT attempt_id, encoding, crc, body FROM answers "
        "WHERE file_id = ? AND hash = ? AND k = ? AND try = ?",
        (call.file_id, bytes.fromhex(call.hash), call.k, call.attempt_try),
    )
    for attempt_id, encoding, crc, body in rows:
        return StoredAnswer(attempt_id=attempt_id, encoding=encoding, crc=crc, stored=body)
    return None


def batches(source: Source, condition: str, *values: object) -> list[BatchRecord]:
    """Return batches, the oldest first."""
    rows = source.rows(f"SELECT * FROM batches WHERE {condition} ORDER BY id", values)  # noqa: S608
    with source.understood():
        return [_batch(row) for row in rows]


def _batch(row: Sequence[Any]) -> BatchRecord:
    values = dict(zip(BatchRecord.__dataclass_fields__, row, strict=True))
    kept = {"stage": Stage(values["stage"]), "told": Told(**json.loads(values["told"]))}
    return BatchRecord(**{**values, **kept})


def jobs(source: Source) -> list[tuple[int, Mapping[str, Any]]]:
    """Return ids and facts of the jobs that are under way."""
    rows = source.rows("SELECT id, facts FROM jobs ORDER BY id")
    with source.understood():
        return [(job_id, json.loads(facts)) for job_id, facts in rows]


def standing(source: Source) -> Standing:
    """Return what waits in batch mode; counts rows."""
    (queued,) = source.rows(
        "SELECT count(*) FROM lines WHERE batch_id IS NULL AND failure IS NULL"
    )[0]
    batches, lines = source.rows(
        "SELECT count(*), coalesce(sum(lines), 0) FROM batches "
        "WHERE job_id IS NULL AND stage NOT IN ('collected', 'closed')"
    )[0]
    (suspended,) = source.rows("SELECT count(*) FROM rounds WHERE is_suspended")[0]
    return Standing(queued=queued, in_batches=lines, batches=batches, suspended=suspended)
