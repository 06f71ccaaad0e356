"""Make what others wrote fit to be shown: no secrets, and nothing that steers what shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ..core.redaction import Redactor
from ..core.text import visible

#: Characters of a prompt or an answer that are shown.
MOST_TEXT = 200_000
_KEPT = "\n\t"


class Safe:
    """Cleans texts; used by one thread at a time."""

    def __init__(self, redactor: Redactor | None = None) -> None:
        """Know what `redactor` does; None: what looks like a key alone."""
        self._clean = (redactor or Redactor()).clean

    def line(self, text: str) -> str:
        """Return a name or a message as one line."""
        return visible(self._clean(text))

    def text(self, text: str | None, most: int = MOST_TEXT) -> str | None:
        """Return a prompt or an answer, its lines as they are."""
        if text is None:
            return None
        end = f"\n… {len(text) - most:,} more characters" if len(text) > most else ""
        return visible(self._clean(text[:most]), keep=_KEPT) + end

    def values(self, told: Any) -> Any:
        """Return JSON values with every text in them as one line; money as a number."""
        if isinstance(told, str):
            return self.line(told)
        if isinstance(told, Decimal):
            return float(told)
        if isinstance(told, Mapping):
            return {self.line(str(name)): self.values(value) for name, value in told.items()}
        if isinstance(told, list | tuple):
            return [self.values(value) for value in told]
        return told


def json_for_page(told: Any) -> str:
    """Return JSON that can stand inside a script element."""
    text = json.dumps(told, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
