"""What every Transport must do, played by raw sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gzip
import re
import socket
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import aiohttp
import pytest
import trustme
from raw_server import (
    BODY,
    CANARY,
    OK,
    OK_BODY,
    WAYS,
    Connection,
    ForwardProxy,
    RawServer,
    a_lease,
    a_request,
    answer_all,
    http_reply,
)

from openai_parallel_toolkit.core.records import Lease, RawReply, Request
from openai_parallel_toolkit.core.redaction import Secret
from openai_parallel_toolkit.transport import SendFault
from openai_parallel_toolkit.transport.aiohttp_connection import AiohttpConnection
from openai_parallel_toolkit.transport.base import HttpExchange, Method
from openai_parallel_toolkit.transport.http import HttpTransport
from openai_parallel_toolkit.transport.http1_connection import Http1Connection


class Sender:
    """One transport on a loop of its own, used from a test as if it were blocking."""

    def __init__(self, name: str) -> None:
        self._make, new_loop = WAYS[name]
        self.loop = new_loop()
        #: However slow the machine is, no connection is idle for too long.
        self.options: dict[str, object] = {"idle_s": 60.0}
        self._transport: HttpTransport | None = None

    @property
    def transport(self) -> HttpTransport:
        if self._transport is None:
            self._transport = self._make(**self.options)
        return self._transport

    def send(
        self, lease: Lease, request: Request | None = None, *, timeout_s: float = 40.0
    ) -> RawReply:
        sending = self.transport.send(request or a_request(), lease, timeout_s=timeout_s)
        # No other test's exchange is the one before it.
        return contextvars.Context().run(self.loop.run_until_complete, sending)

    def run(self, exchange: HttpExchange, lease: Lease) -> RawReply:
        running = self.transport.run(exchange, lease, timeout_s=40.0)
        return contextvars.Context().run(self.loop.run_until_complete, running)

    def fault(self, lease: Lease, *, timeout_s: float = 40.0) -> SendFault:
        """Send, expect a fault, and look for the key in every form of it."""
        with pytest.raises(SendFault) as caught:
            self.send(lease, timeout_s=timeout_s)
        no_secret_in(caught.value)
        return caught.value

    def close(self) -> None:
        self.loop.run_until_complete(self.transport.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


def no_secret_in(fault: SendFault) -> None:
    shown = traceback.TracebackException.from_exception(fault, capture_locals=True)
    text = "".join((str(fault), repr(fault), repr(fault.args), *shown.format()))
    # The frames of the test itself hold the canary in their names.
    for half in CANARY:
        assert half not in text


@pytest.fixture(params=WAYS)
def sender(request: pytest.FixtureRequest) -> Iterator[Sender]:
    sender = Sender(request.param)
    yield sender
    sender.close()


@contextmanager
def deaf_address() -> Iterator[str]:
    """An address that completes no connection: its queue of new ones is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        for sock in waiting:
            sock.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# --- what goes out ---------------------------------------------------------------------------


def test_sends_the_bytes_of_the_body_once_under_the_leased_key(sender: Sender) -> None:
    seen = []

    def play(connection: Connection) -> None:
        seen.append(connection.read())
        connection.say(OK)

    with RawServer(play) as server:
        reply = sender.send(a_lease(server.base, id=7))
    [(first, headers, body)] = seen
    assert first == "POST /v1/chat/completions HTTP/1.1"
    assert headers["authorization"] == "Bearer " + "".join(CANARY)
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("openai-parallel-toolkit")
    assert re.fullmatch(r"[0-9a-f]{32}-7", headers["x-client-request-id"])
    assert "api-key" not in headers
    assert body == b'{"stream":false,' + BODY[1:]
    assert reply == RawReply(status=200, headers=reply.headers, body=OK_BODY)


