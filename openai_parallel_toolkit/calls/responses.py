"""Read what a provider sent: the answer's text, and why it ended. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.records import Reply, Usage
from .usage import read_usage


def parse_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in `body`; None: it is something else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_answer(path: str, raw: Mapping[str, Any]) -> Reply | None:
    """Return the usable part of a reply body to `path`, without its cost; None: it holds no answer.

    Paths that are not known (a user's own `generate`) are answered by any object.
    """
    reader = _READERS.get(path, _read_anything)
    found = reader(raw)
    if found is None:
        return None
    text, finish_reason = found
    model = raw.get("model")
    return Reply(
        text=text,
        finish_reason=finish_reason,
        usage=read_usage(raw) or Usage(),
        model=model if isinstance(model, str) else "",
        raw=raw,
    )


def _read_chat(raw: Mapping[str, Any]) -> tuple[str, str] | None:
    choices = raw.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    message = choices[0].get("message")
    if not isinstance(message, dict):
        return None
    content, refusal = message.get("content"), message.get("refusal")
    if not content and refusal and isinstance(refusal, str):
        return refusal, "refusal"
    reason = choices[0].get("finish_reason")
    return content if isinstance(content, str) else "", reason if isinstance(reason, str) else ""


def _read_embeddings(raw: Mapping[str, Any]) -> tuple[str, str] | None:
    return ("", "stop") if isinstance(raw.get("data"), list) and raw["data"] else None


def _read_responses(raw: Mapping[str, Any]) -> tuple[str, str] | None:
    output, status = raw.get("output"), raw.get("status")
    if not isinstance(output, list) or status in {"failed", "cancelled"}:
        return None
    parts = [
        part
        for item in output
        if isinstance(item, dict) and item.get("type") == "message"
        for part in item.get("content") or ()
        if isinstance(part, dict)
    ]
    text = _joined(parts, "output_text", "text")
    refusal = _joined(parts, "refusal", "refusal")
    if refusal and not text:
        return refusal, "refusal"
    if status in {"completed", None}:
        return text, "stop"
    details = raw.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    words = {"max_output_tokens": "length", "content_filter": "content_filter"}
    return text, words.get(str(reason), "incomplete")


def _joined(parts: Sequence[Mapping[str, Any]], kind: str, field: str) -> str:
    return "".join(str(part.get(field) or "") for part in parts if part.get("type") == kind)


def _read_anything(raw: Mapping[str, Any]) -> tuple[str, str] | None:
    value = raw.get("generated")
    return value if isinstance(value, str) else "", "generated"


_READERS = {
    "/chat/completions": _read_chat,
    "/embeddings": _read_embeddings,
    "/responses": _read_responses,
}
