"""Group what failed by its cause."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..core.records import FileState
from ..journal import FileFailure

#: What differs from one failure to the next of the same cause.
_VARIES = re.compile(r"'[^']*'|\"[^\"]*\"|\b[0-9a-f]{8,}\b|\d[\d.,:]*")
_MOST_CHARACTERS = 300


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


def cause_key(kind: str, message: str) -> str:
    """Return what failures of one cause have in common."""
    return f"{kind}: {_VARIES.sub('…', message[:_MOST_CHARACTERS])}"


def by_cause(failures: Iterable[FileFailure]) -> list[Cause]:
    """Return the causes, the most frequent first."""
    causes: dict[str, Cause] = {}
    for one in failures:
        key = cause_key(one.note.kind, one.note.message)
        cause = causes.setdefault(key, Cause(one.note.kind, one.note.message, one.path))
        cause.files += 1
        cause.aside += one.state is FileState.ASIDE
    return sorted(causes.values(), key=lambda cause: -cause.files)
