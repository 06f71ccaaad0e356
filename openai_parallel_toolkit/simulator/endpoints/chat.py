"""POST /v1/chat/completions, whole or streamed."""

from __future__ import annotations

from typing import Any

from ..answers import complete_text, positive, required, spoken, text_of, token_count
from ..completion import Completion, PaidRequest
from ..http_messages import HttpReply, json_bytes, json_reply
from ..refusals import invalid
from ..usage_forms import told

#: Tokens that each message and the whole prompt cost on top of their text.
_TOKENS_A_MESSAGE = 3
_MOST_CHOICES = 128


def complete(paid: PaidRequest) -> Completion:
    """Return an extract of the last user message, or raise Refused."""
    messages = _messages(paid)
    choices = positive(paid.body, "n") or 1
    if choices > _MOST_CHOICES:
        raise invalid("Invalid value for 'n'.", param="n", code="invalid_value")
    tool = _forced_tool(paid)
    texts = [text_of(message.get("content")) for message in messages]
    asked = [
        text for text, message in zip(texts, messages, strict=True) if message.get("role") == "user"
    ]
    return complete_text(
        paid,
        prompt=asked[-1] if asked else texts[-1],
        prompt_tokens=_TOKENS_A_MESSAGE
        + sum(_TOKENS_A_MESSAGE + token_count(text) for text in texts),
        most_tokens=positive(paid.body, "max_completion_tokens", "max_tokens"),
        form=paid.body.get("response_format") if tool is None else _form_of(tool),
        choices=choices,
    )


def render(paid: PaidRequest, completion: Completion) -> HttpReply:
    """Return the completion as one object, or as its chunks when the body says stream."""
    if paid.body.get("stream") is True:
        return _stream(paid, completion)
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "refusal": None, **_said(paid, part)},
            "logprobs": None,
            "finish_reason": completion.finish_reason,
        }
        for index, part in enumerate(completion.parts)
    ]
    shown = {**_frame(paid, "chat.completion"), **told(completion, paid.usage_form)}
    if choices:
        shown["choices"] = choices
    return json_reply(200, shown)


def _forced_tool(paid: PaidRequest) -> dict[str, Any] | None:
    """Return the function that the answer has to call; None: it may be a text."""
    choice, tools = paid.body.get("tool_choice"), paid.body.get("tools")
    functions = [tool["function"] for tool in tools] if isinstance(tools, list) else []
    if choice == "required":
        return functions[0] if functions else None
    name = choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    return next((one for one in functions if one.get("name") == name), None)


def _form_of(tool: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"schema": tool.get("parameters", {})}}


def _said(paid: PaidRequest, part: str) -> dict[str, Any]:
    tool = _forced_tool(paid)
    if tool is None:
        return {"content": part}
    function = {"name": tool["name"], "arguments": part}
    call = {"id": f"call_{paid.dice.hex()[:24]}", "type": "function", "function": function}
    return {"content": None, "tool_calls": [call]}


def _messages(paid: PaidRequest) -> list[dict[str, Any]]:
    messages = required(paid.body, "messages")
    if not isinstance(messages, list) or not all(
        isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages
    ):
        raise invalid("Invalid type for 'messages'.", param="messages", code="invalid_type")
    return messages


def _frame(paid: PaidRequest, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{paid.dice.hex()[:29]}",
        "object": kind,
        "created": paid.created_s,
        "model": paid.model,
        "system_fingerprint": "fp_simulated",
    }


def _stream(paid: PaidRequest, completion: Completion) -> HttpReply:
    frame = _frame(paid, "chat.completion.chunk")
    options = paid.body.get("stream_options")
    with_usage = isinstance(options, dict) and options.get("include_usage") is True
    events = [
        {**frame, "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}
        for index, part in enumerate(completion.parts)
        for delta, reason in _deltas(_said(paid, part), completion.finish_reason)
    ]
    if with_usage:
        events = [{**event, "usage": None} for event in events]
        events.append({**frame, "choices": [], **told(completion, paid.usage_form)})
    lines = [b"data: %b\n\n" % json_bytes(event) for event in events]
    return HttpReply(
        status=200,
        pieces=(*lines, b"data: [DONE]\n\n"),
        content_type="text/event-stream",
        is_streamed=True,
    )


def _deltas(said: dict[str, Any], finish_reason: str) -> list[tuple[dict[str, Any], str | None]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if (calls := said.get("tool_calls")) is not None:
        deltas = [{"role": "assistant", "tool_calls": [{"index": 0, **call} for call in calls]}]
    else:
        deltas += [{"content": word} for word in spoken(said["content"])]
    return [*((delta, None) for delta in deltas), ({}, finish_reason)]
