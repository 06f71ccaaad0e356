"""Put the columns of a table into a prompt. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ...core.errors import UsageError

_PARTS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Template:
    """A text with columns in braces, such as "Translate {text}"; `{{` and `}}` are braces."""

    def __init__(self, text: str, columns: Sequence[str], source: str) -> None:
        """Look the columns up.

        Args:
            source: the file that has them.

        Raises:
            UsageError: one is not there, or a brace stands alone.
        """
        self._parts: list[str | int] = []
        at = 0
        for found in _PARTS.finditer(text):
            self._parts.append(text[at : found.start()])
            at, name = found.end(), found[1]
            if name is not None and name not in columns:
                raise UsageError(
                    f"{source!r} has no column {name!r}, which the prompt names; it has "
                    f"{', '.join(map(repr, columns))}"
                )
            if name is None and len(found[0]) == 1:
                raise UsageError(
                    f"--prompt: a lone {found[0]} at character {found.start() + 1}; write "
                    f"{found[0] * 2} for a brace, and {{column}} for what a column holds"
                )
            self._parts.append(found[0][0] if name is None else columns.index(name))
        self._parts.append(text[at:])

    def filled(self, cells: Sequence[Any]) -> str:
        """Return the prompt for a row."""
        return "".join(
            part if isinstance(part, str) else _told(cells[part]) for part in self._parts
        )


def _told(cell: Any) -> str:
    return "" if cell is None else str(cell)
