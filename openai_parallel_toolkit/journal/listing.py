"""Every call and every file that a journal knows, a page at a time, also while a run writes."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ..core.errors import StorageError
from ..core.filesystem import FULL_ERRNOS, path_text
from ..core.records import FileState, OutcomeKind
from .columns import decimal, join
from .queries import ANSWER_COLUMNS, PAGE, JournalQueries, answer_record
from .rows import CallRecord, FileFigures, StoredBody

#: Which attempts are of one call, in a nameless table of this connection: files in the order of
#: their paths, and the calls of one in the order in which they were first asked.
_LIST_CALLS = (
    "DROP TABLE IF EXISTS temp.listed",
    """CREATE TEMP TABLE listed (
        id INTEGER PRIMARY KEY, file_id INTEGER NOT NULL, first_id INTEGER NOT NULL,
        last_id INTEGER NOT NULL, attempts INTEGER NOT NULL)""",
    """INSERT INTO temp.listed (file_id, first_id, last_id, attempts)
        SELECT file_id, min(attempts.id) AS first_id, max(attempts.id), count(*)
        FROM attempts JOIN files ON files.id = file_id GROUP BY file_id, hash, k, try
        ORDER BY folder, name, first_id""",
)
#: From `attempts` on they are the fields of a CallRecord, in their order, up to the answer's.
_CALLS = (
    "SELECT listed.id, listed.file_id, folder, name, hash, kind, max_cost_usd, cost_usd, "  # noqa: S608
    "listed.attempts, run_id, try, key_name, model, status, code, message, prompt_tokens, "
    "completion_tokens, cached_tokens, request_id, finish_reason, last.waited_s, service_s, "
    "first.started_wall_s, last.started_wall_s, ended_wall_s, request.*, answer.* "
    "FROM temp.listed AS listed JOIN files ON files.id = listed.file_id "
    "JOIN attempts AS last ON last.id = last_id "
    "JOIN (SELECT id, started_wall_s FROM attempts) AS first ON first.id = first_id "
    "LEFT JOIN endings ON endings.attempt_id = last_id "
    # Each run that asks again keeps it with its own first attempt.
    "LEFT JOIN (SELECT attempt_id, encoding, crc, body FROM requests) AS request "
    "ON request.attempt_id = CASE WHEN EXISTS (SELECT 1 FROM requests WHERE attempt_id = first_id) "
    "THEN first_id ELSE last_id END "
    f"LEFT JOIN (SELECT {ANSWER_COLUMNS} FROM answers) AS answer ON answer.attempt_id = last_id "
    "WHERE listed.id > ? ORDER BY listed.id LIMIT ?"
)
#: Columns of an answer.
_KEPT = ANSWER_COLUMNS.count(",") + 1

_FILES = (
    "SELECT id, folder, name, state, failed_runs, failure_kind, failure_message FROM files "
    "WHERE (folder, name) > (?, ?) AND state IS NOT NULL ORDER BY folder, name LIMIT ?"
)
_DOUBT = "cost_usd IS NULL AND (kind IS NULL OR kind IN ('ok', 'unusable', 'unknown'))"
#: Money is added up as floating point numbers, which those of tables are as well.
_FIGURES = (
    "SELECT file_id, count(*), sum(kind IS 'ok' OR kind IS 'unusable'), "  # noqa: S608
    "sum(kind IS NULL OR kind = 'unknown'), sum(prompt_tokens), sum(completion_tokens), "
    "total(CAST(cost_usd AS REAL)), "
    f"total(CASE WHEN {_DOUBT} THEN CAST(max_cost_usd AS REAL) END), "
    f"sum({_DOUBT} AND max_cost_usd IS NULL), min(started_wall_s), max(ended_wall_s) "
    "FROM attempts LEFT JOIN endings ON attempt_id = attempts.id "
    "WHERE file_id IN ({}) GROUP BY file_id"
)
_FINALS = "SELECT file_id, final FROM outputs WHERE is_current AND file_id IN ({}) ORDER BY final"
_NO_FIGURES = (0, 0, 0, None, None, 0.0, 0.0, 0, None, None)


def all_calls(journal: JournalQueries) -> Iterator[CallRecord]:
    """Yield each call that was made until now, as its last attempt came out.

    Raises:
        StorageError: there is no room for temporary files.
    """
    _list_calls(journal)
    last_id, file_id, number = 0, 0, 0
    while rows := journal.rows(_CALLS, (last_id, PAGE)):
        last_id, page = rows[-1][0], []
        with journal.understood():
            for _, of_file, *columns in rows:
                number = number + 1 if of_file == file_id else 1
                file_id = of_file
                page.append(_call(number, *columns))
        yield from page
    journal.rows(_LIST_CALLS[0])


def _list_calls(journal: JournalQueries) -> None:
    try:
        for statement in _LIST_CALLS:
            journal.rows(statement)
    except StorageError as exc:
        if exc.errno not in FULL_ERRNOS:
            raise
        folder = tempfile.gettempdir()
        raise StorageError(
            f"{folder!r} has no room for a list of the calls (about 40 bytes each); free some "
            "space there, or set TMPDIR to another folder",
            errno=exc.errno,
            path=folder,
        ) from exc


def _call(number: int, *columns: Any) -> CallRecord:
    folder, name, hash, kind, most_usd, cost_usd, *facts = columns
    *told, request_id, encoding, crc, stored = facts[:-_KEPT]
    values: list[Any] = [join(folder, name), number, hash.hex()]
    values += None if kind is None else OutcomeKind(kind), decimal(most_usd), decimal(cost_usd)
    values += told
    request = {"attempt_id": request_id, "encoding": encoding, "crc": crc, "stored": stored}
    values.append(None if request_id is None else StoredBody(**request))
    answer = facts[-_KEPT:]
    values.append(None if answer[0] is None else answer_record(answer))
    return CallRecord(*values)


def all_files(journal: JournalQueries) -> Iterator[FileFigures]:
    """Yield each file whose hooks were started, in the order of the paths."""
    last: tuple[bytes, bytes] = (b"", b"")
    while rows := journal.rows(_FILES, (*last, PAGE)):
        last = rows[-1][1:3]
        ids = [row[0] for row in rows]
        marks = ",".join("?" * len(ids))
        figures = {row[0]: row[1:] for row in journal.rows(_FIGURES.format(marks), ids)}
        finals = defaultdict[int, list[str]](list)
        with journal.understood():
            for file_id, final in journal.rows(_FINALS.format(marks), ids):
                finals[file_id].append(path_text(final))
            page = [
                _file(folder, name, state, *told, tuple(finals[id]), *figures.get(id, _NO_FIGURES))
                for id, folder, name, state, *told in rows
            ]
        yield from page


def _file(folder: bytes, name: bytes, state: str, *facts: Any) -> FileFigures:
    return FileFigures(join(folder, name), FileState(state), *facts)