def test_azure_keys_go_in_their_own_header_to_their_deployment(sender: Sender) -> None:
    seen = []

    def play(connection: Connection) -> None:
        seen.append(connection.read())
        connection.say(OK)

    with RawServer(play) as server:
        base = server.base.replace("/v1", "/openai")
        sender.send(a_lease(base, azure_deployment="my gpt", api_version="2024-06-01"))
    [(first, headers, _)] = seen
    path = "/openai/deployments/my%20gpt/chat/completions?api-version=2024-06-01"
    assert first == f"POST {path} HTTP/1.1"
    assert headers["api-key"] == "".join(CANARY)
    assert "authorization" not in headers


def test_a_large_prompt_arrives_whole_however_slowly_it_is_read(sender: Sender) -> None:
    body = b'{"a":"' + bytes(range(32, 127)).replace(b'"', b"").replace(b"\\", b"") * 30_000 + b'"}'
    seen = []

    def play(connection: Connection) -> None:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        while request := connection.read():
            seen.append(request[2])
            connection.say(OK)

    with RawServer(play) as server:
        for _ in range(2):
            sender.send(a_lease(server.base), a_request("/embeddings", body))
        assert server.accepted == 1
    assert seen == [body, body]


def test_a_refusal_may_come_before_the_whole_request_was_read(sender: Sender) -> None:
    refused, over = threading.Event(), threading.Event()

    def play(connection: Connection) -> None:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.sock.recv(1_000)
        connection.say(http_reply(b"{}", status="413 Too Large"))
        refused.wait(30)
        with contextlib.suppress(ConnectionResetError):
            while connection.sock.recv(65_536):  # as servers do, lest the reply be lost
                pass
        over.set()

    with RawServer(play) as server:
        for _ in range(2):
            refused.clear()
            over.clear()
            assert sender.send(a_lease(server.base), a_request(body=b" " * 9_000_000)).status == 413
            refused.set()
            while not over.is_set():  # the connection is closed
                sender.loop.run_until_complete(asyncio.sleep(0.01))
        assert server.accepted == 2


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("GET", None, None), ("DELETE", None, "0"), ("POST", None, "0"), ("PATCH", b"{}", "2")],
)
def test_other_exchanges_say_their_length_where_they_must(
    sender: Sender, method: Method, body: bytes | None, length: str | None
) -> None:
    seen = []

    def play(connection: Connection) -> None:
        seen.append(connection.read())
        connection.say(OK)

    with RawServer(play) as server:
        asked = HttpExchange(method=method, path="/files", query={"a b": "c&d"}, body=body)
        assert sender.run(asked, a_lease(server.base)).status == 200
    [(first, headers, sent)] = seen
    assert first == f"{method} /v1/files?a+b=c%26d HTTP/1.1"
    assert headers.get("content-length") == length
    assert body is None or headers["content-type"] == "application/json"
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["accept"] == "application/json"
    assert headers["accept-encoding"].startswith("gzip, deflate")
    assert sent == (body or b"")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (("Accept", "audio/mpeg"), {"accept": "audio/mpeg"}),
        (("authorization", "Bearer of somebody"), {"authorization": "Bearer " + "".join(CANARY)}),
        (("CONTENT-TYPE", "text/plain"), {"content-type": "application/json"}),
        (("X-Word", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"), {"x-word": "caf\xc3\xa9"}),
        (("Host", "name.example"), {"host": "name.example"}),
        (("Content-Length", "1"), {"content-length": "24"}),
    ],
)
def test_a_caller_may_ask_for_headers_but_not_for_ours(
    sender: Sender, given: tuple[str, str], sent: dict[str, str]
) -> None:
    seen = []

    def play(connection: Connection) -> None:
        head = connection._until(b"\r\n\r\n") or b""
        seen.append(head.decode("latin-1").split("\r\n")[1:])
        connection.say(OK)

    with RawServer(play) as server:
        asked = HttpExchange(method="POST", path="/files", body=BODY, headers=(given,))
        assert sender.run(asked, a_lease(server.base)).status == 200
    [lines] = seen
    named = [line.partition(": ")[0].lower() for line in lines]
    assert len(named) == len(set(named))
    found = dict(zip(named, (line.partition(": ")[2] for line in lines), strict=True))
    assert {name: found[name] for name in sent} == sent


