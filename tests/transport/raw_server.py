"""A loopback server that plays raw bytes, and small helpers that the wire tests share."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import selectors
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from decimal import Decimal

from openai_parallel_toolkit.core.records import Lease, Need, Request
from openai_parallel_toolkit.core.redaction import Secret
from openai_parallel_toolkit.transport import SendFault, new_event_loop
from openai_parallel_toolkit.transport.base import HttpExchange
from openai_parallel_toolkit.transport.http import HttpTransport
from openai_parallel_toolkit.transport.request_head import RequestHead

BODY = b'{"model":"gpt-4o","n":1}'
OK_BODY = b'{"choices":[]}'
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n" + OK_BODY

#: Two random halves: no text of a fault may hold either.
CANARY = f"sk-{secrets.token_hex(8)}", secrets.token_hex(8)


class ByAiohttp(HttpTransport):
    """Sends all with aiohttp, as what goes through a proxy is sent."""

    def _new_head(self, exchange: HttpExchange, lease: Lease) -> RequestHead | SendFault:
        head = super()._new_head(exchange, lease)
        if isinstance(head, RequestHead):
            head.server = None
        return head


#: Name of each way to send: how to make a transport, and the loop it runs on.
WAYS: dict[str, tuple[type[HttpTransport], Callable[[], asyncio.AbstractEventLoop]]] = {
    "asyncio": (HttpTransport, asyncio.new_event_loop),
    "the package's loop": (HttpTransport, new_event_loop),
    "aiohttp": (ByAiohttp, new_event_loop),
}


class Connection:
    """One accepted connection; reads whole requests."""

    def __init__(self, sock: socket.socket, stop: threading.Event) -> None:
        self.sock = sock
        self.stop = stop
        self._seen = b""

    def read(self) -> tuple[str, dict[str, str], bytes] | None:
        """Return first line, headers and body of the next request; None: the client closed."""
        head = self._until(b"\r\n\r\n")
        if head is None:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (ln.partition(":") for ln in lines)
        }
        wanted = int(headers.get("content-length", 0))
        while len(self._seen) < wanted:
            more = self.sock.recv(65536)
            if not more:
                return None
            self._seen += more
        body, self._seen = self._seen[:wanted], self._seen[wanted:]
        return first, headers, body

    def _until(self, mark: bytes) -> bytes | None:
        while mark not in self._seen:
            more = self.sock.recv(65536)
            if not more:
                return None
            self._seen += more
        found, _, self._seen = self._seen.partition(mark)
        return found

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_for_close(self) -> bool:
        """Return whether the client hung up within half a minute."""
        with selectors.DefaultSelector() as ready:  # `select` takes no number above 1,023
            ready.register(self.sock, selectors.EVENT_READ)
            readable = ready.select(30)
        try:
            return bool(readable) and self.sock.recv(1) == b""
        except ConnectionError:
            return True


class RawServer:
    """Runs `play(connection)` on a thread for each connection; a context manager."""

    def __init__(
        self, play: Callable[[Connection], None], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._play = play
        self._tls = tls
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.accepted = 0
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=2000)
        self.port: int = self._socket.getsockname()[1]
        self.base = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/v1"

    def __enter__(self):
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        # A closed listener does not wake accept() everywhere; a connection does.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        self._acceptor.join(30)
        self._socket.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)

    def _accept(self) -> None:
        while True:
            sock, _ = self._socket.accept()
            if self._stop.is_set():
                sock.close()
                return
            self.accepted += 1
            self._open.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            if self._tls is None:
                self._play(Connection(sock, self._stop))
                return
            with self._tls.wrap_socket(sock, server_side=True) as wrapped:
                self._open.append(wrapped)
                self._play(Connection(wrapped, self._stop))


def answer_all(connection: Connection) -> None:
    """Answer every request well and keep the connection."""
    while connection.read():
        connection.say(OK)


class ForwardProxy(RawServer):
    """A proxy for http (forwarding) and https (CONNECT) that notes what it was asked."""

    def __init__(self, *, credentials: str | None = None) -> None:
        super().__init__(self._serve_proxy)
        #: First line and Proxy-Authorization of each request.
        self.asked: list[tuple[str, str | None]] = []
        self._wanted = credentials and f"Basic {base64.b64encode(credentials.encode()).decode()}"

    def _serve_proxy(self, connection: Connection) -> None:
        request = connection.read()
        if request is None:
            return
        first, headers, body = request
        given = headers.get("proxy-authorization")
        self.asked.append((first, given))
        if self._wanted and given != self._wanted:
            connection.say(
                b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
            )
            return
        if first.startswith("CONNECT"):
            host, _, port = first.split()[1].partition(":")
            with socket.create_connection((host, int(port)), timeout=5) as onward:
                connection.say(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _pump(connection.sock, onward)
            return
        connection.say(OK)
        _ = body


def _pump(one: socket.socket, other: socket.socket) -> None:
    with selectors.DefaultSelector() as ready:
        ready.register(one, selectors.EVENT_READ, other)
        ready.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in ready.select():
                data = key.fileobj.recv(65536)
                if not data:
                    return
                key.data.sendall(data)


def a_request(path: str = "/chat/completions", body: bytes = BODY) -> Request:
    return Request(
        path=path, model="gpt-4o", body=body, hash="0" * 64, prompt_tokens=3, reply_tokens=5
    )


def a_lease(
    api_base: str,
    *,
    id: int = 1,
    key: str = "".join(CANARY),
    name: str = "key-1",
    azure_deployment: str | None = None,
    api_version: str | None = None,
) -> Lease:
    return Lease(
        id=id,
        key_name=name,
        secret=Secret(key, name),
        api_base=api_base,
        azure_deployment=azure_deployment,
        api_version=api_version,
        need=Need(model="gpt-4o", tokens=8, max_cost_usd=Decimal(1)),
        since_s=0.0,
    )


def http_reply(body: bytes, *, status: str = "200 OK", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{extra}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def chat_body(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    ).encode()
