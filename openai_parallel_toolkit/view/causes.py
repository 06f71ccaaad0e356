"""Group the files that failed by their cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..core.records import FileState
from ..journal import FileFailure
from ..runs.causes import gist


@dataclass(slots=True)
class Cause:
    """Files that failed alike."""

    kind: str
    #: Of the first of them.
    message: str
    example: str
    files: int = 0
    #: How many of them are put aside.
    aside: int = 0


def by_cause(failures: Iterable[FileFailure]) -> list[Cause]:
    """Return the causes, the most frequent first."""
    causes: dict[str, Cause] = {}
    for one in failures:
        key = gist(one.note.kind, one.note.message, one.path)
        cause = causes.setdefault(key, Cause(one.note.kind, one.note.message, one.path))
        cause.files += 1
        cause.aside += one.state is FileState.ASIDE
    return sorted(causes.values(), key=lambda cause: -cause.files)
