"""Read kept answers: what a hook got, and how it ended."""

from __future__ import annotations

import json
from typing import NamedTuple

from ..calls.responses import find_answer, read_body
from ..journal import AnswerRecord

_PATHS = ("/chat/completions", "/responses")


class AnswerText(NamedTuple):
    """An answer as people read it."""

    #: The whole reply where there is no text.
    text: str
    #: "": it is not told.
    finish_reason: str


def answer_text(answer: AnswerRecord) -> AnswerText:
    """Return what the hook got.

    Raises:
        JournalError: the bytes on the disk are not those that were written.
    """
    body = answer.body()
    raw = read_body(body) or {}
    if "generated" in raw:
        generated = raw["generated"]
        return AnswerText(generated if isinstance(generated, str) else json.dumps(generated), "")
    ending = ""
    for path in _PATHS:
        found = find_answer(path, raw)
        if found is not None and found.text:
            return AnswerText(found.text, found.ending)
        ending = ending or (found.ending if found else "")
    return AnswerText(body.decode("utf-8", "replace"), ending)
