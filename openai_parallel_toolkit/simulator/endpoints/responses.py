"""POST /v1/responses: texts and structured outputs, without tools or streaming."""

from __future__ import annotations

from typing import Any

from ..answers import draft_text, positive, required, text_of, token_count
from ..drafts import Call, Draft
from ..http1 import Reply, json_reply
from ..refusals import invalid

_FIRST_SECOND = 1_700_000_000
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Responses:
    """Answers with an extract of the last input."""

    def draft(self, call: Call) -> Draft:
        """Return what would be answered.

        Raises:
            Refused: the body cannot be served.
        """
        if call.body.get("stream") is True:
            raise invalid("The simulator does not stream responses.", param="stream")
        texts = _texts(required(call.body, "input"))
        told = text_of(call.body.get("instructions"))
        form = call.body.get("text")
        return draft_text(
            call,
            prompt=texts[-1],
            prompt_tokens=3 + token_count(told) + sum(3 + token_count(text) for text in texts),
            most_tokens=positive(call.body, "max_output_tokens"),
            form=form.get("format") if isinstance(form, dict) else None,
            param="input",
        )

    def render(self, call: Call, draft: Draft) -> Reply:
        """Return the draft as a response object."""
        number = call.dice.hex()
        reason = _INCOMPLETE.get(draft.finish_reason)
        status = "incomplete" if reason else "completed"
        message = {
            "id": f"msg_{number[:40]}",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": part, "annotations": []} for part in draft.parts
            ],
        }
        return json_reply(
            200,
            {
                "id": f"resp_{number[:40]}",
                "object": "response",
                "created_at": _FIRST_SECOND + call.number(1) % 10_000_000,
                "status": status,
                "error": None,
                "incomplete_details": {"reason": reason} if reason else None,
                "instructions": call.body.get("instructions"),
                "metadata": {},
                "model": call.model,
                "output": [message] if draft.parts else [],
                "parallel_tool_calls": True,
                "temperature": 1.0,
                "tool_choice": "auto",
                "tools": [],
                "top_p": 1.0,
                "usage": _usage(draft),
            },
        )


def _texts(asked: Any) -> list[str]:
    if isinstance(asked, str):
        return [asked]
    if not isinstance(asked, list) or not all(isinstance(item, dict) for item in asked):
        raise invalid("Invalid type for 'input'.", param="input", code="invalid_type")
    return [text_of(item.get("content")) for item in asked]


def _usage(draft: Draft) -> dict[str, Any]:
    return {
        "input_tokens": draft.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": draft.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": draft.prompt_tokens + draft.completion_tokens,
    }
