"""Group failures by their cause: alike but for names, numbers and ids."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

#: Of a cause, as it is shown; and how many different ones are told apart.
_SHOWN_CHARACTERS = 300
_MOST_CAUSES = 1_000
#: What differs between failures of one cause: places in a text, addresses, ids, long numbers.
#: Numbers of one to three digits are left: they may be a status.
_PLACES = re.compile(r"(?i)\b(position|line|column|char|bytes?|index|after) \d[\d.,-]*")
_PARTICULARS = re.compile(
    r"(?i)0x[0-9a-f]+"
    r"|\b(?=[a-f-]*\d)[0-9a-f]{8}(?:-[0-9a-f]{4,12}){0,4}\b"
    r"|\b(?:req|resp|chatcmpl|batch|file|call|org|proj|user)[-_][a-z0-9]{6,}"
    r"|\d[\d,]{3,}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCause:
    """Failures that have one cause."""

    count: int
    #: Kind and message of the first of them.
    words: str
    #: What failed first so: a file, or the number of a line.
    example: str

    def __str__(self) -> str:
        return f"{self.count:,} x {self.words} (first: {self.example})"


def gist(kind: str, message: str, path: str = "") -> str:
    """Return what failures of one cause have in common.

    Args:
        path: the file that failed, whose name the message may hold.
    """
    for name in filter(None, (path, path.rpartition("/")[2])):
        message = message.replace(name, "...")
    message = _PLACES.sub(r"\1 ...", " ".join(message.split()))
    return f"{kind}: {_PARTICULARS.sub('...', message)}"


class FailureCauses:
    """Counts failures by their cause. Not safe for several threads."""

    def __init__(self) -> None:
        self._found: dict[str, FailureCause] = {}

    def add(self, kind: str, message: str, example: str) -> None:
        """Count a failure; `example` is the file, or the line, that failed."""
        key = gist(kind, message, example)
        known = self._found.get(key)
        if known is None and len(self._found) >= _MOST_CAUSES:
            return
        words = f"{kind}: {' '.join(message.split())}"[:_SHOWN_CHARACTERS]
        first = known or FailureCause(count=0, words=words, example=example)
        self._found[key] = replace(first, count=first.count + 1)

    def told(self) -> tuple[FailureCause, ...]:
        """Return the causes, most frequent first."""
        return tuple(sorted(self._found.values(), key=lambda cause: -cause.count))
