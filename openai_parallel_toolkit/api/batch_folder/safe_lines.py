"""Make lines of results safe to publish. Pure."""

from __future__ import annotations

import json
from typing import Any

from ...batch.service import ResultLine
from ...calls.refusals import Clean
from ...calls.responses import parse_object
from ...core.redaction import safe_words

#: Characters of a line that is no answer, or of what stands around one, that are published.
_MOST_TOLD = 65_536


def safe_line(line: bytes, result: ResultLine, clean: Clean, *, is_answer: bool) -> bytes:
    """Return a line of results as it is published: as it came, but for secrets and endless words.

    The body of an answer is the user's own, and so is the custom_id.
    """
    raw = parse_object(line) or {}
    response = raw.get("response")
    own: dict[str, Any] = {}
    if is_answer and isinstance(response, dict):
        own = {"body": response.pop("body", None)}
    id, told = raw.pop("custom_id", None), json.dumps(raw)
    try:
        safe = _without_secrets(raw, clean) if len(told) <= _MOST_TOLD else _in_short(result, clean)
    except RecursionError:
        safe = _in_short(result, clean)
    if safe == raw:
        return line
    if own:
        safe["response"] = {**(safe.get("response") or {}), **own}
    return json.dumps({"custom_id": id, **safe}).encode() + b"\n"


def _without_secrets(value: Any, clean: Clean) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_without_secrets(one, clean) for one in value]
    if isinstance(value, dict):
        return {clean(name): _without_secrets(one, clean) for name, one in value.items()}
    return value


def _in_short(result: ResultLine, clean: Clean) -> dict[str, Any]:
    words = {name: safe_words(getattr(result, name), clean, 1_000) for name in ("code", "message")}
    reply = {"status_code": result.status, "request_id": "", "body": {"error": words}}
    return {"response": reply, "error": None}
