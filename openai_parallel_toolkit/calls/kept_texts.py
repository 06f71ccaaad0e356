"""What was asked and what came, as people read it, out of what the journal keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.errors import JournalError
from ..journal.rows import AnswerRecord, StoredBody
from .responses import find_answer, parse_object, read_body

_PATHS = ("/chat/completions", "/responses")
#: Where a body holds what is asked, by its kinds of API.
_PROMPTS = ("messages", "input", "prompt")


def answer_text(answer: AnswerRecord | None) -> str | None:
    """Return what the hook got, or the whole reply where there is no text; None: no answer."""
    if answer is None:
        return None
    try:
        body = answer.body()
    except JournalError as exc:
        return exc.message
    raw = read_body(body) or {}
    if "generated" in raw:
        generated = raw["generated"]
        return generated if isinstance(generated, str) else json.dumps(generated)
    for path in _PATHS:
        found = find_answer(path, raw)
        if found is not None and found.text:
            return found.text
    return body.decode("utf-8", "replace")


def request_text(request: StoredBody | None) -> str | None:
    """Return the prompt, each message under its role; None: the request was not kept."""
    if request is None:
        return None
    try:
        body = request.body()
    except JournalError as exc:
        return exc.message
    raw = parse_object(body) or {}
    asked: Any = next((raw[name] for name in _PROMPTS if raw.get(name)), None)
    if asked is None:
        return body.decode("utf-8", "replace")
    try:
        parts = list(_parts([raw["instructions"], asked] if raw.get("instructions") else asked))
    except RecursionError:  # it is as deep as can just be read
        return body.decode("utf-8", "replace")
    is_lone = len(parts) == 1 and parts[0][0] in ("", "user")
    return "\n".join(text if is_lone or not role else f"{role}: {text}" for role, text in parts)


def _parts(asked: Any) -> Iterator[tuple[str, str]]:
    """Yield roles ("": none) and texts."""
    if isinstance(asked, str):
        yield "", asked
    elif isinstance(asked, Mapping):
        content = asked.get("content", asked.get("text"))
        texts = [text for _, text in _parts(content)] if content else [json.dumps(asked)]
        yield str(asked.get("role") or ""), "\n".join(texts)
    elif isinstance(asked, list):
        for one in asked:
            yield from _parts(one)
    elif asked is not None:
        yield "", json.dumps(asked)
