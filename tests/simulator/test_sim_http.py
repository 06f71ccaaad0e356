"""The simulator's HTTP."""

import hashlib
import json
import socket
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_wire import ask, chat_body, connect, raw_request, read_to_end

from openai_parallel_toolkit.simulator import SimKey, Simulator


@pytest.fixture(scope="module")
def sim():
    with Simulator([SimKey("good")]) as simulator:
        yield simulator


def test_pipelined_requests_are_answered_in_order(sim):
    bodies = [chat_body(f"Number {number}") for number in range(20)]
    last = raw_request(bodies[-1]).replace(b"Host:", b"Connection: close\r\nHost:")
    stream = b"".join(raw_request(body) for body in bodies[:-1]) + last
    with connect(sim) as sock:
        for start in range(0, len(stream), 100):
            sock.sendall(stream[start : start + 100])
        got, _ = read_to_end(sock)
    replies = [json.loads(part.partition(b"\r\n\r\n")[2]) for part in got.split(b"HTTP/1.1 ")[1:]]
    texts = [reply["choices"][0]["message"]["content"] for reply in replies]
    assert texts == [f"Number {number}" for number in range(20)]


def test_a_client_may_ask_before_it_sends_the_body(sim):
    body = chat_body()
    head, _, _ = raw_request(body).partition(b"\r\n\r\n")
    with connect(sim) as sock:
        sock.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert sock.recv(100).startswith(b"HTTP/1.1 200")


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\nAuthorization: Bearer sim-good\r\n"
LAST = b"GET /v1/models HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "stream",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01 hello\r\n\r\n",
        HEAD + b"no colon\r\n\r\n",
        HEAD + b"Content-Length: -5\r\n\r\n" + chat_body(),
        CHUNKED + b"\r\nzz\r\n",
        CHUNKED + b"\r\n-5\r\n",
        CHUNKED + b"\r\n%x\r\n%bxyz" % (len(chat_body()), chat_body()),
        b"x" * 70_000,
    ],
)
def test_what_is_no_http_gets_a_400_and_the_end_and_costs_nothing(sim, stream, caplog):
    before = sim.ledger.hits()
    with connect(sim) as sock:
        sock.sendall(stream)
        got, _ = read_to_end(sock)
    assert got.split()[1] == b"400"
    assert sim.ledger.hits() == before
    assert not caplog.records


@pytest.mark.parametrize("part", [b"", b"5\r\nhel", b"zz\r\n"])
def test_a_body_that_does_not_come_whole_costs_nothing(sim, part, caplog):
    before = sim.ledger.hits()
    with connect(sim) as sock:
        sock.sendall(CHUNKED + b"Expect: 100-continue\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(part)
    assert ask(sim).status == 200
    assert sim.ledger.hits() == before + 1
    assert not caplog.records


@given(
    st.lists(st.binary(max_size=30), min_size=1, max_size=3),
    st.sets(st.integers(0, 400)),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_requests_are_the_same_however_the_bytes_are_split(sim, bodies, cuts, is_chunked):
    def encode(body):
        if not is_chunked:
            return raw_request(body)
        pieces = [b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:]) if part]
        return CHUNKED + b"\r\n" + b"".join(pieces) + b"0\r\n\r\n"

    stream = b"".join(encode(body) for body in bodies) + LAST
    cuts = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    before = sim.ledger.hits()
    with connect(sim) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in pairwise(cuts):
            sock.sendall(stream[start:end])
        read_to_end(sock)
    seen = [row.payload for row in sim.ledger.rows()[before:]]
    assert seen == [hashlib.sha256(body).hexdigest() for body in bodies]


def test_a_large_body_goes_through(sim):
    with connect(sim) as sock:
        sock.sendall(raw_request(chat_body("word " * 1_000_000)))
        assert sock.recv(100).startswith(b"HTTP/1.1 400")
