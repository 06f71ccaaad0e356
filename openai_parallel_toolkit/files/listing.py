"""Keep what one look into a store found, folder by folder, on disk."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator

from ..core.errors import UnsafePath
from ..core.filesystem import check_relative
from .stores import StoredObject

_PAGE = 5_000
_CACHE_KIB = 16_384
_SCHEMA = """
CREATE TABLE files (folder TEXT, name TEXT, size_bytes INTEGER, PRIMARY KEY (folder, name))
WITHOUT ROWID;
CREATE TABLE folders (folder TEXT, name TEXT, PRIMARY KEY (folder, name)) WITHOUT ROWID;
"""


class Listing:
    """The files of a store and the folders that they make, in a nameless database.

    One lock guards the database.
    """

    def __init__(self, folder: str) -> None:
        """Make an empty listing that takes its disk space from `folder`."""
        self._lock = threading.Lock()
        self._db = _nameless(folder)
        #: Files whose names no path can have, which were left out.
        self.odd_count = 0
        #: The first of them.
        self.odd_example = ""

    def fill(self, found: Iterable[StoredObject]) -> None:
        """Take in all that a store lists."""
        with self._lock, self._db:
            self._db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", self._rows(found))

    def add(self, path: str, size_bytes: int = 0) -> None:
        """Take in one more file."""
        folder, name = os.path.split(path)
        with self._lock, self._db:
            row = (folder, name, size_bytes)
            self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", row)

    def size_bytes(self, path: str) -> int | None:
        """Return a file's size; None: there is no such file."""
        with self._lock:
            row = self._db.execute(
                "SELECT size_bytes FROM files WHERE (folder, name) = (?, ?)", os.path.split(path)
            ).fetchone()
        return None if row is None else int(row[0])

    def files(self, folder: str) -> Iterator[str]:
        """Yield the names of the files in a folder ("" is the root), sorted."""
        return self._names("files", folder)

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the names of the folders in a folder, sorted."""
        return self._names("folders", folder)

    def close(self) -> None:
        """Give the disk space back."""
        self._db.close()

    def _rows(self, found: Iterable[StoredObject]) -> Iterator[tuple[str, str, int]]:
        last = ""
        for file in found:
            try:
                folder, name = os.path.split(check_relative(file.path))
            except UnsafePath:
                self.odd_example = self.odd_example or file.path
                self.odd_count += 1
                continue
            if folder != last:
                self._add_folders(folder)
                last = folder
            yield folder, name, file.size_bytes

    def _add_folders(self, folder: str) -> None:
        while folder:
            row = os.path.split(folder)
            self._db.execute("INSERT OR IGNORE INTO folders VALUES (?, ?)", row)
            folder = row[0]

    def _names(self, table: str, folder: str) -> Iterator[str]:
        # Page by page: between two of them others may ask.
        query = (
            f"SELECT name FROM {table} WHERE folder = ? AND name > ? "  # noqa: S608
            f"ORDER BY name LIMIT {_PAGE}"
        )
        last = ""
        while True:
            with self._lock:
                page = self._db.execute(query, (folder, last)).fetchall()
            if not page:
                return
            for (name,) in page:
                yield name
            last = page[-1][0]


def _nameless(folder: str) -> sqlite3.Connection:
    fd, path = tempfile.mkstemp(dir=folder, prefix="listing-")
    os.close(fd)
    try:
        db = sqlite3.connect(path, check_same_thread=False)
        for pragma in ("journal_mode = MEMORY", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
            db.execute(f"PRAGMA {pragma}")
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        db.executescript(_SCHEMA)  # so that the file is open before its name goes
    finally:
        os.unlink(path)
    return db
