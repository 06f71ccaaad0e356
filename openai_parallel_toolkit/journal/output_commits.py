"""What every file that succeeds comes to, its intent and its end, written for many at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from ..core.errors import OutputConflict
from ..core.records import OutputFile
from .bulk import execute_for_all, in_chunks, insert, marks
from .columns import join, path_bytes, path_text, text

_NO_FAILURE = "failure_kind = NULL, failure_message = NULL, failure_trace = NULL"


class Intent(NamedTuple):
    """The outputs are staged. Those of earlier intents stay the file's own, but are not current."""

    file_id: int
    outputs: Sequence[OutputFile]
    wall_s: float


class Finished(NamedTuple):
    """The outputs are in place."""

    file_id: int
    hooks_version: str
    signature: str | None
    wall_s: float


def write_intents(db: sqlite3.Connection, intents: Sequence[Intent]) -> None:
    """Write the intents of files, at least one.

    Raises:
        OutputConflict: an output belongs to another file.
    """
    rows = [_output_row(intent.file_id, output) for intent in intents for output in intent.outputs]
    _check_owners(db, rows)
    ids = [intent.file_id for intent in intents]
    execute_for_all(db, "UPDATE outputs SET is_current = 0 WHERE file_id IN ({})", ids)
    insert(db, "INSERT OR REPLACE INTO outputs VALUES {}", rows)
    wall_s = intents[-1].wall_s
    change = "UPDATE files SET state = 'intent', changed_wall_s = ? WHERE id IN ({})"
    execute_for_all(db, change, ids, wall_s)


def write_finished(db: sqlite3.Connection, finished: Sequence[Finished]) -> None:
    """Write that files are done."""
    for version, of_version in groupby(finished, lambda file: file.hooks_version):
        for files in in_chunks(list(of_version)):
            ids = [file.file_id for file in files]
            cases = " ".join(["WHEN ? THEN ?"] * len(files))
            signatures = [value for file in files for value in (file.file_id, file.signature)]
            db.execute(
                "UPDATE files SET state = 'done', failed_runs = 0, failed_run_id = NULL, "  # noqa: S608
                f"is_suspect = 0, {_NO_FAILURE}, hooks_version = ?, changed_wall_s = ?, "
                f"input_signature = CASE id {cases} END WHERE id IN ({marks(len(ids))})",
                (text(version), files[-1].wall_s, *signatures, *ids),
            )


def _output_row(file_id: int, output: OutputFile) -> tuple[Any, ...]:
    staged, final = path_bytes(output.staged), path_bytes(output.final)
    return file_id, staged, final, output.size_bytes, output.sha256, 1


def _check_owners(db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    taken: dict[bytes, int] = {}
    for file_id, _, final, *_ in rows:
        if taken.setdefault(final, file_id) != file_id:
            raise _conflict(final, "")
    for chunk in in_chunks(list(taken)):
        owners = db.execute(
            "SELECT final, file_id, folder, name FROM outputs JOIN files ON files.id = file_id "  # noqa: S608
            f"WHERE final IN ({marks(len(chunk))})",
            chunk,
        )
        for final, owner_id, folder, name in owners.fetchall():
            if owner_id != taken[final]:
                raise _conflict(final, join(folder, name))


def _conflict(final: bytes, owner: str) -> OutputConflict:
    path = path_text(final)
    return OutputConflict(
        f"The output {path!r} already belongs to {owner!r}; give each file its own name.",
        path=path,
        owner=owner,
    )