@pytest.mark.parametrize(
    "header",
    [("X-A", "b\r\nX-Evil: c"), ("X-A\r\nX-Evil", "c"), ("X A", "b"), ("", "b"), ("X-A", "b\0")],
)
def test_what_is_no_header_is_unsent(sender: Sender, header: tuple[str, str]) -> None:
    with RawServer(answer_all) as server:
        asked = HttpExchange(method="POST", path="/files", body=BODY, headers=(header,))
        with pytest.raises(SendFault) as caught:
            sender.run(asked, a_lease(server.base))
        assert server.accepted == 0
    assert (caught.value.kind, caught.value.phase) == ("unsent", "request")
    assert "Evil" not in str(caught.value)


def test_tls_is_spoken_on_connections_that_are_kept(sender: Sender) -> None:
    authority = trustme.CA()
    context, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    authority.configure_trust(trusting)
    sender.options["tls"] = trusting
    body = b"x" * 1_000_000
    with RawServer(lambda c: _answer_all_with(c, body), tls=context) as server:
        for base in (server.base, server.base, server.base.replace("127.0.0.1", "localhost")):
            assert sender.send(a_lease(base), a_request(body=body)).body == body
        assert server.accepted == 2


# --- what comes back -------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["400 Bad Request", "401 No", "429 Slow", "500 Oh", "529 Full"])
def test_a_whole_reply_of_any_status_is_returned(sender: Sender, status: str) -> None:
    def play(connection: Connection) -> None:
        connection.read()
        connection.say(http_reply(b"{}", status=status, extra="Retry-After: 3\r\n"))

    with RawServer(play) as server:
        reply = sender.send(a_lease(server.base))
        assert server.accepted == 1
    assert (reply.status, reply.body) == (int(status[:3]), b"{}")
    assert reply.headers["retry-after"] == "3"
    assert all(name == name.lower() for name in reply.headers)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_returned_and_not_followed(sender: Sender, status: int) -> None:
    def play(connection: Connection) -> None:
        while connection.read():
            extra = f"Location: {server.base}/elsewhere\r\n"
            connection.say(http_reply(b"", status=f"{status} Away", extra=extra))

    with RawServer(play) as server:
        assert sender.send(a_lease(server.base)).status == status
        assert server.accepted == 1


def test_cookies_are_not_kept(sender: Sender) -> None:
    seen = []

    def play(connection: Connection) -> None:
        while request := connection.read():
            seen.append(request[1])
            connection.say(http_reply(b"{}", extra="Set-Cookie: a=b; Path=/\r\n"))

    with RawServer(play) as server:
        by_name = server.base.replace("127.0.0.1", "localhost")  # addresses never get cookies
        for _ in range(2):
            sender.send(a_lease(by_name))
    assert len(seen) == 2
    assert not any("cookie" in headers for headers in seen)


def test_gzip_is_undone(sender: Sender) -> None:
    def play(connection: Connection) -> None:
        connection.read()
        connection.say(http_reply(gzip.compress(OK_BODY), extra="Content-Encoding: gzip\r\n"))

    with RawServer(play) as server:
        assert sender.send(a_lease(server.base)).body == OK_BODY


def test_a_large_body_arrives_whole(sender: Sender) -> None:
    large = b"x" * 3_000_000

    def play(connection: Connection) -> None:
        connection.read()
        connection.say(http_reply(large))

    with RawServer(play) as server:
        assert sender.send(a_lease(server.base)).body == large


