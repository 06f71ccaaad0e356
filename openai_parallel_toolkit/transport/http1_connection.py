"""One connection of HTTP/1.1, on which one request at a time goes out and its reply comes back."""

from __future__ import annotations

import asyncio
from typing import TypeAlias, cast

from ..core.records import RawReply
from .exchange_failures import ExchangeFailed, cut_body, hung_up
from .kept_connection import KeptConnection
from .reply_deadline import ReplyDeadline
from .reply_reader import ReplyReader

#: A request is written in pieces of so many bytes, as fast as the system takes them.
_PIECE_BYTES = 262_144

#: How an exchange on a connection ended.
Ended: TypeAlias = RawReply | Exception


class Http1Connection(KeptConnection, asyncio.Protocol):
    """Carries requests one after another."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self.transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._deadline = ReplyDeadline(loop, lambda: self)
        #: What is told how the present exchange ended; None: there is none.
        self._asker: asyncio.Future[Ended] | None = None
        self._unwritten = memoryview(b"")
        self._may_write = True
        #: Done when it is closed.
        self.closed: asyncio.Future[None] = loop.create_future()

    @property
    def can_carry_more(self) -> bool:
        """As `KeptConnection` says."""
        transport = self.transport
        is_open = transport is not None and not transport.is_closing()
        return is_open and self._reader.is_reusable and not self._unwritten

    @property
    def holds_more(self) -> bool:
        """As `KeptConnection` says."""
        return self._reader.holds_more

    def ask(self, request: bytes, most_bytes: int, due_s: float) -> asyncio.Future[Ended]:
        """Send a request; the future tells how it ended.

        Args:
            most_bytes: the largest reply that is taken, unpacked.
            due_s: when it ends with a TimeoutError, by the loop's time.
        """
        self._asker = asker = self._loop.create_future()
        transport = self.transport
        if transport is None or transport.is_closing():
            self._end(hung_up())
            return asker
        self._reader.expect(most_bytes)
        self._deadline.begin(due_s)
        if len(request) <= _PIECE_BYTES:
            transport.write(request)
        else:
            self._unwritten = memoryview(request)
            self._write()
        return asker

    def _write(self) -> None:
        while self._unwritten and self._may_write and self.transport is not None:
            piece = self._unwritten[:_PIECE_BYTES]
            self._unwritten = self._unwritten[_PIECE_BYTES:]
            self.transport.write(piece)

    def expire(self) -> None:
        """As `KeptConnection` says."""
        self._end(asyncio.TimeoutError())
        self.close()

    def close(self) -> None:
        """As `KeptConnection` says."""
        if self.transport is not None:
            self.transport.abort()

    # --- what the loop calls -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._write()

    def data_received(self, data: bytes) -> None:
        self.was_fed = True
        asker = self._asker
        try:
            is_whole = self._reader.feed(data)
        except ExchangeFailed as failed:
            self._end(failed)
            self.close()
            return
        if asker is None:
            self.end_unasked()
        elif is_whole:
            self._end(self._reader.reply())

    def eof_received(self) -> None:
        self.note_orderly_end()
        if self._asker is not None:
            try:
                self._reader.end()
            except ExchangeFailed as failed:
                self._end(failed)
            else:
                self._end(self._reader.reply())

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(cut_body() if self._reader.has_head else exc or hung_up())
        self.transport = None
        self._unwritten = memoryview(b"")
        self._reader.release()
        self._deadline.close()
        if not self.closed.done():
            self.closed.set_result(None)

    def _end(self, ended: Ended) -> None:
        asker, self._asker = self._asker, None
        self._deadline.end()
        if asker is not None and not asker.done():
            asker.set_result(ended)
