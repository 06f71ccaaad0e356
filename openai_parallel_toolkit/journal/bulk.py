"""Write many rows with few statements.

Each call into SQLite gives up the interpreter's lock, and getting it back from a busy event loop is
what costs; so few calls are made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

#: Rows of one statement, largest first: few shapes, so that SQLite compiles each of them once, and
#: below the 999 parameters that older versions take.
_CHUNKS = (64, 32, 16, 8, 4, 2, 1)
_Item = TypeVar("_Item")


def insert(db: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows; `statement` has {} where the values go."""
    for chunk in in_chunks(rows):
        row = f"({marks(len(chunk[0]))})"
        values = tuple(chain.from_iterable(chunk))
        db.execute(statement.format(",".join([row] * len(chunk))), values)


def execute_for_all(
    db: sqlite3.Connection, statement: str, ids: Sequence[int], *values: object
) -> None:
    """Execute a statement for many ids; it has {} where they go, after the marks of `values`."""
    for chunk in in_chunks(ids):
        db.execute(statement.format(marks(len(chunk))), (*values, *chunk))


def in_chunks(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Yield pieces of few different lengths."""
    start = 0
    while start < len(items):
        size = next(size for size in _CHUNKS if size <= len(items) - start)
        yield items[start : start + size]
        start += size


def marks(count: int) -> str:
    """Return the marks for so many parameters."""
    return ",".join("?" * count)
