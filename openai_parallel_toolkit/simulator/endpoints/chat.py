"""POST /v1/chat/completions, whole or streamed."""

from __future__ import annotations

from typing import Any

from ..answers import draft_text, positive, required, text_of, token_count
from ..drafts import Call, Draft
from ..http1 import Reply, json_bytes, json_reply
from ..refusals import invalid

#: Tokens that each message and the whole prompt cost beside their text.
_TOKENS_A_MESSAGE = 3
_MOST_CHOICES = 128
_FIRST_SECOND = 1_700_000_000


class ChatCompletions:
    """Answers with an extract of the last user message."""

    def draft(self, call: Call) -> Draft:
        """Return what would be answered.

        Raises:
            Refused: the body cannot be served.
        """
        messages = _messages(call)
        choices = positive(call.body, "n") or 1
        if choices > _MOST_CHOICES:
            raise invalid("Invalid value for 'n'.", param="n", code="invalid_value")
        texts = [text_of(message.get("content")) for message in messages]
        asked = [
            text
            for text, message in zip(texts, messages, strict=True)
            if message.get("role") == "user"
        ]
        return draft_text(
            call,
            prompt=asked[-1] if asked else texts[-1],
            prompt_tokens=_TOKENS_A_MESSAGE
            + sum(_TOKENS_A_MESSAGE + token_count(text) for text in texts),
            most_tokens=positive(call.body, "max_completion_tokens", "max_tokens"),
            form=call.body.get("response_format"),
            choices=choices,
        )

    def render(self, call: Call, draft: Draft) -> Reply:
        """Return the draft as a chat completion, or as its chunks when the body says stream."""
        if call.body.get("stream") is True:
            return _stream(call, draft)
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": part, "refusal": None},
                "logprobs": None,
                "finish_reason": draft.finish_reason,
            }
            for index, part in enumerate(draft.parts)
        ]
        completion = {**_frame(call, "chat.completion"), "usage": _usage(draft)}
        if choices:
            completion["choices"] = choices
        return json_reply(200, completion)


def _messages(call: Call) -> list[dict[str, Any]]:
    messages = required(call.body, "messages")
    if not isinstance(messages, list) or not all(
        isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages
    ):
        raise invalid("Invalid type for 'messages'.", param="messages", code="invalid_type")
    return messages


def _frame(call: Call, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{call.dice.hex()[:29]}",
        "object": kind,
        "created": _FIRST_SECOND + call.number(1) % 10_000_000,
        "model": call.model,
        "system_fingerprint": "fp_simulated",
    }


def _usage(draft: Draft) -> dict[str, Any]:
    return {
        "prompt_tokens": draft.prompt_tokens,
        "completion_tokens": draft.completion_tokens,
        "total_tokens": draft.prompt_tokens + draft.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _stream(call: Call, draft: Draft) -> Reply:
    frame = _frame(call, "chat.completion.chunk")
    options = call.body.get("stream_options")
    with_usage = isinstance(options, dict) and options.get("include_usage") is True
    events = [
        {**frame, "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}
        for index, part in enumerate(draft.parts)
        for delta, reason in _deltas(part, draft.finish_reason)
    ]
    if with_usage:
        events = [{**event, "usage": None} for event in events]
        events.append({**frame, "choices": [], "usage": _usage(draft)})
    lines = [b"data: %b\n\n" % json_bytes(event) for event in events]
    return Reply(
        status=200,
        pieces=(*lines, b"data: [DONE]\n\n"),
        content_type="text/event-stream",
        is_streamed=True,
    )


def _deltas(part: str, finish_reason: str) -> list[tuple[dict[str, str], str | None]]:
    words = part.split(" ")
    spoken = [words[0], *(f" {word}" for word in words[1:])]
    return [
        ({"role": "assistant", "content": ""}, None),
        *(({"content": word}, None) for word in spoken if word),
        ({}, finish_reason),
    ]