@pytest.mark.parametrize(
    "extra", [f"X-Debug: {'d' * 200_000}\r\n", "".join(f"X-{n}: v\r\n" for n in range(500))]
)
def test_long_headers_are_read(sender: Sender, extra: str) -> None:
    def play(connection: Connection) -> None:
        connection.read()
        connection.say(http_reply(OK_BODY, extra=extra))

    with RawServer(play) as server:
        assert sender.send(a_lease(server.base)).body == OK_BODY


@pytest.mark.parametrize("extra", [f"X-Debug: {'d' * 300_000}\r\n", "X-\0-Y: Z\r\n"])
def test_a_reply_whose_headers_cannot_be_read_is_told_as_such(sender: Sender, extra: str) -> None:
    def play(connection: Connection) -> None:
        connection.read()
        connection.say(http_reply(OK_BODY, extra=extra))

    with RawServer(play) as server:
        fault = sender.fault(a_lease(server.base))
    assert (fault.kind, fault.phase) == ("unknown", "head")
    assert "its headers are malformed or longer than 262,144 bytes" in str(fault)


# --- never sent ------------------------------------------------------------------------------


def test_a_refused_connection_is_unsent(sender: Sender) -> None:
    port = free_port()
    fault = sender.fault(a_lease(f"http://127.0.0.1:{port}/v1"))
    assert (fault.kind, fault.phase) == ("unsent", "connect")
    assert f"127.0.0.1:{port}" in str(fault)


def test_an_unknown_host_is_unsent(sender: Sender) -> None:
    fault = sender.fault(a_lease("http://name.invalid/v1"))
    assert (fault.kind, fault.phase) == ("unsent", "dns")
    assert "name.invalid" in str(fault)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems queue differently")
def test_a_connection_that_is_never_accepted_is_unsent(sender: Sender) -> None:
    with deaf_address() as base:
        fault = sender.fault(a_lease(base), timeout_s=0.4)
    assert (fault.kind, fault.phase) == ("unsent", "connect")


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_a_certificate_that_nobody_vouches_for_is_unsent(sender: Sender) -> None:
    with RawServer(answer_all, tls=server_tls()) as server:
        fault = sender.fault(a_lease(server.base))
    assert (fault.kind, fault.phase) == ("unsent", "tls")
    assert "certificate is not trusted" in str(fault)


def test_a_server_that_speaks_no_tls_is_unsent(sender: Sender) -> None:
    def play(connection: Connection) -> None:
        connection.sock.recv(1000)
        connection.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with RawServer(play) as server:
        fault = sender.fault(a_lease(server.base.replace("http:", "https:")))
    assert (fault.kind, fault.phase) == ("unsent", "tls")


@pytest.mark.parametrize("end", [Connection.reset, lambda connection: None])
def test_a_connection_lost_during_the_tls_handshake_is_unsent(
    sender: Sender, end: Callable[[Connection], None]
) -> None:
    def play(connection: Connection) -> None:
        connection.sock.recv(1000)
        end(connection)

    with RawServer(play) as server:
        fault = sender.fault(a_lease(server.base.replace("http:", "https:")))
    assert fault.kind == "unsent"


def test_a_tls_handshake_that_never_ends_is_unsent(sender: Sender) -> None:
    with RawServer(lambda connection: _ignore(connection.stop.wait(10))) as server:
        fault = sender.fault(a_lease(server.base.replace("http:", "https:")), timeout_s=0.4)
    assert fault.kind == "unsent"


def test_a_key_that_no_header_can_carry_is_unsent(sender: Sender) -> None:
    with RawServer(answer_all) as server:
        fault = sender.fault(a_lease(server.base, key="".join(CANARY) + "\n"))
        assert server.accepted == 0
    assert (fault.kind, fault.phase) == ("unsent", "request")


def test_an_address_that_is_none_is_unsent(sender: Sender) -> None:
    fault = sender.fault(a_lease("http://:::/v1"))
    assert (fault.kind, fault.phase) == ("unsent", "request")


# --- maybe billed ----------------------------------------------------------------------------


def cut_at_length(connection: Connection) -> None:
    connection.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")


