"""Read requests and write replies in HTTP/1.1: bytes in, bytes out, no sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote

_MOST_HEAD_BYTES = 65_536
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_ENCODER = json.JSONEncoder(separators=(",", ":"))


class MalformedRequest(Exception):
    """What came in is not HTTP/1.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request, read whole."""

    method: str
    #: Percent-decoded, without the query.
    path: str
    raw_query: str
    #: Names in lower case.
    headers: Mapping[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of a repeated one, the last."""
        return {name: values[-1] for name, values in parse_qs(self.raw_query).items()}

    @property
    def keeps_alive(self) -> bool:
        """Whether the client will use the connection again."""
        return self.headers.get("connection", "").lower() != "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
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


def json_reply(status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """Return a reply that carries `value` as JSON."""
    return Reply(status=status, pieces=(json_bytes(value),), headers=headers)


def head_bytes(reply: Reply, *, length_bytes: int | None) -> bytes:
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


def reply_bytes(reply: Reply) -> bytes:
    """Return the whole reply as it goes over the wire."""
    if reply.is_streamed:
        chunks = [chunk_bytes(piece) for piece in reply.pieces if piece]
        return b"".join([head_bytes(reply, length_bytes=None), *chunks, chunk_bytes(b"")])
    body = reply.body
    return head_bytes(reply, length_bytes=len(body)) + body


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    method: str
    target: str
    headers: Mapping[str, str]
    #: None: the body comes in chunks.
    length_bytes: int | None


class RequestParser:
    """Cuts a stream of bytes into requests, however the bytes were split."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._chunks = bytearray()
        self._has_continued = False

    def feed(self, data: bytes) -> None:
        """Take in what the socket gave."""
        self._buffer += data

    @property
    def has_bytes(self) -> bool:
        """Whether something is waiting to be cut."""
        return bool(self._buffer)

    def wants_continue(self) -> bool:
        """Return True once for a request that waits for "100 Continue" before its body."""
        head = self._head
        if head is None or self._has_continued or "expect" not in head.headers:
            return False
        self._has_continued = True
        return True

    def next_request(self) -> HttpRequest | None:
        """Return the next whole request; None: more bytes are needed.

        Raises:
            MalformedRequest: no request can be read from this stream any more.
        """
        if self._head is None:
            self._head = self._take_head()
            if self._head is None:
                return None
        head = self._head
        body = self._take_chunked() if head.length_bytes is None else self._take(head.length_bytes)
        if body is None:
            return None
        self._head, self._has_continued = None, False
        path, _, raw_query = head.target.partition("?")
        return HttpRequest(
            method=head.method,
            path=unquote(path) if "%" in path else path,
            raw_query=raw_query,
            headers=head.headers,
            body=body,
        )

    def _take_head(self) -> _Head | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MOST_HEAD_BYTES:
                raise MalformedRequest("the head is too long")
            return None
        text = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + 4]
        return _read_head(text)

    def _take(self, length_bytes: int) -> bytes | None:
        if len(self._buffer) < length_bytes:
            return None
        taken = bytes(self._buffer[:length_bytes])
        del self._buffer[:length_bytes]
        return taken

    def _take_chunked(self) -> bytes | None:
        while (end := self._buffer.find(b"\r\n")) >= 0:
            size_bytes = _chunk_size(bytes(self._buffer[:end]))
            # The last chunk is followed by an empty line too; trailers are not supported.
            whole = end + 2 + size_bytes + 2
            if len(self._buffer) < whole:
                return None
            if self._buffer[whole - 2 : whole] != b"\r\n":
                raise MalformedRequest("a chunk does not end where it should")
            self._chunks += self._buffer[end + 2 : whole - 2]
            del self._buffer[:whole]
            if size_bytes == 0:
                body, self._chunks = bytes(self._chunks), bytearray()
                return body
        return None


def _read_head(text: str) -> _Head:
    lines = text.split("\r\n")
    start = lines[0].split(" ")
    if len(start) != 3 or not start[2].startswith("HTTP/1."):
        raise MalformedRequest("the first line is no request")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedRequest("a header has no colon")
        headers[name.lower()] = value.strip()
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        raise MalformedRequest("the content length is no number")
    is_chunked = headers.get("transfer-encoding", "").lower() == "chunked"
    return _Head(
        method=start[0],
        target=start[1],
        headers=headers,
        length_bytes=None if is_chunked else int(length),
    )


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        size_bytes = int(digits, 16)
    except ValueError as exc:
        raise MalformedRequest("a chunk has no size") from exc
    if size_bytes < 0:
        raise MalformedRequest("a chunk has a negative size")
    return size_bytes


def read_json(body: bytes) -> Any:
    """Return the JSON value of `body`.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(body)
    except RecursionError as exc:
        raise ValueError("the JSON is nested too deeply") from exc
