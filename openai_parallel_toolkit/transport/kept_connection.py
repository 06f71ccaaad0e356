"""One kept connection: how long it may be idle, and whether a request on it arrived.

Whether a server read a request before it closed a kept connection cannot be told from a reset.
It can be told from an orderly end: the end carries how much the server's system had received by
then, and the server reads nothing after it (RFC 9112, 9.6). Linux tells that number. Where it says
that no byte of the request had arrived, the request is unsent.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import select
import socket
import struct

from aiohttp.client_proto import ResponseHandler

#: One that was idle for less is handed out without a look: no server ends it so soon.
_BUSY_S = 0.01
_TOLD_IDLE = re.compile(r"(?:^|[\s,;])timeout=\"?(\d{1,9})", re.IGNORECASE)
#: Where `struct tcp_info` has tcpi_bytes_acked: what the other side has received of what was sent.
#: Source: https://github.com/torvalds/linux/blob/master/include/uapi/linux/tcp.h (read 2026-11).
_ACKED = struct.Struct("120xQ")
#: What a poll tells of a connection that the other side has ended or reset.
_ENDED = getattr(select, "POLLRDHUP", 0) | getattr(select, "POLLHUP", 0)


class KeptConnection(ResponseHandler):
    """One connection: what the server said of keeping it, and whether a request reached it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        #: Seconds that it may be idle.
        self.idle_s = math.inf
        #: Whether the server ended it before a byte of the present request had arrived.
        self.is_unreached = False
        #: Bytes that had arrived when it was handed out again; None: not known, or it is new.
        self._arrived: int | None = None

    def hand_out_again(self, idle_s: float) -> bool:
        """Get ready for another request; False: it was idle for too long, or seen to end."""
        if idle_s > self.idle_s:
            return False
        is_busy = idle_s < _BUSY_S
        self._arrived = None if is_busy else _arrived_bytes(self)
        return is_busy or not _is_ended(self)

    def note_keep_alive(self, header: str) -> None:
        """Be idle no longer than half of what the server's Keep-Alive header says."""
        told = _TOLD_IDLE.search(header)
        if told is not None:
            self.idle_s = int(told[1]) / 2

    def eof_received(self) -> None:
        """Compare what had arrived with what has by the server's orderly end."""
        self.is_unreached = self._arrived is not None and _arrived_bytes(self) == self._arrived
        super().eof_received()


def _is_ended(connection: ResponseHandler) -> bool:
    found = _socket_of(connection)
    if found is None or not _ENDED:
        return False
    with contextlib.suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(found.fileno(), _ENDED)
        return bool(poll.poll(0))
    return False


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
