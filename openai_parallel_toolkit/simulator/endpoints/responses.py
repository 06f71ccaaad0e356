"""POST /v1/responses: texts and structured outputs, without tools or streaming."""

from __future__ import annotations

from typing import Any

from ..answers import complete_text, positive, required, text_of, token_count
from ..completion import Completion, PaidRequest, usage_fields
from ..http_messages import HttpReply, json_reply
from ..refusals import invalid
from ..usage_forms import told

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def complete(paid: PaidRequest) -> Completion:
    """Return an extract of the last input, or raise Refused."""
    if paid.body.get("stream") is True:
        raise invalid("The simulator does not stream responses.", param="stream")
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
    return json_reply(
        200,
        {
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
        },
    )


def _usual(completion: Completion) -> dict[str, Any]:
    return {"usage": usage_fields(completion.prompt_tokens, completion.completion_tokens)}


def _texts(asked: Any) -> list[str]:
    if isinstance(asked, str):
        return [asked]
    if not isinstance(asked, list) or not all(isinstance(item, dict) for item in asked):
        raise invalid("Invalid type for 'input'.", param="input", code="invalid_type")
    return [text_of(item.get("content")) for item in asked]
