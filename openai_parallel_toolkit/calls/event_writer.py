"""Write a whole reply as the stream of events that it would have been. Pure.

A batch gives whole replies only. Source: https://platform.openai.com/docs/api-reference/
chat-streaming and https://platform.openai.com/docs/api-reference/responses-streaming (2026-11).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..core.records import canonical_json

_Events = Iterator[dict[str, Any]]


def write_event_stream(path: str, raw: Mapping[str, Any], *, with_usage: bool) -> bytes:
    """Return the reply to `path` as server-sent events."""
    if path == "/responses":
        numbered = enumerate(_response_events(raw))
        events = [{**event, "sequence_number": n} for n, event in numbered]
        lines = [b"event: " + event["type"].encode() + b"\n" + _data(event) for event in events]
        return b"".join(lines)
    written = _chunks(raw, with_usage=with_usage) if path == "/chat/completions" else iter([raw])
    return b"".join([*map(_data, written), b"data: [DONE]\n\n"])


def _data(event: Mapping[str, Any]) -> bytes:
    return b"data: " + canonical_json(event) + b"\n\n"


def _chunks(raw: Mapping[str, Any], *, with_usage: bool) -> _Events:
    frame = {name: value for name, value in raw.items() if name not in {"choices", "usage"}}
    frame["object"] = "chat.completion.chunk"
    for choice in raw.get("choices") or ():
        kept = {name: value for name, value in choice.items() if name != "message"}
        delta = {n: v for n, v in (choice.get("message") or {}).items() if v is not None}
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            delta["tool_calls"] = [{"index": n, **call} for n, call in enumerate(calls)]
        yield {**frame, "choices": [{**kept, "delta": delta, "finish_reason": None}]}
        yield {**frame, "choices": [{**kept, "logprobs": None, "delta": {}}]}
    if with_usage:
        yield {**frame, "choices": [], "usage": raw.get("usage")}


def _response_events(raw: Mapping[str, Any]) -> _Events:
    begun = {**raw, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(raw.get("output") or ()):
        yield from _item_events(index, item)
    yield {"type": f"response.{raw.get('status') or 'completed'}", "response": dict(raw)}


def _item_events(index: int, item: Mapping[str, Any]) -> _Events:
    at: dict[str, Any] = {"output_index": index, "item_id": item.get("id", "")}
    parts = item.get("content") if item.get("type") == "message" else None
    is_call = item.get("type") == "function_call"
    empty = {**item, "status": "in_progress"}
    empty |= {"content": []} if parts is not None else {}
    empty |= {"arguments": ""} if is_call else {}
    yield {"type": "response.output_item.added", "output_index": index, "item": empty}
    for number, part in enumerate(parts or ()):
        yield from _part_events({**at, "content_index": number}, part)
    if is_call:
        said = item.get("arguments", "")
        kind = "response.function_call_arguments"
        yield {"type": f"{kind}.delta", **at, "delta": said}
        yield {"type": f"{kind}.done", **at, "arguments": said, "name": item.get("name", "")}
    yield {"type": "response.output_item.done", "output_index": index, "item": dict(item)}


def _part_events(at: dict[str, Any], part: Mapping[str, Any]) -> _Events:
    kind, name = str(part.get("type")), "refusal" if part.get("type") == "refusal" else "text"
    said = part.get(name) or ""
    more: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
    yield {"type": "response.content_part.added", **at, "part": {**part, name: ""}}
    yield {"type": f"response.{kind}.delta", **at, **more, "delta": said}
    yield {"type": f"response.{kind}.done", **at, **more, name: said}
    yield {"type": "response.content_part.done", **at, "part": dict(part)}
