"""Requests and replies of HTTP, and JSON in them; no sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_ENCODER = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadForm:
    """A form with at most one file in it."""

    fields: Mapping[str, str]
    #: None: no file was sent.
    file_name: str | None
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request, read whole."""

    method: str = "POST"
    #: Percent-decoded, without the query.
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    #: The key that it carries; "": none.
    key_value: str = ""
    #: Empty when it is a form.
    body: bytes
    #: None: the body is no form.
    form: UploadForm | None = None


@dataclass(slots=True, kw_only=True)
class HttpReply:
    """What is sent back."""

    status: int
    #: The body; a streamed reply sends each piece as a chunk of its own.
    pieces: tuple[bytes, ...]
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    #: Sent with chunked transfer coding instead of a Content-Length.
    is_streamed: bool = False

    @property
    def body(self) -> bytes:
        """The body, joined."""
        return b"".join(self.pieces)


def json_bytes(value: object) -> bytes:
    """Return `value` as compact ASCII JSON."""
    return _ENCODER.encode(value).encode("ascii")


def json_reply(status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> HttpReply:
    """Return a reply that carries `value` as JSON."""
    return HttpReply(status=status, pieces=(json_bytes(value),), headers=headers)


def read_json(body: bytes) -> Any:
    """Return the JSON value of `body`; anything else is a ValueError."""
    try:
        return json.loads(body)
    except RecursionError as exc:
        raise ValueError("the JSON is nested too deeply") from exc


def head_bytes(reply: HttpReply, *, length_bytes: int | None) -> bytes:
    """Return the status line and headers; a length of None announces chunks."""
    framing = (
        "transfer-encoding: chunked" if length_bytes is None else f"content-length: {length_bytes}"
    )
    lines = "".join([f"{name}: {value}\r\n" for name, value in reply.headers])
    return (
        f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Unknown')}\r\n"
        f"content-type: {reply.content_type}\r\n{framing}\r\n{lines}\r\n"
    ).encode("latin-1")


def chunk_bytes(piece: bytes) -> bytes:
    """Return one chunk of chunked transfer coding; an empty piece ends the body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def reply_bytes(reply: HttpReply) -> bytes:
    """Return the whole reply as it goes over the wire."""
    if reply.is_streamed:
        chunks = [chunk_bytes(piece) for piece in reply.pieces if piece]
        return b"".join([head_bytes(reply, length_bytes=None), *chunks, chunk_bytes(b"")])
    body = reply.body
    return head_bytes(reply, length_bytes=len(body)) + body
