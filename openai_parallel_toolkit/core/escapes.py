"""Read a text as URLs, JSON and HTML are read, and tell where in it each part stood. Pure."""

from __future__ import annotations

import html
import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from urllib.parse import unquote

#: How often a text may have been escaped on top of an escaped one.
_DEPTH = 3
#: By the character with which each begins: runs where only a run makes a character, else single.
_ESCAPES = {
    "%": r"(?:%[0-9A-Fa-f]{2})+",
    "\\": r"(?:\\u[0-9A-Fa-f]{4})+|\\x[0-9A-Fa-f]{2}|\\[^ux]",
    "&": r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?",
    "\n": r"[\r\n]+",  # folded, as e-mail folds Base64
}
_SINGLE = {mark: re.compile(pattern) for mark, pattern in _ESCAPES.items()}
_ANY = re.compile("|".join(_ESCAPES.values()))
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Reading:
    """A text with its escapes undone once more than in the one it was read from."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._above: Reading | None = None
        self._escapes = _ANY
        #: Where each escape stood and where what it means stands: begin and end, begin and end;
        #: worked out when it is asked for.
        self._steps: list[tuple[int, int, int, int]] = []
        self._begins: list[int] = []

    def deeper(self, escapes: re.Pattern[str]) -> Reading:
        """Return what it says with these escapes undone."""
        reading = Reading(escapes.sub(lambda match: _meaning(match[0]), self.text))
        reading._above, reading._escapes = self, escapes
        return reading

    def origin(self, begin: int, end: int) -> tuple[int, int]:
        """Return where a part of this reading, which is not empty, stands in the first text."""
        if self._above is None:
            return begin, end
        if not self._steps:
            self._steps = list(_steps(self._above.text, self._escapes))
            self._begins = [begin for _, _, begin, _ in self._steps]
        return self._above.origin(self._place(begin)[0], self._place(end - 1)[1])

    def _place(self, position: int) -> tuple[int, int]:
        """Return begin and end, one reading above, of the character at a position."""
        found = bisect_right(self._begins, position)
        if not found:
            return position, position + 1
        from_, to, _, end = self._steps[found - 1]
        return (from_, to) if position < end else (to + position - end, to + position - end + 1)


def _steps(text: str, escapes: re.Pattern[str]) -> Iterator[tuple[int, int, int, int]]:
    shorter = 0
    for match in escapes.finditer(text):
        begin = match.start() - shorter
        shorter += len(match[0]) - len(_meaning(match[0]))
        yield match.start(), match.end(), begin, match.end() - shorter


def is_escaped(text: str) -> bool:
    """Return whether a text may say something else than stands there."""
    return any(map(text.__contains__, _ESCAPES))


def readings(text: str) -> Iterator[Reading]:
    """Yield a text as it stands, read in each one way, and in all ways again and again."""
    first = reading = Reading(text)
    yield first
    marks = [mark for mark in _ESCAPES if mark in text]
    if not marks:
        return
    for mark in marks if len(marks) > 1 else ():
        yield first.deeper(_SINGLE[mark])
    for _ in range(_DEPTH):
        if not is_escaped(reading.text):
            return
        deeper = reading.deeper(_ANY)
        if deeper.text == reading.text:
            return
        yield deeper
        reading = deeper


def _meaning(escape: str) -> str:
    if escape[0] == "%":
        return unquote(escape, errors="surrogateescape")
    if escape[0] == "&":
        return html.unescape(escape)
    if escape[0] in "\r\n":
        return ""
    if escape[1] == "u":
        return str(json.loads(f'"{escape}"'))
    if escape[1] == "x":
        return chr(int("0" + escape[1:], 0))
    return _CONTROLS.get(escape[1], escape[1])
