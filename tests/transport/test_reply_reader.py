"""A reply is what its framing says, however its bytes come, and nothing else ever is."""

from __future__ import annotations

import gzip
import http.client
import io
import itertools
import zlib
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openai_parallel_toolkit.core.records import RawReply
from openai_parallel_toolkit.transport.exchange_failures import ExchangeFailed
from openai_parallel_toolkit.transport.reply_reader import ReplyReader

START = b"HTTP/1.1 200 OK\r\n"
LENGTH = START + b"content-length: 5\r\n\r\n"
CHUNKED = START + b"transfer-encoding: chunked\r\n\r\n"
BODY = b'{"a": "a text of some length", "b": [1, 2, 3]}'


def read(
    pieces: Iterable[bytes], *, ends: bool = True, most_bytes: int = 1_000_000
) -> tuple[RawReply | str, ReplyReader]:
    """Return the reply, or the phase in which it was lost ("": it is not over), and the reader."""
    reader = ReplyReader()
    reader.expect(most_bytes)
    try:
        for piece in pieces:
            if reader.feed(piece):
                return reader.reply(), reader
        if ends:
            reader.end()
            return reader.reply(), reader
    except ExchangeFailed as failed:
        return failed.phase, reader
    return "", reader


def split(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


def framed(body: bytes, extra: bytes = b"") -> list[bytes]:
    """The same body in each framing."""
    half = len(body) // 2
    chunks = b"".join(
        b"%X;a=b\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:])
    )
    return [
        START + extra + b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
        START + extra + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n",
        START + extra + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nx-sum: 1\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        + START
        + extra
        + b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
        b"HTTP/1.0 200 OK\r\n" + extra + b"\r\n" + body,
    ]


PACKED = {
    b"": lambda body: body,
    b"Content-Encoding: gzip\r\n": gzip.compress,
    b"Content-Encoding: GZIP\r\nX: gzip in two parts\r\n": lambda body: (
        gzip.compress(body[:7]) + gzip.compress(body[7:])
    ),
    b"Content-Encoding: deflate\r\n": zlib.compress,
    b"Content-Encoding: deflate\r\nX: bare\r\n": lambda body: zlib.compress(body, wbits=-15),
}
GOOD = [reply for extra, pack in PACKED.items() for reply in framed(pack(BODY), extra)]
WITH_AN_END = [reply for reply in GOOD if not reply.startswith(b"HTTP/1.0")]
PLACES = st.lists(st.integers(0, 400), max_size=12)


@given(data=st.sampled_from(GOOD), places=PLACES)
@settings(max_examples=150, deadline=None)
def test_however_a_reply_is_cut_into_pieces_it_is_the_same(data: bytes, places: list[int]) -> None:
    reply, _ = read(split(data, places))
    assert isinstance(reply, RawReply)
    assert (reply.status, reply.body) == (200, BODY)
    assert "link" not in reply.headers
    assert "x-sum" not in reply.headers


@pytest.mark.parametrize("data", GOOD)
def test_a_reply_that_comes_byte_by_byte_is_the_same(data: bytes) -> None:
    reply, _ = read(data[n : n + 1] for n in range(len(data)))
    assert isinstance(reply, RawReply)
    assert reply.body == BODY


@pytest.mark.parametrize("data", WITH_AN_END)
def test_a_reply_that_is_cut_short_anywhere_is_none(data: bytes) -> None:
    for length in range(len(data)):
        ended, _ = read([data[:length]])
        assert ended in {"read", "body"}


@pytest.mark.parametrize("data", [GOOD[9], GOOD[19]])
def test_what_is_packed_and_ends_with_the_connection_is_whole_or_none(data: bytes) -> None:
    for length in range(data.index(b"\r\n\r\n") + 5, len(data)):
        assert read([data[:length]])[0] == "body"


@given(
    data=st.sampled_from(WITH_AN_END),
    more=st.binary(min_size=1, max_size=8) | st.sampled_from([b"\r", b"\n", b"\r\n", *GOOD]),
    places=PLACES,
)
@settings(max_examples=150, deadline=None)
@example(data=GOOD[0], more=b"\r\n", places=[])
def test_what_follows_a_reply_is_none_and_ends_the_connection(
    data: bytes, more: bytes, places: list[int]
) -> None:
    pieces = iter(split(data + more, places))
    reply, reader = read(pieces, ends=False)
    assert isinstance(reply, RawReply)
    assert reply.body == BODY
    for piece in pieces:
        reader.feed(piece)
        assert reader.holds_more
    assert not reader.is_reusable


class Tape(io.BytesIO):
    """Lets the standard library read what was recorded."""

    def makefile(self, *_: object) -> Tape:
        return self


def judged(data: bytes) -> tuple[int, bytes] | None:
    """What the standard library makes of a reply; it is more lenient than we are."""
    found = http.client.HTTPResponse(Tape(data))  # type: ignore[arg-type]
    try:
        found.begin()
        return found.status, found.read()
    except (http.client.HTTPException, ValueError, OSError):
        return None


FRAGMENTS = [
    b"\r\n",
    b"\n",
    b"\0",
    b" ",
    b"-",
    b"+5",
    b"0",
    b"ffffffffffffffff",
    b"content-length: 3\r\n",
    b"transfer-encoding: chunked\r\n",
    b"connection: close\r\n",
    b"HTTP/1.1 200 OK\r\n",
]


@given(
    data=st.sampled_from([reply for reply in GOOD if b"Encoding: gzip" not in reply]),
    changes=st.lists(
        st.tuples(
            st.integers(0, 400),
            st.integers(0, 9),
            st.sampled_from(FRAGMENTS) | st.binary(max_size=3),
        ),
        min_size=1,
        max_size=3,
    ),
    places=PLACES,
)
@settings(max_examples=300, deadline=None)
def test_a_damaged_reply_is_none_or_what_its_bytes_say(
    data: bytes, changes: list[tuple[int, int, bytes]], places: list[int]
) -> None:
    for number, length, put in changes:
        place = number % len(data)
        data = data[:place] + put + data[place + length :]
    ended, _ = read([data])
    again, _ = read(split(data, places))
    if not isinstance(ended, RawReply):
        assert ended in {"read", "head", "body", "size"}
        assert not isinstance(again, RawReply)
        return
    assert again == ended
    if "content-encoding" not in ended.headers and ended.status >= 200 and b"1.1 10" not in data:
        assert judged(data.lstrip(b"\r\n")) == (ended.status, ended.body)


REFUSED = {
    "two lengths": START + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "other lengths": START + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "a list": START + b"content-length: 5, 5\r\n\r\nhello",
    "length and chunks": START
    + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunks and length": START
    + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "negative": START + b"content-length: -5\r\n\r\nhello",
    "plus": START + b"content-length: +5\r\n\r\nhello",
    "hex": START + b"content-length: 0x5\r\n\r\nhello",
    "underscore": START + b"content-length: 1_0\r\n\r\nhello",
    "spaced": START + b"content-length: 5 5\r\n\r\nhello",
    "empty": START + b"content-length:\r\n\r\nhello",
    "huge": START + b"content-length: 99999999999999999999999\r\n\r\nhello",
    "space before the colon": START + b"content-length : 5\r\n\r\nhello",
    "no colon": START + b"content-length 5\r\n\r\nhello",
    "folded": START + b"x: a\r\n b\r\ncontent-length: 5\r\n\r\nhello",
    "folded length": START + b"content-length:\r\n 5\r\n\r\nhello",
    "NUL in a value": START + b"x: a\0b\r\ncontent-length: 5\r\n\r\nhello",
    "NUL in a name": START + b"x\0: b\r\ncontent-length: 5\r\n\r\nhello",
    "bare LFs": b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
    "a bare CR": START + b"x: a\rcontent-length: 5\r\n\r\nhello",
    "gzip, then chunks": START + b"transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "gzip, then chunks, apart": START
    + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "identity": START + b"transfer-encoding: identity\r\n\r\nhello",
    "nearly chunked": START + b"transfer-encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "another protocol": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    "another protocol, without saying which": b"HTTP/1.1 101 Switching\r\n\r\n" + LENGTH + b"hello",
    "two encodings": START
    + b"content-encoding: gzip\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello",
    "a line of 300,000 bytes": START + b"x: " + b"y" * 300_000 + b"\r\n\r\n",
    "a line without end": START + b"x: " + b"y" * 300_000,
    "a name without end": START + b"y" * 300_000,
    "1,001 headers": START + b"x: y\r\n" * 1_001 + b"content-length: 5\r\n\r\nhello",
    "not HTTP": b"SSH-2.0 hello\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\ncontent-length: 5\r\n\r\nhello",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\ncontent-length: 5\r\n\r\nhello",
    "a status below all": b"HTTP/1.1 099 OK\r\ncontent-length: 5\r\n\r\nhello",
    "a negative chunk": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "a chunk with a plus": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "a chunk of 0x5": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than told": CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n",
    "a chunk shorter than told": CHUNKED + b"6\r\nhello\r\n0\r\n\r\n",
    "a chunk that ends with a bare LF": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "a chunk beyond numbers": CHUNKED + b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "no gzip": START + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello",
    "more after deflate": START
    + b"content-encoding: deflate\r\n\r\n"
    + zlib.compress(b"hello")
    + b"more",
}
PHASES = {
    **{name: "read" for name in REFUSED if "a status" in name or name == "not HTTP"},
    **{name: "body" for name in REFUSED if "a chunk" in name or "deflate" in name},
    "a negative chunk": "body",
    "no gzip": "body",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_reply_whose_end_is_in_doubt_is_none(name: str) -> None:
    data = REFUSED[name]
    assert read([data])[0] == PHASES.get(name, "head")
    assert not isinstance(read(data[n : n + 7] for n in range(0, len(data), 7))[0], RawReply)


@pytest.mark.parametrize(
    ("data", "body", "is_reusable"),
    [
        (LENGTH + b"hello", b"hello", True),
        (CHUNKED + b"5  \r\nhello\r\n0\r\n\r\n", b"hello", True),
        (START + b"content-length: 0\r\n\r\n", b"", True),
        (START + b"content-length:  5 \r\n\r\nhello", b"hello", True),
        (b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello", b"hello", True),
        (START + b"connection: close\r\ncontent-length: 5\r\n\r\nhello", b"hello", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello", False),
        (b"HTTP/1.1 204 None\r\n\r\n", b"", True),
        (b"HTTP/1.1 204 None\r\ncontent-length: 5\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Same\r\ncontent-length: 5\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Same\r\ncontent-encoding: gzip\r\n\r\n", b"", True),
        (START + b"content-encoding: gzip\r\ncontent-length: 0\r\n\r\n", b"", True),
        (START + b"content-encoding: br\r\ncontent-length: 5\r\n\r\nhello", b"hello", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 30 + LENGTH + b"hello", b"hello", True),
    ],
)
def test_a_reply_tells_whether_another_can_follow(
    data: bytes, body: bytes, is_reusable: bool
) -> None:
    reply, reader = read([data], ends=False)
    assert isinstance(reply, RawReply)
    assert (reply.body, reader.is_reusable, reader.holds_more) == (body, is_reusable, False)
    if is_reusable:  # and another does
        reader.expect(100)
        assert reader.feed(LENGTH + b"again")
        assert reader.reply().body == b"again"


def test_headers_are_told_by_their_small_names_the_last_of_two_counts() -> None:
    extra = b"X-Two:  first\r\nx-two: second \t\r\nX-Word: caf\xc3\xa9 \xff\r\n"
    reply, _ = read([START + extra + b"Content-Length: 0\r\n\r\n"])
    assert isinstance(reply, RawReply)
    assert reply.headers == {
        "x-two": "second",
        "x-word": "caf\N{LATIN SMALL LETTER E WITH ACUTE} \udcff",
        "content-length": "0",
    }


def test_of_a_refusal_no_more_than_the_beginning_is_read() -> None:
    data = b"HTTP/1.1 500 Oh\r\ncontent-length: 5000000\r\n\r\n" + b"x" * 1_000_001
    reply, reader = read([data], ends=False, most_bytes=64_000_000)
    assert isinstance(reply, RawReply)
    assert (reply.status, len(reply.body), reader.is_reusable) == (500, 1_000_000, False)


def test_a_body_of_many_small_pieces_takes_its_own_size_and_little_more() -> None:
    import tracemalloc

    piece = b"1\r\nx\r\n" * 1_000
    reader = ReplyReader()
    reader.expect(10_000_000)
    reader.feed(CHUNKED)
    tracemalloc.start()
    for _ in range(100):
        reader.feed(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400_000
