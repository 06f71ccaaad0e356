"""Make a journal smaller that no run is using. The caller holds the run lock."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

from .disk import faults_told
from .rows import PruneReport
from .schema import connect, existing, prepare

#: Rows or pages that are handled in one transaction, so that the log stays small.
_BATCH = 5_000


def prune(state_folder: str) -> PruneReport:
    """Drop the kept answers of files that are done, and give their space back.

    Should such a file become due again, its calls are paid for again.
    """
    path = existing(state_folder)
    before_bytes = _size_bytes(path)
    with faults_told(path), closing(connect(path)) as db:
        prepare(db, path, created_wall_s=0.0)
        answers = _drop_answers(db)
        _give_back(db)
    return PruneReport(answers=answers, freed_bytes=max(0, before_bytes - _size_bytes(path)))


def _size_bytes(path: str) -> int:
    return sum(os.path.getsize(p) for p in (path, f"{path}-wal") if os.path.exists(p))


def _drop_answers(db: sqlite3.Connection) -> int:
    dropped, low = 0, 0
    (high,) = db.execute("SELECT max(attempt_id) FROM answers").fetchone()
    while low <= (high or 0):
        dropped += db.execute(
            "DELETE FROM answers WHERE attempt_id BETWEEN ? AND ? AND "
            "(SELECT state FROM files WHERE id = file_id) = 'done'",
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
