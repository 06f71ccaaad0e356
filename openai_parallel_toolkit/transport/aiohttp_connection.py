"""aiohttp's connection, which takes nothing that nobody asked for and nothing without end."""

from __future__ import annotations

import asyncio

from aiohttp.client_proto import ResponseHandler

from .exchange_failures import BARREN_BYTES, barren
from .kept_connection import KeptConnection

#: What is granted to a silent server once more, for a process that was stopped meanwhile.
_LAST_LOOK_S = 0.25


class AiohttpConnection(ResponseHandler, KeptConnection):
    """One connection of aiohttp's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        ResponseHandler.__init__(self, loop)
        KeptConnection.__init__(self)
        #: Of the body, when bytes last brought any of it; and how many came since.
        self._body_bytes = 0
        self._barren_bytes = 0
        self._has_looked_again = False

    @property
    def can_carry_more(self) -> bool:
        """As `KeptConnection` says."""
        return self.is_connected() and not self.should_close

    @property
    def holds_more(self) -> bool:
        """As `KeptConnection` says."""
        return bool(self._buffer or self._tail)

    def hand_out_again(self, idle_s: float) -> bool:
        """As `KeptConnection` says."""
        self._barren_bytes = 0
        return super().hand_out_again(idle_s)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless nobody asked for it or it brings nothing and has no end."""
        self.was_fed, self._has_looked_again = True, False
        is_unasked = self.is_idle and bool(data)
        if not is_unasked:
            super().data_received(data)
            self._count_barren(len(data))
            is_unasked = self.is_idle and self.holds_more
        if is_unasked:
            self.end_unasked()

    def expire(self) -> None:
        """As `KeptConnection` says."""
        super()._on_read_timeout()
        self._hang_up()

    def _on_read_timeout(self) -> None:
        """A process that was stopped finds its time over before it sees what has come."""
        if self._has_looked_again:
            super()._on_read_timeout()
            return
        self._has_looked_again = True
        self._read_timeout_handle = self._loop.call_later(_LAST_LOOK_S, self._on_read_timeout)

    def _count_barren(self, size_bytes: int) -> None:
        payload = self._payload
        body_bytes = 0 if payload is None else payload.total_bytes
        if body_bytes != self._body_bytes:
            self._body_bytes, self._barren_bytes = body_bytes, 0
            return
        self._barren_bytes += size_bytes
        if self._barren_bytes > BARREN_BYTES:
            failed = barren()
            self.set_exception(failed)
            if payload is not None:
                payload.set_exception(failed)
            self._hang_up()

    def _hang_up(self) -> None:
        if self.transport is not None:  # `abort` would forget the exception
            self.transport.abort()

    def eof_received(self) -> None:
        """Look how much of the request had arrived."""
        self.note_orderly_end()
        super().eof_received()
