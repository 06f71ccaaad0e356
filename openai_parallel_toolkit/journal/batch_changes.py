"""Changes of lines, batches and rounds, each run inside the writer's transaction."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from .batch_rows import Ask, BatchRecord, Line, LineEnd, Ready, Refusal, Told
from .columns import join, text, usd
from .operations import Change, identity, packed, statements

#: A line that is neither answered nor refused.
OPEN = "failure IS NULL"
#: `sends` of a line that goes into no batch, but live.
_LIVE = -1
_QUEUE = (
    "INSERT INTO lines (file_id, hash, k, try, path, model, tokens, reply_tokens, max_cost_usd, "
    "size_bytes, queued_wall_s, inputs, sends, is_asked, encoding, crc, body) "
    "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0, 1, ?13, ?14, ?15 "
    "WHERE NOT EXISTS (SELECT 1 FROM answers "
    "WHERE file_id = ?1 AND hash = ?2 AND k = ?3 AND try = ?4) "
    "ON CONFLICT (file_id, hash, k, try) DO UPDATE SET is_asked = 1"
)
_READY = (
    "SELECT rounds.file_id, folder, name FROM rounds JOIN files ON files.id = rounds.file_id "  # noqa: S608
    "WHERE is_suspended AND NOT EXISTS (SELECT 1 FROM lines "
    f"WHERE lines.file_id = rounds.file_id AND is_asked AND {OPEN}) LIMIT ?"
)


def begun(db: sqlite3.Connection) -> None:
    """Forget what earlier runs asked for: only what is in a batch outlives them."""
    db.execute("DELETE FROM lines WHERE batch_id IS NULL")
    db.execute("UPDATE lines SET is_asked = 0")
    db.execute("DELETE FROM rounds")


def suspended(
    file_id: int, rounds: int, asked: bytes, asks: Sequence[Ask], wall_s: float
) -> Change:
    """A file waits for answers. What was answered meanwhile, or is in a batch, is not queued."""
    return statements(
        (_QUEUE, [_row(ask, wall_s) for ask in asks]),
        ("INSERT OR REPLACE INTO rounds VALUES (?, ?, ?, 1)", [(file_id, rounds, asked)]),
    )


def _row(ask: Ask, wall_s: float) -> tuple[object, ...]:
    call, request = ask.call, ask.request
    encoding, stored = packed(request.body)
    return (
        *identity(call),
        *(text(request.path), text(request.model), request.prompt_tokens, request.reply_tokens),
        *(usd(ask.max_cost_usd), len(request.body), wall_s, ask.inputs),
        *(encoding, zlib.crc32(stored), stored),
    )


def taken_up(limit: int, found: list[Ready]) -> Change:
    """Files that wait for nothing more are suspended no longer; they are put in `found`."""

    def change(db: sqlite3.Connection) -> None:
        rows = db.execute(_READY, (limit,)).fetchall()
        db.executemany(
            "UPDATE rounds SET is_suspended = 0 WHERE file_id = ?", [(row[0],) for row in rows]
        )
        found[:] = [Ready(file_id, join(folder, name)) for file_id, folder, name in rows]

    return change


def formed(batch: BatchRecord, lines: Sequence[Line], attempt_ids: Sequence[int]) -> Change:
    """A batch is made of queued lines."""
    kept = {"stage": batch.stage.value, "told": _json(batch.told)}
    row = tuple({**asdict(batch), **kept}.values())
    rows = [(batch.id, attempt, line.id) for attempt, line in zip(attempt_ids, lines, strict=True)]
    take = "UPDATE lines SET batch_id = ?, attempt_id = ?, sends = sends + 1 WHERE id = ?"
    insert = f"INSERT INTO batches VALUES ({', '.join('?' * len(row))})"  # noqa: S608
    return statements((insert, [row]), (take, rows))


def moved_on(batch: BatchRecord) -> Change:
    """A batch has come so far."""
    row = (batch.stage.value, batch.input_file_id, batch.remote_id, _json(batch.told), batch.id)
    change = "UPDATE batches SET stage = ?, input_file_id = ?, remote_id = ?, told = ? WHERE id = ?"
    return statements((change, [row]))


def job_saved(job_id: int, facts: Mapping[str, object]) -> Change:
    """So much is known of a job."""
    row = (job_id, text(json.dumps(facts)))
    return statements(("INSERT OR REPLACE INTO jobs VALUES (?, ?)", [row]))


def job_forgotten(job_id: int) -> Change:
    """A job has come to its end, and so have its batches."""
    return statements(
        ("DELETE FROM batches WHERE job_id = ?", [(job_id,)]),
        ("DELETE FROM jobs WHERE id = ?", [(job_id,)]),
    )


def settled(ends: Sequence[LineEnd]) -> Change:
    """Lines are answered and gone, refused, or queued again if a file still asks for them."""
    unanswered = [end for end in ends if end.body is None]
    gone = [(end.sent.attempt_id,) for end in ends if end.body is not None]
    left = [(end.sent.attempt_id,) for end in unanswered if end.refusal is None]
    back = [
        (_kept(end.refusal), 0 if end.is_counted else 1, end.sent.attempt_id) for end in unanswered
    ]
    free = (
        "UPDATE lines SET batch_id = NULL, attempt_id = NULL, failure = ?, sends = sends - ? "
        "WHERE attempt_id = ?"
    )
    return statements(
        ("DELETE FROM lines WHERE attempt_id = ?", gone),
        ("DELETE FROM lines WHERE attempt_id = ? AND NOT is_asked", left),
        (free, back),
    )


def set_aside(refusals: Mapping[int, Refusal | None]) -> Change:
    """Queued lines go into no batch: they are refused, or sent live (None)."""
    rows = [(_kept(refusal), _LIVE, line_id) for line_id, refusal in refusals.items()]
    return statements(("UPDATE lines SET failure = ?, sends = ? WHERE id = ?", rows))


def returned_ended(ends: Mapping[int, Refusal | None]) -> Change:
    """Lines that were sent live are answered and gone (None), or refused."""
    gone = [(line_id,) for line_id, refusal in ends.items() if refusal is None]
    refused = [(_kept(refusal), line_id) for line_id, refusal in ends.items() if refusal]
    return statements(
        ("DELETE FROM lines WHERE id = ?", gone),
        ("UPDATE lines SET failure = ? WHERE id = ?", refused),
    )


def _kept(refusal: Refusal | None) -> str | None:
    return None if refusal is None else _json(refusal)


def _json(facts: Refusal | Told) -> str:
    return text(json.dumps(asdict(facts)))
