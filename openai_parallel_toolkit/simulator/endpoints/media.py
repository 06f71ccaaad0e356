"""POST /v1/audio/*, /v1/images/generations and /v1/moderations: small answers in their forms."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from ..answers import required, token_count
from ..completion import Completion, PaidEndpoint, PaidRequest, usage_fields
from ..http_messages import HttpReply, json_reply


def _endpoint(
    asked: str, render: Callable[[PaidRequest, Completion], HttpReply], default_model: str = ""
) -> PaidEndpoint:
    """Return an endpoint that is asked for in one field of the body."""

    def complete(paid: PaidRequest) -> Completion:
        value = required(paid.body, asked)
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        tokens = token_count(text)
        return Completion(
            parts=(text,),
            finish_reason="stop",
            prompt_tokens=tokens,
            completion_tokens=1,
            counted_tokens=tokens,
        )

    return PaidEndpoint(complete, render, default_model)


def _usage(completion: Completion) -> dict[str, Any]:
    return usage_fields(completion.prompt_tokens, completion.completion_tokens)


def _text(paid: PaidRequest, completion: Completion) -> HttpReply:
    del paid
    text = completion.parts[0][:40]
    return json_reply(200, {"text": text, "usage": {"type": "tokens", **_usage(completion)}})


def _speech(paid: PaidRequest, completion: Completion) -> HttpReply:
    del completion
    return HttpReply(status=200, pieces=(b"ID3\xff\xfb" + paid.dice,), content_type="audio/mpeg")


def _image(paid: PaidRequest, completion: Completion) -> HttpReply:
    picture = {"b64_json": base64.b64encode(b"\x89PNG" + paid.dice).decode("ascii")}
    usage = _usage(completion)
    usage["input_tokens_details"] = {"text_tokens": completion.prompt_tokens, "image_tokens": 0}
    return json_reply(200, {"created": paid.created_s, "data": [picture], "usage": usage})


def _moderation(paid: PaidRequest, completion: Completion) -> HttpReply:
    is_bad = "flag me" in completion.parts[0]
    result = {
        "flagged": is_bad,
        "categories": {"violence": is_bad},
        "category_scores": {"violence": float(is_bad)},
    }
    return json_reply(
        200, {"id": f"modr-{paid.dice.hex()[:24]}", "model": paid.model, "results": [result]}
    )


ENDPOINTS = {
    "/audio/speech": _endpoint("input", _speech),
    "/audio/transcriptions": _endpoint("file", _text),
    "/audio/translations": _endpoint("file", _text),
    "/images/generations": _endpoint("prompt", _image),
    "/moderations": _endpoint("input", _moderation, "omni-moderation-latest"),
}
