"""Say once what is the same in all requests of a kind."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from yarl import URL

from .base import HttpExchange
from .proxies import Proxy
from .unpacker import Unpacker

#: What tells where a request ends: nobody can ask for another end.
_FRAMING = frozenset({"content-length", "transfer-encoding"})
#: What changes the connection, or we say by ourselves: where it is asked for, aiohttp carries it.
_UNUSUAL = frozenset(
    {
        "accept-encoding",
        "connection",
        "expect",
        "host",
        "te",
        "trailer",
        "upgrade",
        "x-client-request-id",
    }
)
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: These have no body unless they bring one.
_BARE = frozenset({"GET", "HEAD", "OPTIONS"})


class Server(NamedTuple):
    """Where connections lead."""

    host: str
    port: int
    is_tls: bool


class RequestHead:
    """Where requests of one kind go and what stands in their heads, the key too.

    It shows none of it.
    """

    __slots__ = ("_start", "_without_body", "headers", "proxy", "route", "server", "url")

    def __init__(
        self,
        method: str,
        url: URL,
        headers: Sequence[tuple[str, str]],
        proxy: Proxy | None,
    ) -> None:
        self.url = url
        self.headers = headers
        self.proxy = proxy
        #: For people.
        self.route = f"{_place(url)} through the proxy {proxy}" if proxy else _place(url)
        #: None: it takes more than an ordinary connection.
        self.server: Server | None = None
        unusual = _UNUSUAL.intersection(name.lower() for name, _ in headers)
        if proxy is None and not unusual and url.user is None and method != "HEAD":
            self.server = Server(url.raw_host or "", url.port or 0, url.scheme == "https")
        lines = [
            f"{method} {url.raw_path_qs} HTTP/1.1",
            f"Host: {url.host_port_subcomponent}",
            f"Accept-Encoding: {', '.join(Unpacker.encodings)}",
            *(f"{name}: {value}" for name, value in headers),
            "X-Client-Request-Id: ",
        ]
        self._start = "\r\n".join(lines).encode()
        self._without_body = b"" if method in _BARE else b"Content-Length: 0\r\n"

    def request(self, request_id: str, body: bytes | None) -> bytes:
        """Return a whole request as it goes out."""
        if body is None:
            return b"%b%b\r\n%b\r\n" % (self._start, request_id.encode(), self._without_body)
        parts = (self._start, request_id.encode(), len(body), body)
        return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % parts


def headers_of(exchange: HttpExchange, key_headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers of an exchange: what we always say, what it asks for, its key."""
    ours = (
        {} if exchange.body is None else {"content-type": ("Content-Type", exchange.content_type)}
    )
    ours |= {name.lower(): (name, value) for name, value in key_headers.items()}
    ours = {name: header for name, header in ours.items() if name not in _FRAMING}
    set_by_us = {*ours, *_FRAMING, "x-client-request-id"}
    given = [(name, value) for name, value in exchange.headers if name.lower() not in set_by_us]
    named = {*ours, *(name.lower() for name, _ in given)}
    usual = (("User-Agent", _user_agent()), ("Accept", "application/json"))
    return [*((n, v) for n, v in usual if n.lower() not in named), *given, *ours.values()]


def is_possible(name: str, value: str) -> bool:
    """Return whether this can be a header, and no more than one."""
    return _NAME.fullmatch(name) is not None and _CONTROL.search(value) is None


def _place(url: URL) -> str:
    return url.raw_authority.rpartition("@")[2]


def _user_agent() -> str:
    with contextlib.suppress(PackageNotFoundError):
        return f"openai-parallel-toolkit/{version('openai-parallel-toolkit')}"
    return "openai-parallel-toolkit"
