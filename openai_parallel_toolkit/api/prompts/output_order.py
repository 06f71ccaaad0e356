"""Whose turn it is to be written, kept small: everything else waits on the disk."""

from __future__ import annotations

import tempfile
from array import array

from ...files.spill import IN_MEMORY, SpillDatabase

#: The line has no end yet.
_OPEN = -2
#: The line's answer is in the journal. Any other end is where its failure stands.
ANSWERED = -1
#: Written lines that are kept until they are dropped together.
_MOST_WRITTEN = 10_000


class OutputOrder:
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

    def take(self) -> tuple[int, int, int] | None:
        """Return position, k and end of the line whose turn has come; None: it has no end yet."""
        if self._written == len(self._ends) or self._ends[self._written] == _OPEN:
            return None
        position = self._first + self._written
        taken = position, self._ks[self._written], self._ends[self._written]
        self._written += 1
        if self._written == _MOST_WRITTEN:
            del self._ks[: self._written], self._ends[: self._written]
            self._first += self._written
            self._written = 0
        return taken


class Repeats:
    """Counts how often each request came before; what does not fit into memory goes to the disk."""

    def __init__(self) -> None:
        self._newest: dict[bytes, int] = {}
        self._spill: SpillDatabase | None = None

    def count(self, hash: str) -> int:
        """Return how many equal requests were counted before this one.

        Args:
            hash: hex digits that stand for the request.

        Raises:
            StorageError: there is no room for temporary files.
        """
        key = bytes.fromhex(hash)
        times = self._newest.get(key)
        if times is None:
            times = 0 if self._spill is None else self._spill.get(key) or 0
        self._newest[key] = times + 1
        if len(self._newest) >= IN_MEMORY:
            self._spill = self._spill or SpillDatabase(tempfile.gettempdir())
            self._spill.put(self._newest.items())
            self._newest.clear()
        return times

    def close(self) -> None:
        """Forget everything."""
        if self._spill is not None:
            self._spill.close()