def cut_in_chunk(connection: Connection) -> None:
    connection.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf")


def cut_between_chunks(connection: Connection) -> None:
    connection.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")


def cut_gzip(connection: Connection) -> None:
    junk = http_reply(b"this is no gzip", extra="Content-Encoding: gzip\r\n")
    connection.say(junk)


def reset_in_body(connection: Connection) -> None:
    cut_at_length(connection)
    connection.reset()


def reset_before_reply(connection: Connection) -> None:
    connection.reset()


def close_before_reply(connection: Connection) -> None:
    del connection


def speak_no_http(connection: Connection) -> None:
    connection.say(b"SSH-2.0 hello\r\n\r\n")


def cut_head(connection: Connection) -> None:
    connection.say(b"HTTP/1.1 200 OK\r\ncontent-le")


LOSSES = [
    (cut_at_length, {"body"}),
    (cut_in_chunk, {"body"}),
    (cut_between_chunks, {"body"}),
    (cut_gzip, {"body"}),
    (reset_in_body, {"body", "read"}),
    (reset_before_reply, {"read"}),
    (close_before_reply, {"read"}),
    (speak_no_http, {"read"}),
    (cut_head, {"read"}),
]


@pytest.mark.parametrize(("lose", "phases"), LOSSES, ids=[lose.__name__ for lose, _ in LOSSES])
def test_a_reply_lost_on_the_way_is_unknown_and_not_asked_for_again(
    sender: Sender, lose: Callable[[Connection], None], phases: set[str]
) -> None:
    requests = []

    def play(connection: Connection) -> None:
        requests.append(connection.read())
        lose(connection)

    with RawServer(play) as server:
        fault = sender.fault(a_lease(server.base))
    assert fault.kind == "unknown"
    assert fault.phase in phases
    assert len(requests) == 1


def never_answer(connection: Connection) -> None:
    connection.read()
    connection.stop.wait(10)


