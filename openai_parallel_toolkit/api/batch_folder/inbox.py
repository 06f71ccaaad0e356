"""Look at the input folder: which files wait, and whether they have stopped growing."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Collection

from ...files.stores import Store, StoredObject
from .places import Places


class Inbox:
    """The inputs that wait; used by one thread at a time."""

    def __init__(self, places: Places, pattern: str, *, waits_for_whole: bool) -> None:
        """`waits_for_whole`: take a file when two looks in a row have seen it alike."""
        self._store = places.input
        self._pattern = pattern
        self._waits_for_whole = waits_for_whole
        self._never = [
            below
            for store in (places.output, places.error)
            if (below := _below(store, places.input)) is not None
        ]
        self._seen: dict[str, str] = {}
        #: Whether the last look saw files that may still grow.
        self.is_unsettled = False

    def look(self, known: Collection[str]) -> list[StoredObject]:
        """Return the inputs that may be taken, in the order of their paths.

        Args:
            known: paths that are under way already.
        """
        found = [one for one in self._store.list() if self._is_input(one.path)]
        fresh = [one for one in found if one.path not in known]
        if not self._waits_for_whole:
            return fresh
        ready = [one for one in fresh if self._seen.get(one.path) == one.signature]
        self.is_unsettled = len(ready) < len(fresh)
        self._seen = {one.path: one.signature for one in fresh}
        return ready

    def _is_input(self, path: str) -> bool:
        if not fnmatch.fnmatchcase(posixpath.basename(path), self._pattern):
            return False
        if any(part.startswith(".") for part in path.split("/")):
            return False
        return not any(path.startswith(f"{folder}/") for folder in self._never)


def _below(inner: Store, outer: Store) -> str | None:
    """Return the path of one store's root in another; None: it is not below it."""
    one, other = inner.url(), outer.url().rstrip("/") + "/"
    return one[len(other) :].rstrip("/") if one.startswith(other) else None
