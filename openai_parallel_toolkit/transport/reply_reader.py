"""Read the replies of one connection of HTTP/1.1, strictly; without a network.

A reply is whole when its framing says so, and never otherwise. What comes after it is no reply.
"""

from __future__ import annotations

import zlib
from typing import NoReturn

from httptools import (
    HttpParserError,
    HttpParserInvalidStatusError,
    HttpParserUpgrade,
    HttpResponseParser,
)

from ..core.records import RawReply
from .exchange_failures import (
    BARREN_BYTES,
    HEADER_BYTES,
    HEADERS,
    REFUSAL_BYTES,
    ExchangeFailed,
    bad_head,
    barren,
    cut_body,
    hung_up,
    too_large,
)
from .unpacker import Unpacker

#: Those that decide where a reply ends and how it is unpacked: with two there are two answers.
_ONCE = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_VERSIONS = frozenset({"1.0", "1.1"})
_SWITCHING, _OK, _MULTIPLE, _NO_BODY = 101, 200, 300, (204, 304)
_LINE_ENDS = b"\r\n"


class ReplyReader:
    """Reads one reply after another, each once it was told to expect it.

    Its methods that begin with `on_` are the parser's to call.
    """

    def __init__(self) -> None:
        self._status = 0
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        # Some servers write sizes of one width; it changes nothing of what is read.
        self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
        #: Whether more than what was expected came.
        self.holds_more = False
        #: Whether another reply can follow.
        self.is_reusable = True
        self._is_whole = True

    def expect(self, most_bytes: int) -> None:
        """Get ready for one reply of at most so many bytes, unpacked."""
        self._most_bytes = most_bytes
        self._failed: ExchangeFailed | None = None
        self._status = 0
        self._headers: dict[str, str] = {}
        self._header_count = self._line_bytes = self._barren_bytes = 0
        self._is_http = self._is_in_body = self._is_whole = False
        self._is_chunked = self._ends_with_connection = False
        self._unpacker: Unpacker | None = None
        #: Of the body: the last piece as it came; and all, unpacked.
        self._last = b""
        self._body: bytes | bytearray = b""

    @property
    def has_head(self) -> bool:
        """Whether the headers of the reply that is expected have come."""
        return self._status >= _OK

    def feed(self, data: bytes) -> bool:
        """Take what came; return whether the reply is whole.

        Raises:
            ExchangeFailed: it will never be.
        """
        if self._is_whole or self._parser is None:
            self.holds_more, self.is_reusable = True, False
            return True
        count, self._last = self._header_count, b""
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as exc:
            self.is_reusable = False
            if not self._is_whole:
                raise self._failed or self._failure_of(exc) from None
        if self._is_whole:
            self.is_reusable = self.is_reusable and self._ends_with(data)
            return True
        self._line_bytes = 0 if count != self._header_count else self._line_bytes + len(data)
        self._barren_bytes = 0 if self._last else self._barren_bytes + len(data)
        if self._line_bytes > HEADER_BYTES and not self._is_in_body:
            raise bad_head()
        if self._barren_bytes > BARREN_BYTES:
            raise barren()
        return False

    def end(self) -> None:
        """Take the end of the connection, which may be that of the reply as well.

        Raises:
            ExchangeFailed: it is not.
        """
        self.is_reusable = False
        if not self._is_in_body:
            raise hung_up()
        if not self._ends_with_connection:
            raise cut_body()
        self._finish()
        if self._failed is not None:
            raise self._failed

    def reply(self) -> RawReply:
        """Return the reply, once it is whole; of a refusal the beginning."""
        body, self._body = bytes(self._body), b""
        return RawReply(status=self._status, headers=self._headers, body=body[: self._most_bytes])

    def release(self) -> None:
        """Read nothing any more: it and its parser would hold each other."""
        self._parser = None

    # --- what the parser calls ---------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_whole:
            self.holds_more = True
            raise HttpParserError

    def on_status(self, _: bytes) -> None:
        self._is_http = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        if self._header_count > HEADERS or len(name) + len(value) > HEADER_BYTES:
            self._fail(bad_head())
        if self._is_in_body:  # it stands behind the last chunk
            return
        key = name.decode("latin-1").lower()
        if key in _ONCE and key in self._headers:
            self._fail(bad_head())
        self._headers[key] = value.decode("utf-8", "surrogateescape").strip(" \t")

    def on_headers_complete(self) -> None:
        parser, headers = self._parser, self._headers
        assert parser is not None
        self._status = status = parser.get_status_code()
        self._is_http = True
        if status < _OK:
            return
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        self._is_chunked = coding is not None
        if parser.get_http_version() not in _VERSIONS or (
            coding is not None and coding.lower() != "chunked"
        ):
            self._fail(bad_head())
        self._ends_with_connection = coding is None and length is None and status not in _NO_BODY
        if not self._is_success():
            self._most_bytes = min(self._most_bytes, REFUSAL_BYTES)
        elif length is not None and status not in _NO_BODY and int(length) > self._most_bytes:
            self._fail(too_large(self._most_bytes))
        encoding = headers.get("content-encoding", "").lower()
        self._unpacker = Unpacker(encoding) if encoding in Unpacker.encodings else None
        self._is_in_body = True

    def on_body(self, piece: bytes) -> None:
        self._last = piece
        if self._unpacker is not None:
            try:
                piece = self._unpacker.unpack(piece, self._most_bytes - len(self._body))
            except zlib.error:
                self._fail(cut_body())
        if not self._body:
            self._body = piece
        elif isinstance(self._body, bytearray):
            self._body += piece
        else:
            self._body = bytearray(self._body + piece)
        if len(self._body) <= self._most_bytes:
            return
        if self._is_success():
            self._fail(too_large(self._most_bytes))
        self._is_whole = True  # as far as anybody wants it
        raise HttpParserError

    def on_message_complete(self) -> None:
        if self._status >= _OK:
            self._finish()
        elif self._status == _SWITCHING:
            self._fail(bad_head())
        else:
            self._headers = {}
            self._is_http = False

    # --- the rest ----------------------------------------------------------------------------

    def _finish(self) -> None:
        assert self._parser is not None
        if self._unpacker is not None and not self._unpacker.is_whole:
            self._fail(cut_body())
        self.is_reusable = self._parser.should_keep_alive() and not self._ends_with_connection
        self._is_whole = True

    def _fail(self, failed: ExchangeFailed) -> NoReturn:
        self._failed = failed
        raise failed

    def _failure_of(self, exc: Exception) -> ExchangeFailed:
        if self._is_in_body:
            return cut_body()
        if not self._is_http or isinstance(exc, HttpParserInvalidStatusError):
            return ExchangeFailed("read", "it does not speak HTTP/1.1")
        return bad_head()

    def _is_success(self) -> bool:
        return _OK <= self._status < _MULTIPLE

    def _ends_with(self, data: bytes) -> bool:
        """Return whether it is sure that the reply ended where these bytes do.

        The parser passes over line ends that follow a reply.
        """
        if self._is_chunked:
            return data.endswith(b"0\r\n\r\n")
        if self._last:
            return data.endswith(self._last) and not self._last.isspace()
        return data.endswith(b"\r\n\r\n") and data[-5] not in _LINE_ENDS