def drip(connection: Connection) -> None:
    connection.read()
    connection.say(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while not connection.stop.wait(0.05):
        connection.say(b"x")


def drip_headers(connection: Connection) -> None:
    connection.read()
    connection.say(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while not connection.stop.wait(0.05):
        connection.say(b"x")


@pytest.mark.parametrize("stall", [never_answer, drip, drip_headers])
def test_the_deadline_bounds_the_whole_request(
    sender: Sender, stall: Callable[[Connection], None]
) -> None:
    def play(connection: Connection) -> None:
        connection.read()
        connection.say(OK)
        stall(connection)

    with RawServer(play) as server:
        sender.send(a_lease(server.base))  # connecting is over, however slow the machine is
        fault = sender.fault(a_lease(server.base), timeout_s=0.4)
    assert (fault.kind, fault.phase) == ("unknown", "deadline")


def test_a_lost_reply_is_told_with_the_id_that_the_provider_knows(sender: Sender) -> None:
    ids = []

    def play(connection: Connection) -> None:
        request = connection.read()
        assert request
        ids.append(request[1]["x-client-request-id"])

    with RawServer(play) as server:
        fault = sender.fault(a_lease(server.base))
    assert ids[0] in str(fault)


# --- kept connections ------------------------------------------------------------------------


def test_a_connection_is_used_again(sender: Sender) -> None:
    with RawServer(answer_all) as server:
        for _ in range(3):
            sender.send(a_lease(server.base))
        assert server.accepted == 1


def test_a_kept_connection_that_was_seen_to_close_is_not_used(sender: Sender) -> None:
    def play(connection: Connection) -> None:
        connection.read()
        connection.say(OK)

    with RawServer(play) as server:
        sender.send(a_lease(server.base))
        for thread in server._threads:
            thread.join(30)
        sender.loop.run_until_complete(asyncio.sleep(0.1))
        assert sender.send(a_lease(server.base)).status == 200
        assert server.accepted == 2


@pytest.mark.parametrize("end", [Connection.reset, lambda connection: None])
def test_a_kept_connection_that_closes_on_a_request_is_unknown_and_sent_once(
    sender: Sender, end: Callable[[Connection], None]
) -> None:
    """The server may have read and billed it: nothing on the wire tells."""
    requests = []

    def play(connection: Connection) -> None:
        requests.append(connection.read())
        connection.say(OK)
        requests.append(connection.read())
        end(connection)

    with RawServer(play) as server:
        sender.send(a_lease(server.base))
        fault = sender.fault(a_lease(server.base))
        assert server.accepted == 1
    assert (fault.kind, fault.phase) == ("unknown", "read")
    assert len(requests) == 2


async def send_all(sender: Sender, base: str, count: int) -> list[int]:
    sends = (
        sender.transport.send(a_request(), a_lease(base, id=n), timeout_s=40) for n in range(count)
    )
    return [reply.status for reply in await asyncio.gather(*sends)]


class Remembering(RawServer):
    """Answers; once told so, resets requests on the connections that it has, unread or read."""

    def __init__(self) -> None:
        super().__init__(self._serve_one)
        self.forgotten = 0
        #: The number of the connection of each request.
        self.seen: list[int] = []
        self.resets = 0

    def _serve_one(self, connection: Connection) -> None:
        number = self.accepted
        while connection.read():
            self.seen.append(number)
            if number <= self.forgotten:
                self.resets += 1
                connection.reset()
                return
            connection.stop.wait(0.05)  # so that others need connections of their own
            connection.say(OK)


def test_after_a_reset_the_next_attempt_of_a_call_takes_a_fresh_connection(sender: Sender) -> None:
    async def call(base: str) -> int:
        with pytest.raises(SendFault):
            await sender.transport.send(a_request(), a_lease(base), timeout_s=40)
        server.forgotten = 0  # the others would be good again, but nobody knows
        return (await sender.transport.send(a_request(), a_lease(base), timeout_s=40)).status

    with Remembering() as server:
        assert sender.loop.run_until_complete(send_all(sender, server.base, 3)) == [200] * 3
        server.forgotten = 3
        ending = contextvars.Context().run(sender.loop.run_until_complete, call(server.base))
        assert ending == 200
        assert server.seen[-1] == server.accepted == 4


def test_one_reset_of_a_kept_connection_ends_the_other_idle_ones(sender: Sender) -> None:
    with Remembering() as server:
        sender.loop.run_until_complete(send_all(sender, server.base, 10))
        server.forgotten = server.accepted
        assert sender.fault(a_lease(server.base)).kind == "unknown"
        assert sender.loop.run_until_complete(send_all(sender, server.base, 10)) == [200] * 10
        assert (server.resets, server.accepted) == (1, 20)


def test_the_connection_that_was_used_last_is_used_next(sender: Sender) -> None:
    with Remembering() as server:
        sender.loop.run_until_complete(send_all(sender, server.base, 3))
        for _ in range(4):
            sender.send(a_lease(server.base))
        assert len(set(server.seen[-4:])) == 1


def test_a_connection_that_idles_is_closed_before_servers_close_it(sender: Sender) -> None:
    hung_up = []

    def play(connection: Connection) -> None:
        connection.read()
        connection.say(OK)
        hung_up.append(connection.wait_for_close())

    sender.options = {"idle_s": 0.1}
    with RawServer(play) as server:
        sender.send(a_lease(server.base))
        sender.loop.run_until_complete(asyncio.sleep(0.4))
        server._threads[0].join(5)
    assert hung_up == [True]


@pytest.mark.parametrize(
    ("header", "connections"),
    [
        ("Keep-Alive: timeout=0", 2),
        ("Keep-Alive: max=100, Timeout=0", 2),
        ("keep-alive: timeout=60", 1),
        ("Keep-Alive: timeout=soon", 1),
    ],
)
def test_a_server_may_say_how_long_a_connection_is_kept(
    sender: Sender, header: str, connections: int
) -> None:
    def play(connection: Connection) -> None:
        while connection.read():
            connection.say(http_reply(OK_BODY, extra=f"{header}\r\n"))

    with RawServer(play) as server:
        for _ in range(2):
            sender.send(a_lease(server.base))
        assert server.accepted == connections


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells what has arrived")
@pytest.mark.parametrize(
    ("reads", "resets", "is_unreached"),
    [(False, False, True), (True, False, False), (False, True, False), (True, True, False)],
)
@pytest.mark.parametrize("kind", [AiohttpConnection, Http1Connection])
def test_a_request_that_met_the_orderly_end_of_its_connection_is_known_to_be_unread(
    sender: Sender,
    kind: type[AiohttpConnection | Http1Connection],
    reads: bool,
    resets: bool,
    is_unreached: bool,
) -> None:
    """From a reset, and from an end after the request arrived, nothing can be told."""
    may_end, ended = threading.Event(), threading.Event()

    def play(connection: Connection) -> None:
        may_end.wait(30)
        if reads:
            connection.read()
        if resets:
            connection.reset()
        connection.sock.close()
        ended.set()

    async def meet_the_end(server: RawServer) -> bool:
        loop = asyncio.get_running_loop()
        made = functools.partial(kind, loop)
        transport, kept = await loop.create_connection(made, "127.0.0.1", server.port)
        assert kept.hand_out_again(1.0)
        if not reads:  # it ends between the last look and the request
            may_end.set()
            assert ended.wait(30)
        transport.write(b"POST /v1 HTTP/1.1\r\n\r\n")
        may_end.set()
        with contextlib.suppress(aiohttp.ClientConnectionError):
            await kept.closed
        return kept.is_unreached

    with RawServer(play) as server:
        assert sender.loop.run_until_complete(meet_the_end(server)) is is_unreached


def test_a_connection_that_was_seen_to_end_is_not_handed_out_again(sender: Sender) -> None:
    def play(connection: Connection) -> None:
        connection.read()
        connection.say(OK)

    with RawServer(play) as server:
        sender.send(a_lease(server.base))
        for thread in server._threads:
            thread.join(30)
        time.sleep(0.02)  # and nobody has run the loop since
        assert sender.send(a_lease(server.base)).status == 200
        assert server.accepted == 2


# --- many, and stopped -----------------------------------------------------------------------


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Room for both ends of a thousand connections, which the usual limit is too low for."""
    resource = pytest.importorskip("resource")
    wanted = 4096
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"no more than {hard} files may be open")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_requests_are_in_flight_at_once(sender: Sender) -> None:
    wanted = 1000
    arrived = threading.Barrier(wanted)

    def play(connection: Connection) -> None:
        connection.read()
        arrived.wait(60)
        connection.say(OK)

    async def all_at_once(base: str) -> list[RawReply]:
        sends = (
            sender.transport.send(a_request(), a_lease(base, id=n), timeout_s=60)
            for n in range(wanted)
        )
        return await asyncio.gather(*sends)

    with RawServer(play) as server:
        replies = sender.loop.run_until_complete(all_at_once(server.base))
    assert {reply.status for reply in replies} == {200}


def test_a_cancelled_send_closes_its_connection(sender: Sender) -> None:
    is_in = threading.Event()
    hung_up = []

    def play(connection: Connection) -> None:
        connection.read()
        is_in.set()
        hung_up.append(connection.wait_for_close())

    async def cancel_one(base: str) -> None:
        sending = asyncio.ensure_future(
            sender.transport.send(a_request(), a_lease(base), timeout_s=60)
        )
        await asyncio.get_running_loop().run_in_executor(None, is_in.wait, 40)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    with RawServer(play) as server:
        sender.loop.run_until_complete(cancel_one(server.base))
        for thread in server._threads:
            thread.join(5)
    assert hung_up == [True]


def test_closing_ends_what_is_idle_and_what_is_under_way(sender: Sender) -> None:
    is_in, hung_up = threading.Event(), []

    def play(connection: Connection) -> None:
        connection.read()
        connection.say(OK)
        if connection.read():
            is_in.set()
        hung_up.append(connection.wait_for_close())

    async def close_one(base: str) -> SendFault:
        sends = [
            asyncio.ensure_future(sender.transport.send(a_request(), a_lease(base), timeout_s=60))
            for _ in range(2)
        ]
        await asyncio.gather(*sends)
        waiting = asyncio.ensure_future(
            sender.transport.send(a_request(), a_lease(base), timeout_s=60)
        )
        await asyncio.get_running_loop().run_in_executor(None, is_in.wait, 40)
        await sender.transport.close()
        with pytest.raises(SendFault) as caught:
            await waiting
        return caught.value

    with RawServer(play) as server:
        closing = close_one(server.base)
        fault = contextvars.Context().run(sender.loop.run_until_complete, closing)
        for thread in server._threads:
            thread.join(5)
        assert server.accepted == 2
    assert fault.kind == "unknown"
    assert hung_up == [True, True]


# --- proxies and trust -----------------------------------------------------------------------


def test_an_environment_proxy_is_not_used_for_loopback(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ForwardProxy() as proxy, RawServer(answer_all) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert sender.send(a_lease(server.base)).status == 200
        assert proxy.asked == []


def test_an_environment_proxy_is_used_for_everything_else(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ForwardProxy(credentials="me:pa ss") as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:pa%20ss@127.0.0.1:{proxy.port}")
        assert sender.send(a_lease("http://name.invalid/v1")).status == 200
        [(first, _)] = proxy.asked
    assert first == "POST http://name.invalid/v1/chat/completions HTTP/1.1"


def test_an_explicit_proxy_carries_tls_with_credentials(sender: Sender) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with ForwardProxy(credentials="me:secret") as proxy, RawServer(answer_all, tls=context) as end:
        sender.options = {
            "proxy": Secret(f"http://me:secret@127.0.0.1:{proxy.port}"),
            "tls": trusting,
        }
        assert sender.send(a_lease(end.base)).status == 200
        [(first, given)] = proxy.asked
    assert first == f"CONNECT 127.0.0.1:{end.port} HTTP/1.1"
    assert given


@pytest.mark.parametrize("base", ["http://name.invalid/v1", "https://name.invalid/v1"])
def test_a_proxy_that_refuses_is_unsent_and_its_password_is_not_shown(
    sender: Sender, base: str
) -> None:
    with ForwardProxy(credentials="me:right") as proxy:
        sender.options = {"proxy": Secret(f"http://me:{''.join(CANARY)}@127.0.0.1:{proxy.port}")}
        fault = sender.fault(a_lease(base))
    assert (fault.kind, fault.phase) == ("unsent", "proxy")
    assert f"http://me:[password]@127.0.0.1:{proxy.port}" in str(fault)
    assert "407" in str(fault)


def test_a_proxy_that_hangs_up_is_unsent(sender: Sender) -> None:
    with RawServer(lambda connection: _ignore(connection.read())) as proxy:
        sender.options = {"proxy": Secret(f"http://127.0.0.1:{proxy.port}")}
        fault = sender.fault(a_lease("https://name.invalid/v1"))
    assert fault.kind == "unsent"


def test_a_proxy_that_is_not_there_is_unsent(sender: Sender) -> None:
    sender.options = {"proxy": Secret(f"http://127.0.0.1:{free_port()}")}
    fault = sender.fault(a_lease("https://name.invalid/v1"))
    assert (fault.kind, fault.phase) == ("unsent", "proxy")


def _answer_all_with(connection: Connection, body: bytes) -> None:
    while connection.read():
        connection.say(http_reply(body))


def _ignore(_: object) -> None:
    """End a lambda that returns nothing."""
