"""Keep the names of one folder, however many: few in memory, many on disk."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator

#: Names of one folder that are kept in memory.
IN_MEMORY = 50_000
_CACHE_KIB = 65_536
_PAGE = 10_000


class SpillDatabase:
    """A nameless database in `folder` for names that do not fit in memory; made when needed."""

    def __init__(self, folder: str, *, in_memory: int = IN_MEMORY) -> None:
        self.in_memory = in_memory
        self._folder = folder
        self._db: sqlite3.Connection | None = None
        self._tables = 0

    def table(self) -> tuple[sqlite3.Connection, str]:
        """Make a table of names; return its database and its own name."""
        if self._db is None:
            self._db = self._open()
        self._tables += 1
        name = f"names{self._tables}"
        self._db.execute(f"CREATE TABLE {name} (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        return self._db, name

    def _open(self) -> sqlite3.Connection:
        fd, path = tempfile.mkstemp(dir=self._folder, prefix="scan-")
        os.close(fd)
        try:
            db = sqlite3.connect(path, isolation_level=None)
            db.execute("PRAGMA journal_mode = OFF")
            db.execute("PRAGMA synchronous = OFF")
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            db.execute("CREATE TABLE here (it BLOB)")  # so that the file is open before it goes
        finally:
            os.unlink(path)
        return db

    def close(self) -> None:
        if self._db is not None:
            self._db.close()


class Names:
    """A map from names to names, walked in the order in which Python sorts them."""

    def __init__(self, shelf: SpillDatabase) -> None:
        self._shelf = shelf
        self._near: dict[str, str] = {}
        self._far: tuple[sqlite3.Connection, str] | None = None

    def add(self, name: str, value: str = "") -> str | None:
        """Add a name unless it is there; return the value it has already, None if it was new."""
        old = self._found(name)
        if old is None:
            self._near[name] = value
            if len(self._near) > self._shelf.in_memory:
                self._spill()
        return old

    def __contains__(self, name: str) -> bool:
        return self._found(name) is not None

    def __iter__(self) -> Iterator[str]:
        if self._far is None:
            yield from sorted(self._near)
            return
        self._spill()
        last = b""
        while page := self._page(last):
            yield from map(_text, page)
            last = page[-1]

    def close(self) -> None:
        """Give the disk space back."""
        if self._far is not None:
            db, table = self._far
            db.execute(f"DROP TABLE {table}")
            self._far = None

    def _spill(self) -> None:
        self._far = self._far or self._shelf.table()
        db, table = self._far
        rows = [(_kept(name), _kept(value)) for name, value in sorted(self._near.items())]
        db.execute("BEGIN")
        db.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)  # noqa: S608
        db.execute("COMMIT")
        self._near.clear()

    def _found(self, name: str) -> str | None:
        if self._far is None or name in self._near:
            return self._near.get(name)
        db, table = self._far
        query = f"SELECT value FROM {table} WHERE key = ?"  # noqa: S608
        row = db.execute(query, (_kept(name),)).fetchone()
        return None if row is None else _text(row[0])

    def _page(self, after: bytes) -> list[bytes]:
        # Whole pages: an unfinished SELECT would keep the tables of other folders from going.
        assert self._far is not None
        db, table = self._far
        query = f"SELECT key FROM {table} WHERE key > ? ORDER BY key LIMIT {_PAGE}"  # noqa: S608
        return [key for (key,) in db.execute(query, (after,)).fetchall()]


def _kept(name: str) -> bytes:
    # These bytes sort as the names do; those of the file system do not.
    return name.encode("utf-8", "surrogatepass")


def _text(kept: bytes) -> str:
    return kept.decode("utf-8", "surrogatepass")
