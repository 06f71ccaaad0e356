"""What a hostile server says, and how long it takes to read it."""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote

#: How a text can show a secret.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "url": lambda text: quote(text, safe=""),
    "json": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "html": lambda text: html.escape("".join(f"&#x{ord(char):x};" for char in text)),
    "upper": str.upper,
}
#: Clears the screen, rings, colours, turns the writing round, ends the line and forges another.
HOSTILE = "\x1b[2J\x07\x9b31m\u202e\u2028\r\n2026-11-27 00:00:00 ERROR forged"


def forms(secret: str) -> set[bytes]:
    """Return all that shows a secret, as it stands in files, in JSON too."""
    spelled = {spell(secret) for spell in SPELLINGS.values()}
    spelled |= {text.replace("\\u", "\\\\u") for text in spelled}
    return {form.encode() for form in spelled | {json.dumps(secret)[1:-1], html.escape(secret)}}


def cpu_s(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of this thread in three goes: others' garbage is not counted."""
    goes = []
    for _ in range(3):
        since_s = time.thread_time()
        work()
        goes.append(time.thread_time() - since_s)
    return min(goes)
