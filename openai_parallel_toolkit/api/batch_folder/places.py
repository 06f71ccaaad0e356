"""Where inputs come from and which of them wait, and where results and what failed go."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...core.errors import ConfigError
from ...core.logs import logger_of
from ...core.text import counted
from ...files.stores import Store, StoredObject, open_store

logger = logger_of(__name__)

#: Files that are named of those that no pattern takes.
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where files are."""

    #: A path or a URL.
    url: str
    #: For the backend of a URL; holds credentials.
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def open(self) -> Store:
        """Return the store.

        Raises:
            ConfigError: it cannot be used.
        """
        return open_store(self.url, **self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where inputs come from, and where results and what failed go."""

    input: Store
    output: Store
    error: Store

    def __post_init__(self) -> None:
        """Refuse places that would be taken for one another.

        Raises:
            ConfigError: results would be taken for inputs.
        """
        for name in ("output", "error"):
            if getattr(self, name).url() == self.input.url():
                raise ConfigError(
                    f"the {name} location is the input location ({self.input.url()}): its files "
                    "would be taken for inputs; give it a folder of its own"
                )

    def close(self) -> None:
        """Let go of all connections."""
        for store in (self.input, self.output, self.error):
            store.close()


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
        self._has_named = False
        #: Whether the last look saw files that may still grow.
        self.is_unsettled = False

    def look(self, known: Collection[str]) -> list[StoredObject]:
        """Return the inputs that may be taken, in the order of their paths.

        Args:
            known: paths that are under way already.
        """
        seen = [one for one in self._store.list() if self._is_ours(one.path)]
        found = [one for one in seen if self._matches(one.path)]
        if len(found) < len(seen):
            self._name_others([one.path for one in seen if not self._matches(one.path)])
        fresh = [one for one in found if one.path not in known]
        if not self._waits_for_whole:
            return fresh
        ready = [one for one in fresh if self._seen.get(one.path) == one.signature]
        self.is_unsettled = len(ready) < len(fresh)
        self._seen = {one.path: one.signature for one in fresh}
        return ready

    def _matches(self, path: str) -> bool:
        return fnmatch.fnmatchcase(posixpath.basename(path), self._pattern)

    def _is_ours(self, path: str) -> bool:
        if any(part.startswith(".") for part in path.split("/")):
            return False
        return not any(path.startswith(f"{folder}/") for folder in self._never)

    def _name_others(self, paths: Sequence[str]) -> None:
        """Say once which files are left, and what would take them."""
        if self._has_named:
            return
        self._has_named = True
        rest = len(paths) - _MOST_NAMED
        named = ", ".join(paths[:_MOST_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")
        logger.warning(
            "%s left, because the pattern is %r: %s; give another one with pattern (--pattern)",
            f"{counted(len(paths), 'file is', 'files are')}",
            self._pattern,
            named,
            extra={"action": "files_not_matched"},
        )


def _below(inner: Store, outer: Store) -> str | None:
    """Return the path of one store's root in another; None: it is not below it."""
    one, other = inner.url(), outer.url().rstrip("/") + "/"
    return one[len(other) :].rstrip("/") if one.startswith(other) else None
