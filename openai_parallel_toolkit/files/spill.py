"""Keep on disk, sorted, what may not fit into memory."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from ..core.errors import StorageError
from ..core.filesystem import path_bytes, path_text, storage_errors

#: Names of one folder that are kept in memory.
IN_MEMORY = 50_000
_CACHE_KIB = 65_536
_PAGE = 5_000


class SpillDatabase:
    """A sorted map from bytes to values in a nameless file, which is made when it is needed.

    A key may be a prefix that ends in NUL, and what tells it from others that have the prefix.
    Every method may raise StorageError when there is no room. One lock guards the database.
    """

    def __init__(self, folder: str) -> None:
        """Take the folder that gives the disk space."""
        self._folder = folder
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    def put(self, entries: Iterable[tuple[bytes, Any]]) -> None:
        """Put keys and values in, replacing what has a key already."""
        with self._lock, self._told():
            self._open().executemany("INSERT OR REPLACE INTO entries VALUES (?, ?)", entries)

    def get(self, key: bytes) -> Any:
        """Return the value of a key; None: there is none."""
        rows = self._rows("SELECT value FROM entries WHERE key = ?", key)
        return rows[0][0] if rows else None

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Yield the keys of a prefix, without it, sorted; others may ask and put meanwhile."""
        query = "SELECT key FROM entries WHERE key > ? AND key < ? ORDER BY key LIMIT ?"
        last, end = prefix, _end_of(prefix)
        while page := self._rows(query, last, end, _PAGE):
            for (last,) in page:
                yield last[len(prefix) :]

    def clear(self, prefix: bytes) -> None:
        """Drop all that has a prefix."""
        self._rows("DELETE FROM entries WHERE key > ? AND key < ?", prefix, _end_of(prefix))

    def close(self) -> None:
        """Give the disk space back."""
        if self._db is not None:
            self._db.close()

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._lock, self._told():
            return self._open().execute(query, values).fetchall()

    def _open(self) -> sqlite3.Connection:
        self._db = self._db or _nameless(self._folder)
        return self._db

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as exc:
            raise StorageError(
                f"{self._folder!r} cannot take what does not fit into memory ({exc}); free some "
                "space there, then run again",
                path=self._folder,
            ) from exc


def _end_of(prefix: bytes) -> bytes:
    return prefix[:-1] + b"\1"


def _nameless(folder: str) -> sqlite3.Connection:
    with storage_errors(folder):
        fd, path = tempfile.mkstemp(dir=folder, prefix="spill-")
    os.close(fd)
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
            db.execute(f"PRAGMA {pragma}")
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        # So that the file is open before its name goes.
        db.execute("CREATE TABLE entries (key BLOB PRIMARY KEY, value) WITHOUT ROWID")
        db.execute("BEGIN")  # it is never committed: what fits into the cache stays there
    finally:
        os.unlink(path)
    return db


class Names:
    """A map from names to names, walked in the order in which Python sorts them.

    Few are kept in memory, many on disk.
    """

    def __init__(self, spill: SpillDatabase, map: bytes, *, in_memory: int = IN_MEMORY) -> None:
        """Begin an empty map, called `map` among those that share the database."""
        self._spill = spill
        self._prefix = map + b"\0"
        self._in_memory = in_memory
        self._near: dict[str, str] = {}
        self._is_spilled = False

    def add(self, name: str, value: str = "") -> str | None:
        """Add a name unless it is there; return the value it has already, None if it was new."""
        near = self._near
        old = self.get(name) if self._is_spilled else near.get(name)
        if old is None:
            near[name] = value
            if len(near) > self._in_memory:
                self._move_to_disk()
        return old

    def extend(self, names: Iterable[str]) -> None:
        """Add names that have no value."""
        names = iter(names)
        while some := dict.fromkeys(islice(names, _PAGE), ""):
            self._near.update(some)
            if len(self._near) > self._in_memory:
                self._move_to_disk()

    def lookup(self) -> Callable[[str], bool]:
        """Return what tells whether a name is there; nothing may be added any more."""
        return self.__contains__ if self._is_spilled else self._near.__contains__

    def __contains__(self, name: str) -> bool:
        return name in self._near or (self._is_spilled and self.get(name) is not None)

    def __iter__(self) -> Iterator[str]:
        if not self._is_spilled:
            return iter(sorted(self._near))
        self._move_to_disk()
        return (path_text(name) for name in self._spill.keys(self._prefix))

    def close(self) -> None:
        """Give the disk space back."""
        if self._is_spilled:
            self._spill.clear(self._prefix)

    def _move_to_disk(self) -> None:
        near = sorted(self._near.items())
        self._spill.put((self._prefix + path_bytes(name), path_bytes(old)) for name, old in near)
        self._near.clear()
        self._is_spilled = True

    def get(self, name: str) -> str | None:
        """Return the value of a name; None: it is not there."""
        if not self._is_spilled or name in self._near:
            return self._near.get(name)
        kept = self._spill.get(self._prefix + path_bytes(name))
        return None if kept is None else path_text(kept)
