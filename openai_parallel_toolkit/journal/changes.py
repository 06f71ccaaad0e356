"""Changes of files, keys and runs, each a function that is run inside the writer's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.records import FailureNote
from .columns import split, text
from .operations import Change


def _run(statement: str, *values: Any) -> Change:
    def change(db: sqlite3.Connection) -> None:
        db.execute(statement, values)

    return change


def opened(file_id: int, wall_s: float) -> Change:
    """The hooks of a file start."""
    return _run("UPDATE files SET state = 'open', changed_wall_s = ? WHERE id = ?", wall_s, file_id)


def failed(
    file_id: int, note: FailureNote, run_id: int, max_file_attempts: int, wall_s: float
) -> Change:
    """The hooks raised; several times in one run counts once."""

    def change(db: sqlite3.Connection) -> None:
        db.execute(
            "UPDATE files SET failed_runs = failed_runs + (failed_run_id IS NOT ?1), "
            "failed_run_id = ?1, state = CASE WHEN failed_runs + (failed_run_id IS NOT ?1) >= ?2 "
            "THEN 'aside' ELSE 'failed' END, failure_kind = ?3, failure_message = ?4, "
            "failure_trace = ?5, changed_wall_s = ?6 WHERE id = ?7",
            (run_id, max_file_attempts, *_note(note), wall_s, file_id),
        )

    return change


def aside(file_id: int, note: FailureNote, wall_s: float) -> Change:
    """The file is left alone until it is asked for."""
    return _run(
        "UPDATE files SET state = 'aside', is_suspect = 0, failure_kind = ?, "
        "failure_message = ?, failure_trace = ?, changed_wall_s = ? WHERE id = ?",
        *_note(note),
        wall_s,
        file_id,
    )


def _note(note: FailureNote) -> tuple[str, str, str]:
    return text(note.kind), text(note.message), text(note.trace)


def released(paths: Sequence[str] | None) -> Change:
    """Files that were put aside are due again, with a clean slate; None: all of them."""
    release = "UPDATE files SET state = 'failed', failed_runs = 0, failed_run_id = NULL WHERE "

    def change(db: sqlite3.Connection) -> None:
        if paths is None:
            db.execute(release + "state = 'aside' AND state <> 'done'")
        else:
            chosen = release + "folder = ? AND name = ? AND state = 'aside'"
            db.executemany(chosen, [split(path) for path in paths])

    return change


def suspected(file_ids: Sequence[int], *, is_suspect: bool) -> Change:
    """Files may, or may not, be what killed the process."""

    def change(db: sqlite3.Connection) -> None:
        db.executemany(
            "UPDATE files SET is_suspect = ? WHERE id = ?",
            [(is_suspect, file_id) for file_id in file_ids],
        )

    return change


def key_dropped(fingerprint: str, name: str, reason: str, wall_s: float) -> Change:
    """A key is not used any more."""
    return _run(
        "INSERT INTO dropped_keys VALUES (?, ?, ?, ?) ON CONFLICT (fingerprint) DO UPDATE SET "
        "name = excluded.name, reason = excluded.reason, wall_s = excluded.wall_s",
        fingerprint,
        text(name),
        text(reason),
        wall_s,
    )


def key_restored(fingerprint: str) -> Change:
    """A key is used again."""
    return _run("DELETE FROM dropped_keys WHERE fingerprint = ?", fingerprint)


def run_began(run_id: int, pid: int, host: str, hooks_version: str, wall_s: float) -> Change:
    """A run begins."""
    return _run(
        "INSERT INTO runs (id, started_wall_s, pid, host, hooks_version) VALUES (?, ?, ?, ?, ?)",
        run_id,
        wall_s,
        pid,
        text(host),
        text(hooks_version),
    )


def run_ended(run_id: int, how: str, summary: Mapping[str, Any], wall_s: float) -> Change:
    """A run ends in good order."""
    return _run(
        "UPDATE runs SET ended_wall_s = ?, how = ?, summary = ? WHERE id = ?",
        wall_s,
        text(how),
        json.dumps(summary, default=str),
        run_id,
    )
