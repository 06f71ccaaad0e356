"""See all error files of an error location as one list."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from ...batch.service import read_result
from ...calls.responses import parse_object
from ...files.stores import Store

_ENDING = "_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One line that failed, or one reason why a whole file did."""

    #: The error file, below the error location.
    file: str
    #: None: the line has none, or it is about the whole file.
    custom_id: str | None = None
    #: Line of the input, from 1, where it is known.
    line: int | None = None
    #: HTTP status; None: it was not asked.
    status: int | None = None
    code: str
    message: str


def failures(store: Store) -> Iterator[Failure]:
    """Yield all that failed, file by file, in the order of their paths."""
    for found in store.list():
        if posixpath.splitext(found.path)[0].endswith(_ENDING):
            with store.open(found.path) as lines:
                yield from (_failure(found.path, line) for line in lines)


def _failure(file: str, line: bytes) -> Failure:
    result = read_result(line)
    if result is not None:
        told = {name: getattr(result, name) for name in ("custom_id", "status", "code", "message")}
        return Failure(file=file, **told)
    raw = parse_object(line) or {}
    number = raw.get("line")
    return Failure(
        file=file,
        line=number if isinstance(number, int) else None,
        code=str(raw.get("code") or ""),
        message=str(raw.get("message") or ""),
    )
