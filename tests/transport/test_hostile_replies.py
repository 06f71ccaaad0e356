"""A server may send what has no end, what nobody asked for, and what comes too late to be seen."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gzip
import json
import multiprocessing
import os
import queue
import signal
import time
import zlib
from collections.abc import Callable, Coroutine, Iterator
from multiprocessing.connection import Connection as Pipe
from typing import TypeVar

import pytest
from raw_server import OK_BODY, WAYS, Connection, RawServer, a_lease, a_request, http_reply

from openai_parallel_toolkit.core.records import RawReply
from openai_parallel_toolkit.transport import SendFault
from openai_parallel_toolkit.transport.http import HttpTransport

T = TypeVar("T")

LIMIT = 200_000
HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = f"{HEAD}transfer-encoding: chunked\r\n\r\n"


class Way:
    """One of the ways to send, on a loop of its own."""

    def __init__(self, name: str) -> None:
        self.transport, new_loop = WAYS[name]
        self.loop = new_loop()

    def run(self, work: Coroutine[object, object, T]) -> T:
        # No other test's exchange is the one before it.
        return contextvars.Context().run(self.loop.run_until_complete, work)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    way = Way(request.param)
    yield way
    way.loop.run_until_complete(way.loop.shutdown_default_executor())
    way.loop.close()


async def ended(transport: HttpTransport, base: str, body: bytes = b"{}") -> RawReply | SendFault:
    try:
        return await transport.send(a_request(body=body), a_lease(base), timeout_s=40)
    except SendFault as fault:
        return fault


def run(way: Way, base: str, **options: object) -> RawReply | SendFault:
    async def once() -> RawReply | SendFault:
        transport = way.transport(**options)
        try:
            return await ended(transport, base)
        finally:
            await transport.close()

    return way.run(once())


# --- what has no end -------------------------------------------------------------------------


def endlessly(start: str, more: bytes) -> Callable[[Connection], None]:
    def play(connection: Connection) -> None:
        connection.read()
        connection.say(start.encode())
        while True:  # until the client hangs up
            connection.say(more)

    return play


def at_once(reply: bytes) -> Callable[[Connection], None]:
    def play(connection: Connection) -> None:
        connection.read()
        connection.say(reply)
        connection.wait_for_close()

    return play


def packed(size_bytes: int, wbits: int = 31) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    block = b" " * 1_000_000
    parts = [packer.compress(block) for _ in range(size_bytes // len(block))]
    return b"".join([*parts, packer.flush()])


LARGE = [
    at_once(f"{HEAD}content-length: 1000000000\r\n\r\n".encode()),
    endlessly(CHUNKED, b"2710\r\n" + b" " * 10_000 + b"\r\n"),
    endlessly(f"{HEAD}\r\n", b" " * 10_000),
    at_once(http_reply(packed(5_000_000), extra="content-encoding: gzip\r\n")),
    at_once(http_reply(packed(5_000_000, 15), extra="content-encoding: deflate\r\n")),
    at_once(http_reply(packed(5_000_000, -15), extra="content-encoding: deflate\r\n")),
]
BARREN = [
    endlessly("HTTP/1.1 200 OK\r\n", b"x-a: " + b"b" * 50_000 + b"\r\n"),
    endlessly("", b"HTTP/1.1 100 Continue\r\nx: " + b"a" * 50_000 + b"\r\n\r\n"),
    endlessly(f"{CHUNKED}1\r\n \r\n0\r\n", b"x-a: " + b"b" * 50_000 + b"\r\n"),
    endlessly(f"{CHUNKED}1;", b"a=b;" * 10_000),
    endlessly(f"{CHUNKED}1;a=", b"0" * 40_000),
]


@pytest.mark.parametrize("play", LARGE)
def test_a_reply_that_is_too_large_unpacked_is_unknown_and_says_so(
    way: Way, play: Callable[[Connection], None]
) -> None:
    with RawServer(play) as server:
        fault = run(way, server.base, max_reply_bytes=LIMIT)
    assert isinstance(fault, SendFault)
    assert (fault.kind, fault.phase) == ("unknown", "size")
    assert "it is larger than 200,000 bytes; if it is meant to be, raise max_reply_bytes" in str(
        fault
    )


@pytest.mark.parametrize("play", BARREN)
def test_what_comes_without_end_and_is_no_body_is_not_read_for_ever(
    way: Way, play: Callable[[Connection], None]
) -> None:
    with RawServer(play) as server:
        fault = run(way, server.base)
    assert isinstance(fault, SendFault)
    assert (fault.kind, fault.phase) == ("unknown", "size")
    assert "no part of its body" in str(fault)


@pytest.mark.parametrize("play", LARGE[:4])
def test_of_a_refusal_the_beginning_is_read_and_its_status_counts(
    way: Way, play: Callable[[Connection], None]
) -> None:
    refusing = functools.partial(_refusing, play)
    with RawServer(refusing) as server:
        reply = run(way, server.base, max_reply_bytes=LIMIT)
    assert isinstance(reply, RawReply)
    assert (reply.status, len(reply.body)) == (401, LIMIT)


def _refusing(play: Callable[[Connection], None], connection: Connection) -> None:
    say = connection.say
    connection.say = lambda data: say(data.replace(b"200 OK", b"401 No"))  # type: ignore[method-assign]
    if play is LARGE[0]:
        play = endlessly(f"{HEAD}content-length: 1000000000\r\n\r\n", b" " * 10_000)
    play(connection)


def test_a_reply_of_the_largest_size_is_taken_whole(way: Way) -> None:
    body = b" " * LIMIT
    with RawServer(
        at_once(http_reply(gzip.compress(body), extra="content-encoding: gzip\r\n"))
    ) as server:
        reply = run(way, server.base, max_reply_bytes=LIMIT)
    assert isinstance(reply, RawReply)
    assert reply.body == body


def test_many_replies_of_one_size_on_one_connection_are_taken(
    way: Way,
) -> None:
    def play(connection: Connection) -> None:
        while connection.read():
            connection.say(http_reply(OK_BODY, extra=f"x-long: {'l' * 50_000}\r\n"))

    async def forty(base: str) -> list[RawReply | SendFault]:
        transport = way.transport(idle_s=60)
        try:
            return [await ended(transport, base) for _ in range(40)]
        finally:
            await transport.close()

    with RawServer(play) as server:
        replies = way.run(forty(server.base))
        assert [getattr(reply, "status", reply) for reply in replies] == [200] * 40
        assert server.accepted == 1


def _measure(pipe: Pipe, base: str, name: str) -> None:
    fault = run(Way(name), base)
    # Not ru_maxrss, which begins with what the process that started this one had in use.
    with open("/proc/self/status") as status:
        peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    pipe.send((str(fault), peak_kb // 1024))


@pytest.mark.parametrize(
    ("name", "is_packed"),
    [("the package's loop", False), ("the package's loop", True), ("aiohttp", True)],
)
def test_a_reply_of_a_gigabyte_takes_less_than_300_megabytes(
    request: pytest.FixtureRequest, name: str, is_packed: bool
) -> None:
    size_bytes = 1_000_000_000 if request.config.getoption("--full") else 100_000_000
    play = endlessly(CHUNKED, b"186A0\r\n" + b" " * 100_000 + b"\r\n")
    if is_packed:
        play = at_once(http_reply(packed(size_bytes), extra="content-encoding: gzip\r\n"))
    start = multiprocessing.get_context("spawn")
    ours, theirs = start.Pipe()
    with RawServer(play) as server:
        child = start.Process(target=_measure, args=(theirs, server.base, name))
        child.start()
        assert ours.poll(60)
        told, rss_mb = ours.recv()
        child.join(30)
    assert "larger than 64,000,000 bytes" in told
    assert rss_mb < 300


# --- what nobody asked for -------------------------------------------------------------------


def _extra_in_one(connection: Connection, reply: bytes) -> None:
    connection.say(reply + EXTRA)


def _extra_after(connection: Connection, reply: bytes) -> None:
    connection.say(reply)
    connection.say(EXTRA)


def _extra_late(connection: Connection, reply: bytes) -> None:
    connection.say(reply)
    time.sleep(0.005)
    connection.say(EXTRA)


def _extra_with_the_end(connection: Connection, reply: bytes) -> None:
    connection.say(reply[:-3])
    time.sleep(0.002)
    connection.say(reply[-3:] + EXTRA)


def _half_of_one(connection: Connection, reply: bytes) -> None:
    connection.say(reply)
    connection.say(EXTRA[:25])


EXTRA = http_reply(b'{"n":"of nobody"}')
LATER = (_extra_after, _extra_late)
EXTRAS = [_extra_in_one, _extra_after, _extra_late, _extra_with_the_end, _half_of_one]


@pytest.mark.parametrize("speak", EXTRAS)
@pytest.mark.parametrize("gap_s", [0.0, 0.01])
def test_an_unasked_reply_is_never_taken_for_the_next_calls(
    way: Way,
    speak: Callable[[Connection, bytes], None],
    gap_s: float,
) -> None:
    spoken: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def play(connection: Connection) -> None:
        while request := connection.read():
            speak(connection, http_reply(request[2]))
            spoken.put(True)

    async def twenty(base: str) -> list[bytes]:
        transport, bodies = way.transport(idle_s=60), []
        for n in range(20):
            reply = await ended(transport, base, json.dumps({"n": n}).encode())
            assert isinstance(reply, RawReply)
            bodies.append(json.loads(reply.body)["n"])
            # One that comes when the next request is out is like any other.
            if speak in LATER:
                await asyncio.to_thread(spoken.get, timeout=40)
            await asyncio.sleep(gap_s)
        await transport.close()
        return bodies

    with RawServer(play) as server:
        bodies = way.run(twenty(server.base))
    assert bodies == list(range(20))


def test_a_server_that_speaks_first_was_sent_nothing(way: Way) -> None:
    seen = []

    def play(connection: Connection) -> None:
        connection.say(EXTRA)
        seen.append(connection.read())

    async def after_a_look(base: str) -> RawReply | SendFault:
        transport = way.transport()
        try:
            return await ended(transport, base)
        finally:
            await transport.close()

    with RawServer(play) as server:
        fault = way.run(after_a_look(server.base))
        # It may speak a moment after the look: then the reply is taken.
        is_told = isinstance(fault, SendFault)
        if is_told:
            assert (fault.kind, fault.phase) == ("unsent", "connect")
            assert "speaks before it is asked" in str(fault)
    assert not is_told or seen in ([], [None])


# --- what comes while the process stands still ------------------------------------------------

CALLS = 8


def _ask_all(pipe: Pipe, base: str, name: str) -> None:
    way = Way(name)

    async def all_of_them() -> list[RawReply | SendFault]:
        transport = way.transport(idle_s=60)
        sends = (
            transport.send(a_request(), a_lease(base, id=n), timeout_s=1.0) for n in range(CALLS)
        )
        ends = await asyncio.gather(*sends, return_exceptions=True)
        await transport.close()
        return ends  # type: ignore[return-value]

    ends = way.run(all_of_them())
    pipe.send([str(getattr(end, "status", end)) for end in ends])


@pytest.mark.parametrize("name", WAYS)
def test_a_process_that_was_stopped_beyond_its_timeout_reads_the_answers_that_wait(
    name: str,
) -> None:
    may_answer = multiprocessing.Event()
    requests: list[object] = []
    answered: list[bool] = []

    def play(connection: Connection) -> None:
        while request := connection.read():
            requests.append(request)
            may_answer.wait(30)
            connection.say(http_reply(b" " * 2_000_000))
            answered.append(True)

    start = multiprocessing.get_context("spawn")
    ours, theirs = start.Pipe()
    with RawServer(play) as server:
        child = start.Process(target=_ask_all, args=(theirs, server.base, name))
        child.start()
        try:
            while len(requests) < CALLS:
                time.sleep(0.005)
            os.kill(child.pid or 0, signal.SIGSTOP)
            may_answer.set()
            time.sleep(1.3)
            os.kill(child.pid or 0, signal.SIGCONT)
            assert ours.poll(30)
            assert ours.recv() == ["200"] * CALLS
        finally:
            child.kill()
            child.join(30)
    assert len(requests) == CALLS
