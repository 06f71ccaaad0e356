"""Read the openai package's errors as the replies and faults they stand for.

Decided by type, status and cause, never by words.
"""

from __future__ import annotations

import json
import socket
import ssl
import traceback
from collections.abc import Iterator

import openai

from ..core.errors import ToolkitError, UsageError
from ..core.records import RawReply
from .base import Phase, SendFault
from .openai_http import httpx

_CHAT = "openai.chat.completions.create(model=..., messages=...).choices[0].message.content"
_REPLACEMENTS = {
    "ChatCompletion": _CHAT,
    "Completion": "openai.completions.create(model=..., prompt=...).choices[0].text",
    "Embedding": "openai.embeddings.create(model=..., input=...).data[0].embedding",
    "Moderation": "openai.moderations.create(input=...).results[0]",
}


def fault_of(exc: Exception) -> RawReply | SendFault | None:
    """Return what `Transport.send` would have given; None: it is no error of openai's."""
    if isinstance(exc, (openai.APIStatusError, openai.APIResponseValidationError)):
        return _reply(exc.response)
    if isinstance(exc, (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError)):
        return _good(exc.completion.model_dump_json()) if exc.completion else None
    if isinstance(exc, json.JSONDecodeError):
        return _good(exc.doc) if _rose_in_openai(exc) else None
    cause = exc.__cause__ if isinstance(exc, openai.APIConnectionError) else exc
    if isinstance(cause, httpx.RequestError):
        return _wire_fault(cause)
    if isinstance(exc, openai.APIConnectionError):
        return SendFault("unknown", "read", f"openai raised {type(exc).__name__}")
    return None


def explain(exc: Exception) -> ToolkitError | None:
    """Return the advice for a call that openai has removed; None: it is something else."""
    # By name: the class is private to the package.
    if not (isinstance(exc, openai.OpenAIError) and type(exc).__name__ == "APIRemovedInV1"):
        return None
    removed = _removed_name(exc)
    replacement = _REPLACEMENTS.get(removed, _CHAT)
    return UsageError(
        f"openai.{removed} is gone from the openai package. Write instead:\n    {replacement}",
        replacement=replacement,
    )


def _reply(response: httpx.Response) -> RawReply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return RawReply(status=response.status_code, headers=headers, body=response.content)


def _good(text: str) -> RawReply:
    return RawReply(status=200, headers={}, body=text.encode("utf-8", "replace"))


def _rose_in_openai(exc: Exception) -> bool:
    """A hook may parse JSON of its own, and fail at it."""
    names = (
        frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(exc.__traceback__)
    )
    return any(name.partition(".")[0] == "openai" for name in names)


def _wire_fault(cause: httpx.RequestError) -> SendFault:
    before = _phase_before(cause)
    told = (
        f"openai could not {'connect' if before else 'get a whole reply'}: {type(cause).__name__}"
    )
    if before:
        return SendFault("unsent", before, told)
    return SendFault("unknown", _phase_after(cause), told)


def _phase_before(cause: httpx.RequestError) -> Phase | None:
    """Return how far it came; None: it may have been sent."""
    if isinstance(cause, httpx.PoolTimeout):
        return "pool"
    if isinstance(cause, httpx.ProxyError):
        return "proxy"
    if isinstance(cause, (httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
        return "request"
    if isinstance(cause, (httpx.ConnectError, httpx.ConnectTimeout)):
        roots = tuple(_causes(cause))
        if any(isinstance(root, socket.gaierror) for root in roots):
            return "dns"
        return "tls" if any(isinstance(root, ssl.SSLError) for root in roots) else "connect"
    return None


def _phase_after(cause: httpx.RequestError) -> Phase:
    if isinstance(cause, (httpx.WriteError, httpx.WriteTimeout)):
        return "write"
    if isinstance(cause, httpx.ReadTimeout):
        return "deadline"
    return "body" if isinstance(cause, httpx.DecodingError) else "read"


def _causes(exc: BaseException) -> Iterator[BaseException]:
    above: BaseException | None = exc
    while above is not None:
        yield above
        above = above.__cause__ or above.__context__


def _removed_name(exc: Exception) -> str:
    """The error says which name was called only in words; the frame that raised it knows."""
    for frame, _ in traceback.walk_tb(exc.__traceback__):
        name = getattr(frame.f_locals.get("self"), "_symbol", None)
        if isinstance(name, str):
            return name
    return "ChatCompletion"
