"""POST /v1/responses, whole or streamed: texts and structured outputs, without tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..answers import complete_text, positive, required, spoken, text_of, token_count
from ..completion import Completion, PaidRequest, usage_fields
from ..http_messages import HttpReply, json_bytes, json_reply
from ..refusals import invalid
from ..usage_forms import told

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def complete(paid: PaidRequest) -> Completion:
    """Return an extract of the last input, or raise Refused."""
    texts = _texts(required(paid.body, "input"))
    told = text_of(paid.body.get("instructions"))
    form = paid.body.get("text")
    return complete_text(
        paid,
        prompt=texts[-1],
        prompt_tokens=3 + token_count(told) + sum(3 + token_count(text) for text in texts),
        most_tokens=positive(paid.body, "max_output_tokens"),
        form=form.get("format") if isinstance(form, dict) else None,
        param="input",
    )


def render(paid: PaidRequest, completion: Completion) -> HttpReply:
    """Return the completion as a response object."""
    number = paid.dice.hex()
    reason = _INCOMPLETE.get(completion.finish_reason)
    status = "incomplete" if reason else "completed"
    message = {
        "id": f"msg_{number[:40]}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [
            {"type": "output_text", "text": part, "annotations": []} for part in completion.parts
        ],
    }
    shown = {
        "id": f"resp_{number[:40]}",
        "object": "response",
        "created_at": paid.created_s,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": paid.body.get("instructions"),
        "metadata": {},
        "model": paid.model,
        "output": [message] if completion.parts else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        **told(completion, paid.usage_form, _usual),
    }
    if paid.body.get("stream") is not True:
        return json_reply(200, shown)
    numbered = enumerate(_events(shown))
    events = [{**event, "sequence_number": number} for number, event in numbered]
    lines = [b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json_bytes(e)) for e in events]
    return HttpReply(
        status=200, pieces=tuple(lines), content_type="text/event-stream", is_streamed=True
    )


def _events(shown: dict[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {**shown, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    for number, item in enumerate(shown["output"]):
        said = item["content"]
        begun = {**item, "status": "in_progress", "content": []}
        yield {"type": "response.output_item.added", "output_index": number, "item": begun}
        for index, part in enumerate(said):
            at = {"output_index": number, "item_id": item["id"], "content_index": index}
            yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
            for word in spoken(part["text"]):
                told = {"delta": word, "logprobs": []}
                yield {"type": "response.output_text.delta", **at, **told}
            told = {"text": part["text"], "logprobs": []}
            yield {"type": "response.output_text.done", **at, **told}
            yield {"type": "response.content_part.done", **at, "part": part}
        yield {"type": "response.output_item.done", "output_index": number, "item": item}
    yield {"type": f"response.{shown['status']}", "response": shown}


def _usual(completion: Completion) -> dict[str, Any]:
    return {"usage": usage_fields(completion.prompt_tokens, completion.completion_tokens)}


def _texts(asked: Any) -> list[str]:
    if isinstance(asked, str):
        return [asked]
    if not isinstance(asked, list) or not all(isinstance(item, dict) for item in asked):
        raise invalid("Invalid type for 'input'.", param="input", code="invalid_type")
    return [text_of(item.get("content")) for item in asked]
