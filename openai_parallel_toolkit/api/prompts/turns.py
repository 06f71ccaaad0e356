"""Whose turn it is to be written, kept small: everything else waits on the disk."""

from __future__ import annotations

import sqlite3
from array import array

from ...core.errors import StorageError

#: The line has no end yet.
_OPEN = -2
#: The line's answer is in the journal. Any other end is where its failure stands.
ANSWERED = -1
#: Written lines that are kept until they are dropped together.
_MOST_WRITTEN = 10_000


class Turns:
    """The lines that were begun and not written: twelve bytes each, however long they wait."""

    def __init__(self) -> None:
        self._ks = array("I")
        self._ends = array("q")
        #: Position of the first line in the arrays.
        self._first = 0
        #: How many of the lines in the arrays are written.
        self._written = 0

    def begin(self, k: int) -> int:
        """Note a line, the k-th that asks the same, and return its position in the order."""
        self._ks.append(k)
        self._ends.append(_OPEN)
        return self._first + len(self._ends) - 1

    def end(self, position: int, how: int = ANSWERED) -> None:
        """Note how a line ended: ANSWERED, or where its failure stands."""
        self._ends[position - self._first] = how

    def take(self) -> tuple[int, int] | None:
        """Return k and end of the line whose turn has come; None: it has no end yet."""
        if self._written == len(self._ends) or self._ends[self._written] == _OPEN:
            return None
        taken = self._ks[self._written], self._ends[self._written]
        self._written += 1
        if self._written == _MOST_WRITTEN:
            del self._ks[: self._written], self._ends[: self._written]
            self._first += self._written
            self._written = 0
        return taken


class Repeats:
    """Counts how often each request came before; what does not fit into memory goes to the disk."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # a private file, gone when closed
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE seen (hash BLOB PRIMARY KEY, times INT) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def count(self, hash: str) -> int:
        """Return how many equal requests were counted before this one.

        Args:
            hash: hex digits that stand for the request.

        Raises:
            StorageError: there is no room for temporary files.
        """
        try:
            return self._count(bytes.fromhex(hash))
        except sqlite3.OperationalError as exc:
            raise StorageError(
                f"the folder for temporary files cannot be used ({exc}); free some space there, "
                "or set TMPDIR to another one, then run again"
            ) from exc

    def _count(self, key: bytes) -> int:
        if self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, 1)", (key,)).rowcount:
            return 0
        times: int = self._db.execute("SELECT times FROM seen WHERE hash = ?", (key,)).fetchone()[0]
        self._db.execute("UPDATE seen SET times = times + 1 WHERE hash = ?", (key,))
        return times

    def close(self) -> None:
        """Forget everything."""
        self._db.close()
