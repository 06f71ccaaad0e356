"""The simulator's HTTP."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_wire import chat_body, connect, raw_request, read_to_end

from openai_parallel_toolkit.simulator import SimKey, Simulator
from openai_parallel_toolkit.simulator.http1 import MalformedRequest, RequestParser, chunk_bytes


def parse(stream, cuts=()):
    parser, requests, start = RequestParser(), [], 0
    for end in [*sorted(cuts), len(stream)]:
        parser.feed(stream[start:end])
        start = max(start, end)
        while (request := parser.next_request()) is not None:
            requests.append(request)
    return requests


def chunked(*pieces):
    head = b"POST /a%20b?x=1&y=2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(chunk_bytes(piece) for piece in pieces) + b"0\r\n\r\n"


@given(
    st.lists(st.binary(max_size=30), min_size=1, max_size=3),
    st.sets(st.integers(0, 400)),
    st.booleans(),
)
def test_requests_are_the_same_however_the_bytes_are_split(bodies, cuts, is_chunked):
    def encode(body):
        if not is_chunked:
            return raw_request(body)
        return chunked(*[piece for piece in (body[:7], body[7:]) if piece])

    stream = b"".join(encode(body) for body in bodies)
    cuts = {cut for cut in cuts if cut < len(stream)}
    assert [request.body for request in parse(stream, cuts)] == bodies


def test_a_request_is_read_into_its_parts():
    (request,) = parse(chunked(b"x"))
    assert (request.method, request.path, request.query) == (
        "POST",
        "/a b",
        {"x": "1", "y": "2"},
    )


@pytest.mark.parametrize(
    "stream",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz",
        b"x" * 70_000,
    ],
)
def test_what_is_no_http_is_refused(stream):
    with pytest.raises(MalformedRequest):
        parse(stream)


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(stream):
    with contextlib.suppress(MalformedRequest):
        parse(stream)


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


def test_what_is_no_http_gets_a_400_and_the_end(sim):
    with connect(sim) as sock:
        sock.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        got, was_reset = read_to_end(sock)
    assert got.startswith(b"HTTP/1.1 400")
    assert not was_reset


def test_a_large_body_goes_through(sim):
    with connect(sim) as sock:
        sock.sendall(raw_request(chat_body("word " * 1_000_000)))
        assert sock.recv(100).startswith(b"HTTP/1.1 400")
