"""Sync SQLite's log after commits, beside the thread that made them.

With `synchronous` at NORMAL, SQLite leaves that to whoever needs it: a commit is durable once the
log is synced. Source: https://www.sqlite.org/pragma.html#pragma_synchronous (read 2026-11).
"""

from __future__ import annotations

import os
import sqlite3

from ..core.logs import logger_of

logger = logger_of(__name__)

#: About so many pages are left in the log, as SQLite leaves them of itself.
#: Source: https://www.sqlite.org/pragma.html#pragma_wal_autocheckpoint (read 2026-11)
_MOST_PAGES = 1_000
_sync = getattr(os, "fdatasync", os.fsync)


class SyncedLog:
    """The log of a connection that writes; used by one thread at a time.

    Where a sync has failed, the log may have a hole that a later sync does not mend. Then all that
    is in the log has to come into the database first.
    """

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        """Take the syncing over from SQLite."""
        self._db = db
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("BEGIN IMMEDIATE")  # makes the file
        db.execute("COMMIT")
        self._fd = os.open(f"{path}-wal", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._pages = 0
        self._is_holed = False

    def sync(self, pages: int) -> None:
        """Make what was committed durable: about so many pages.

        Raises:
            OSError: the disk refused.
            sqlite3.Error: it did so before, and does again.
        """
        self._pages += pages
        if self._is_holed:
            self._checkpoint("TRUNCATE")
            self._is_holed = False
            return
        try:
            _sync(self._fd)
        except OSError:
            self._is_holed = True
            raise
        if self._pages > _MOST_PAGES:
            self._shorten()

    def close(self) -> None:
        """Leave the syncing to SQLite again."""
        os.close(self._fd)

    def _shorten(self) -> None:
        """Bring the log into the database; the next commit begins it anew."""
        try:
            self._checkpoint("PASSIVE")
        except sqlite3.Error as error:
            logger.debug("the journal's log stays as long as it is: %s", error)

    def _checkpoint(self, mode: str) -> None:
        self._pages = 0
        (is_busy, _, _) = self._db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        if is_busy and mode == "TRUNCATE":
            raise sqlite3.OperationalError("somebody reads the journal")
