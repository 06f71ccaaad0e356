"""Show words in a notebook."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from .text import visible

#: What stands before the words of a line.
_LABEL = re.compile(r"([A-Z][A-Za-z ]{0,20}): (.+)", re.DOTALL)
_LEFT = ' style="text-align: left"'


def html_table(lines: Iterable[str]) -> str:
    """Return lines such as "Files: 3 done" as a table, with nothing in it that is not text."""
    return f"<table>{''.join(map(_row, lines))}</table>"


def _row(line: str) -> str:
    found = _LABEL.fullmatch(line)
    if found is None:
        return f'<tr><td colspan="2"{_LEFT}>{_safe(line)}</td></tr>'
    label, words = map(_safe, found.groups())
    return f"<tr><th{_LEFT}>{label}</th><td{_LEFT}>{words}</td></tr>"


def _safe(text: str) -> str:
    return escape(visible(text))
