"""The folders that are looked at: their journals, opened when they are there, and pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from ..core.clock import Clock, SystemClock
from ..core.errors import JournalError, ToolkitError
from ..core.redaction import Redactor
from ..journal import JournalReader
from ..journal.reader import LAST_CALL
from ..journal.schema import FILE_NAME
from ..keys.config import load_settings
from .details import Details, whole
from .metrics import metrics
from .safe import Safe
from .snapshot import Snapshot

#: Failed files and others that a report lists.
_MOST_FILES = 200


class StatePlace(NamedTuple):
    """A state folder, and what the user calls its output."""

    title: str
    folder: str


def known_secrets() -> Redactor:
    """Return what masks the keys that are configured here, as far as they can be read."""
    redactor = Redactor()
    with suppress(ToolkitError, OSError):
        redactor.add(*(key.secret for key in load_settings(None).api_keys))
    return redactor


class Source:
    """A folder as the page shows it, and others to compare it with; used by one thread at a time.

    A journal is opened when it is there, read only, and opened anew when another took its place.
    """

    def __init__(
        self, place: StatePlace, others: Sequence[StatePlace] = (), *, clock: Clock | None = None
    ) -> None:
        self.place = place
        self._others = others
        self._clock = clock or SystemClock()
        self._safe = Safe(known_secrets())
        self._reader: JournalReader | None = None
        self._inode = 0
        self._begin()

    def _begin(self) -> None:
        self._snapshot = Snapshot(
            self.place.folder, self.place.title, clock=self._clock, safe=self._safe
        )

    @contextmanager
    def _opened(self) -> Iterator[JournalReader]:
        path = os.path.join(self.place.folder, FILE_NAME)
        try:
            inode = os.stat(path).st_ino
        except OSError:
            inode = 0
        if inode != self._inode:
            self.close()
            self._begin()
        if self._reader is None:
            self._reader, self._inode = JournalReader(self.place.folder), inode
        try:
            yield self._reader
        except JournalError:
            self.close()
            raise

    def close(self) -> None:
        """Close the journal; it is opened again when it is asked for."""
        reader, self._reader, self._inode = self._reader, None, 0
        if reader is not None:
            reader.close()

    def now(self) -> dict[str, Any]:
        """Return how it stands, by what was read of the series so far."""
        with self._opened() as reader:
            return self._snapshot.take(reader)

    def charts(self) -> dict[str, Any]:
        """Return the series, with what is new."""
        with self._opened() as reader:
            return self._snapshot.charts(reader)

    def details(self, what: str, asked: Mapping[str, str]) -> dict[str, Any]:
        """Return a list or a single thing: "files", "file", "calls" or "call"."""
        with self._opened() as reader:
            details = Details(reader, self._safe)
            if what in ("file", "call"):
                number = whole(asked, "id", 0)
                return details.file(number) if what == "file" else details.call(number)
            return details.files(asked) if what == "files" else details.calls(asked)

    def compared(self) -> list[dict[str, Any]]:
        """Return how this folder and the others stand, side by side."""
        if not self._others:
            return []
        rows = [_brief(self.charts(), self.now())]
        for place in self._others:
            other = Source(place, clock=self._clock)
            try:
                rows.append(_brief(other.charts(), other.now()))
            finally:
                other.close()
        return rows

    def metrics(self) -> str:
        """Return its figures for Prometheus."""
        with self._opened() as reader:
            self._snapshot.charts(reader)
            return metrics(reader.status(), self._snapshot.series, self._snapshot.take(reader))

    def report(self, calls: int) -> dict[str, Any]:
        """Return all that a page can show that asks for nothing more, with so many calls."""
        charts, files, listed = self.charts(), list[dict[str, Any]](), list[dict[str, Any]]()
        for state in ("failed", "aside", "open", "done"):
            more: int | None = 0
            while more is not None and len(files) < _MOST_FILES:
                found = self.details("files", {"state": state, "after": str(more)})
                files, more = files + found["files"], found["more"]
        before: int | None = LAST_CALL
        while before is not None and len(listed) < calls:
            found = self.details("calls", {"before": str(before)})
            listed, before = listed + found["calls"], found["more"]
        return {
            "now": self.now(),
            "charts": charts,
            "compare": self.compared(),
            "files": files[:_MOST_FILES],
            "calls": [self.details("call", {"id": str(c["id"])}) for c in listed[:calls]],
        }


def _brief(charts: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    names = ("title", "state", "work", "money", "calls", "models", "files", "settings")
    kinds = {name: sum(charts[name]) for name in ("answered", "refused", "lost")}
    return {**{name: now[name] for name in names}, "ended": kinds}
