"""Read what a client of a provider's API wants to send, whichever library it is. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from ..core.records import Request, canonical_json
from ..costs.tokens import DEFAULT_REPLY_TOKENS
from ..transport.base import HttpExchange, Method
from .models import make_request
from .responses import parse_object

#: What stands before an API path: versions, and Azure's and Google's forms.
_BASE = re.compile(r"\A(?:/[^/]+)*?(?:/(?:v\d+(?:alpha|beta)?\d*|openai|deployments/[^/]+))+(?=/)")
#: What the lease decides, and what holds for one connection or one key alone.
_NOT_CARRIED = frozenset(
    {
        "accept-encoding",
        "api-key",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "openai-organization",
        "openai-project",
        "proxy-authorization",
        "transfer-encoding",
        "user-agent",
        "x-api-key",
    }
)
_NOT_CARRIED_PREFIX = "x-stainless-"
#: What every request says that accepts anything.
_ANY = frozenset({"application/json", "*/*"})
#: Asked where a request names no model. Source:
#: https://platform.openai.com/docs/api-reference/moderations/create (read 2026-11).
_DEFAULT_MODELS = {"/moderations": "omni-moderation-latest"}
_STREAMING = frozenset({"stream", "stream_options"})
#: What does not tell one request from another: how the answer comes, and where a prompt that was
#: seen before is looked for, of which the agents SDK draws a new name each time. Source:
#: https://platform.openai.com/docs/guides/prompt-caching (read 2026-11).
_NOT_ASKED = _STREAMING | {"prompt_cache_key"}
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_MODEL_FIELD = re.compile(rb'name="?model"?\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)\r\n')
#: Of recordings and pictures, for what is held back of the limits.
_BYTES_A_TOKEN = 256


def read_client_request(
    method: str,
    path: str,
    query: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
    body: bytes,
) -> Request | HttpExchange:
    """Return the call that a client makes; what asks for nothing new is an exchange.

    Args:
        path: of the URL, the client's own base included.
        headers: names in lower case.
    """
    below = _BASE.sub("", path, count=1)
    asked = tuple((name, value) for name, value in query if name != "api-version")
    carried = tuple((n, v) for n, v in headers.items() if _is_carried(n, v))
    content_type = headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    payload = parse_object(body) if kind == "application/json" else None
    if method != "POST" or (payload is None and kind != "multipart/form-data"):
        return HttpExchange(
            method=cast(Method, method),
            path=below,
            query=dict(asked),
            body=body or None,
            content_type=content_type,
            headers=carried,
        )
    identified = below + "".join(f"&{name}={value}" for name, value in asked)
    request = (
        _form_request(identified, content_type, body)
        if payload is None
        else _json_request(identified, payload)
    )
    return replace(request, path=below, query=asked, headers=carried)


def stream_options(request: Request) -> dict[str, Any] | None:
    """Return with what options the answer is to come in events; None: in one piece."""
    if b'"stream":true' not in request.body:
        return None
    fields = parse_object(request.body) or {}
    options = fields.get("stream_options")
    given = options if isinstance(options, dict) else {}
    return given if fields.get("stream") is True else None


def asked_whole(request: Request) -> Request:
    """Return the same request for an answer in one piece."""
    if b'"stream' not in request.body:
        return request
    fields = parse_object(request.body) or {}
    if not fields.keys() & _STREAMING:
        return request
    whole = {name: value for name, value in fields.items() if name not in _STREAMING}
    return replace(request, body=canonical_json(whole))


def _json_request(path: str, payload: dict[str, Any]) -> Request:
    if path in _DEFAULT_MODELS:  # batches want it named
        payload = {"model": _DEFAULT_MODELS[path], **payload}
    asked = {name: value for name, value in payload.items() if name not in _NOT_ASKED}
    model = payload.get("model")
    request = make_request(path, model if isinstance(model, str) else "", asked)
    return request if asked == payload else replace(request, body=canonical_json(payload))


def _form_request(path: str, content_type: str, body: bytes) -> Request:
    """Freeze a form; its boundary is drawn anew each time and becomes one of its content."""
    found = _BOUNDARY.search(content_type)
    if found is not None:
        drawn = b"--" + found[1].encode("latin-1")
        fixed = f"form-{hashlib.sha256(body.replace(drawn, b'--')).hexdigest()[:32]}"
        body = body.replace(drawn, b"--" + fixed.encode())
        content_type = f"multipart/form-data; boundary={fixed}"
    named = _MODEL_FIELD.search(body)
    model = named[1].decode("utf-8", "replace") if named is not None else ""
    return Request(
        path=path,
        model=model,
        body=body,
        hash=hashlib.sha256(f"{path}\n{model}\n".encode() + body).hexdigest(),
        prompt_tokens=len(body) // _BYTES_A_TOKEN,
        reply_tokens=DEFAULT_REPLY_TOKENS,
        content_type=content_type,
    )


def _is_carried(name: str, value: str) -> bool:
    is_dull = name == "accept" and value in _ANY
    return not (is_dull or name in _NOT_CARRIED or name.startswith(_NOT_CARRIED_PREFIX))
