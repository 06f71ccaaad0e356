"""Look after a journal that no run is using: make it smaller, or save what can be read of it.

The caller holds the run lock.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

from ..clock import Clock, SystemClock
from ..errors import JournalError, ToolkitError
from ..records import CallId, Outcome, OutcomeKind, Usage
from .columns import decimal
from .disk import explain, make_private, sync_folder
from .operations import Claimed, Ended
from .rows import PruneReport, RepairReport
from .schema import FILE_NAME, connect, prepare
from .tallies import Tallies

#: Rows or pages that are handled in one transaction, so that the log stays small.
_BATCH = 5_000


def prune(state_folder: str) -> PruneReport:
    """Drop the kept answers of files that are done, and give their space back.

    Should such a file become due again, its calls are paid for again.

    Raises:
        JournalError: there is no journal, it is damaged or of a newer version.
        StorageError: the disk refused.
    """
    path = _existing(state_folder)
    before_bytes = _size_bytes(path)
    try:
        with closing(connect(path)) as db:
            prepare(db, path, created_wall_s=0.0)
            answers = _drop_answers(db)
            _give_back(db)
    except sqlite3.DatabaseError as error:
        raise explain(error, path) from error
    return PruneReport(answers=answers, freed_bytes=max(0, before_bytes - _size_bytes(path)))


def _existing(state_folder: str) -> str:
    path = os.path.join(state_folder, FILE_NAME)
    if not os.path.exists(path):
        raise JournalError(f"There is no journal in {state_folder}.", path=path)
    return path


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
    while db.execute("PRAGMA freelist_count").fetchone()[0]:
        db.execute(f"PRAGMA incremental_vacuum({_BATCH})").fetchall()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def repair(state_folder: str, *, clock: Clock = SystemClock()) -> RepairReport:  # noqa: B008
    """Check a journal in full; if it is damaged, save what can be read into a new one.

    The damaged journal is kept beside the new one, under a name with the time.

    Raises:
        JournalError: there is no journal, or it is of a newer version.
        StorageError: the disk refused.
    """
    path = _existing(state_folder)
    problems = _problems(path)
    if not problems:
        return RepairReport(problems=())
    fresh = f"{path}.repaired"
    _remove(fresh)
    make_private(state_folder, os.path.basename(fresh))
    try:
        with closing(connect(fresh)) as new:
            prepare(new, fresh, created_wall_s=clock.wall_s())
            with suppress(sqlite3.DatabaseError), closing(connect(path, mode="ro")) as old:
                _salvage(old, new)
            _rebuild(new)
            names = ("files", "attempts", "answers")
            counts = {n: new.execute(f"SELECT count(*) FROM {n}").fetchone()[0] for n in names}  # noqa: S608
    except sqlite3.DatabaseError as error:
        raise explain(error, fresh) from error
    kept_as = _swap(path, fresh, clock.wall_s())
    return RepairReport(problems=problems, kept_as=kept_as, **counts)
