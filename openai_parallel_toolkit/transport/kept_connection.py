"""One kept connection: what came on it unasked or too late, and whether a request on it arrived.

Whether a server read a request before it closed a kept connection cannot be told from a reset.
It can be told from an orderly end: the end carries how much the server's system had received by
then, and the server reads nothing after it (RFC 9112, 9.6). Linux tells that number. Where it says
that no byte of the request had arrived, the request is unsent.

What comes while nothing is asked is nobody's answer, and would be taken for the next one's: such a
connection is not used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import select
import socket
import struct
from collections.abc import Callable

from aiohttp.client_proto import ResponseHandler

from .reply_body import ReplyTooLarge

#: At one that was idle for less nobody looks: no server that is trusted ends it so soon.
_BUSY_S = 0.01
#: Bytes in a row of which nothing is part of a reply's body: heads, ends of chunks, empty blocks.
_MOST_BARREN_BYTES = 1_048_576
#: What is granted to a silent server once more, for a process that was stopped meanwhile.
_LAST_LOOK_S = 0.25
_TOLD_IDLE = re.compile(r"(?:^|[\s,;])timeout=\"?(\d{1,9})", re.IGNORECASE)
#: Where `struct tcp_info` has tcpi_bytes_acked: what the other side has received of what was sent.
#: Source: https://github.com/torvalds/linux/blob/master/include/uapi/linux/tcp.h (read 2026-11).
_ACKED = struct.Struct("120xQ")
#: What a poll tells of a connection that the other side has ended or reset, or has spoken on.
_STIRRED = sum(getattr(select, name, 0) for name in ("POLLIN", "POLLRDHUP", "POLLHUP"))
_SPOKEN = getattr(select, "POLLIN", -1)


class KeptConnection(ResponseHandler):
    """One connection: what the server said of keeping it, and whether a request reached it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        #: Seconds that it may be idle.
        self.idle_s = math.inf
        #: Whether the server ended it before a byte of the present request had arrived.
        self.is_unreached = False
        #: Whether it waits for a request, and what is called when something comes meanwhile.
        self.is_idle = False
        self.when_unasked: Callable[[], None] | None = None
        self._is_trusted = False
        #: Whether anything has come since somebody last set it to False.
        self.was_fed = False
        #: Bytes that had arrived when it was handed out again; None: not known, or it is new.
        self._arrived: int | None = None
        #: Of the body, when bytes last brought any of it; and how many came since.
        self._body_bytes = 0
        self._barren_bytes = 0
        self._has_looked_again = False

    def hand_out_again(self, idle_s: float) -> bool:
        """Get ready for another request; False: it was idle for too long, ended, or spoke."""
        if not self.is_connected() or self.should_close or idle_s > self.idle_s:
            return False
        is_busy = idle_s < _BUSY_S
        if not (is_busy and self._is_trusted) and _stirred(self):
            return False
        self._arrived = None if is_busy else _arrived_bytes(self)
        self._barren_bytes = 0
        self.is_idle = False
        return True

    def rest(self, *, is_trusted: bool) -> None:
        """Wait for a request.

        Args:
            is_trusted: whether the server was seen to say nothing then.
        """
        self.is_idle, self._is_trusted = True, is_trusted
        if is_trusted:
            return
        found, option = _socket_of(self), getattr(socket, "TCP_QUICKACK", None)
        if found is not None and option is not None:
            # Or what the server says next may wait at its side for the next request to go out.
            with contextlib.suppress(OSError):
                found.setsockopt(socket.IPPROTO_TCP, option, 1)

    @property
    def holds_more(self) -> bool:
        """Whether more than the reply that was asked for has come."""
        return bool(self._buffer or self._tail)

    def has_spoken_first(self) -> bool:
        """Return whether something came on a new one before anything was asked."""
        if self.when_unasked is not None or self.transport is None:
            return False
        # Over TLS, servers send tickets by themselves.
        is_plain = not self.transport.get_extra_info("sslcontext")
        return self.holds_more or (is_plain and _stirred(self) == _SPOKEN)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless nobody asked for it or it brings nothing and has no end."""
        self.was_fed, self._has_looked_again = True, False
        is_unasked = self.is_idle and bool(data)
        if not is_unasked:
            super().data_received(data)
            self._count_barren(len(data))
            is_unasked = self.is_idle and self.holds_more
        if is_unasked:
            if self.when_unasked is not None:
                self.when_unasked()
            self.close()

    def expire(self) -> None:
        """End what is under way on it because it took too long."""
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
        if self._barren_bytes > _MOST_BARREN_BYTES:
            told = f"more than {_MOST_BARREN_BYTES:,} bytes came that are no part of its body"
            self.set_exception(ReplyTooLarge(told))
            if payload is not None:
                payload.set_exception(ReplyTooLarge(told))
            self._hang_up()

    def _hang_up(self) -> None:
        if self.transport is not None:  # `abort` would forget the exception
            self.transport.abort()

    def note_keep_alive(self, header: str) -> None:
        """Be idle no longer than half of what the server's Keep-Alive header says."""
        told = _TOLD_IDLE.search(header)
        if told is not None:
            self.idle_s = int(told[1]) / 2

    def eof_received(self) -> None:
        """Compare what had arrived with what has by the server's orderly end."""
        self.is_unreached = self._arrived is not None and _arrived_bytes(self) == self._arrived
        super().eof_received()


def _stirred(connection: ResponseHandler) -> int:
    """Return what a poll tells now; 0: nothing."""
    found = _socket_of(connection)
    if found is None or not _STIRRED:
        return 0
    with contextlib.suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(found.fileno(), _STIRRED)
        return next((events for _, events in poll.poll(0)), 0)
    return 0


def _arrived_bytes(connection: ResponseHandler) -> int | None:
    found = _socket_of(connection)
    option = getattr(socket, "TCP_INFO", None)
    if found is None or option is None:
        return None
    with contextlib.suppress(OSError, struct.error):
        told = found.getsockopt(socket.IPPROTO_TCP, option, _ACKED.size)
        return int(_ACKED.unpack(told)[0])
    return None


def _socket_of(connection: ResponseHandler) -> socket.socket | None:
    transport = connection.transport
    return None if transport is None else transport.get_extra_info("socket")
