"""How values look in the journal's columns.

Paths are kept as bytes: any `str` comes back as it was, lone surrogates and all, and the order of
the bytes is the order in which Python sorts the names. Free text gives up what SQLite cannot hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ..core.filesystem import path_bytes, path_text
from ..costs.figures import COUNTED, Figures

_MOST = 2**63 - 1


def split(path: str) -> tuple[bytes, bytes]:
    """Return folder ("" at the top) and name of a path with forward slashes, as they are kept."""
    folder, _, name = path.rpartition("/")
    return path_bytes(folder), path_bytes(name)


def join(folder: bytes, name: bytes) -> str:
    """Return the path that `split` was given."""
    return path_text(folder + b"/" + name if folder else name)


def text(value: str) -> str:
    """Return free text that SQLite can hold: lone surrogates become escapes."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")


def whole(number: int | None) -> int | None:
    """Return a count that SQLite can hold; a provider may send any number of digits."""
    return (
        number if number is None or -_MOST <= number <= _MOST else max(-_MOST, min(number, _MOST))
    )


def usd(amount: Decimal | None) -> str | None:
    """Return money as decimal digits; None stays None."""
    return None if amount is None else str(amount)


def decimal(kept: str | None) -> Decimal | None:
    """Return what `usd` was given."""
    return None if kept is None else Decimal(kept)


def figures_row(figures: Figures) -> tuple[Any, ...]:
    """Return the columns of a tally, which are COUNTED."""
    values = (getattr(figures, name) for name in COUNTED)
    return tuple(usd(v) if isinstance(v, Decimal) else whole(v) for v in values)


def figures_facts(row: Sequence[Any]) -> dict[str, Any]:
    """Return what `figures_row` was given, by COUNTED."""
    facts = dict(zip(COUNTED, row, strict=True))
    return {n: Decimal(v) if n.endswith("_usd") else v for n, v in facts.items()}
