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

#: At one that was idle for less nobody looks: no server that is trusted ends it so soon.
_BUSY_S = 0.01
_TOLD_IDLE = re.compile(r"(?:^|[\s,;])timeout=\"?(\d{1,9})", re.IGNORECASE)
#: Where `struct tcp_info` has tcpi_bytes_acked: what the other side has received of what was sent.
#: Source: https://github.com/torvalds/linux/blob/master/include/uapi/linux/tcp.h (read 2026-11).
_ACKED = struct.Struct("120xQ")
#: What a poll tells of a connection that the other side has ended or reset, or has spoken on.
_STIRRED = sum(getattr(select, name, 0) for name in ("POLLIN", "POLLRDHUP", "POLLHUP"))
_SPOKEN = getattr(select, "POLLIN", -1)


class KeptConnection:
    """What both kinds of connection know of being kept, and whether a request reached the server.

    Mixed into an `asyncio.Protocol`.
    """

    transport: asyncio.Transport | None

    def __init__(self) -> None:
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

    @property
    def can_carry_more(self) -> bool:
        """Whether it is open, and what came last leaves it open."""
        raise NotImplementedError

    @property
    def holds_more(self) -> bool:
        """Whether more than the reply that was asked for has come."""
        raise NotImplementedError

    def expire(self) -> None:
        """End what is under way on it because it took too long."""
        raise NotImplementedError

    def close(self) -> None:
        """End it at once."""
        raise NotImplementedError

    def hand_out_again(self, idle_s: float) -> bool:
        """Get ready for another request; False: it was idle for too long, ended, or spoke."""
        if not self.can_carry_more or idle_s > self.idle_s:
            return False
        is_busy = idle_s < _BUSY_S
        if not (is_busy and self._is_trusted) and _stirred(self.transport):
            return False
        self._arrived = None if is_busy else _arrived_bytes(self.transport)
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
        found, option = _socket_of(self.transport), getattr(socket, "TCP_QUICKACK", None)
        if found is not None and option is not None:
            # Or what the server says next may wait at its side for the next request to go out.
            with contextlib.suppress(OSError):
                found.setsockopt(socket.IPPROTO_TCP, option, 1)

    def has_spoken_first(self) -> bool:
        """Return whether something came on a new one before anything was asked."""
        if self.when_unasked is not None or self.transport is None:
            return False
        # Over TLS, servers send tickets by themselves.
        is_plain = not self.transport.get_extra_info("sslcontext")
        return self.holds_more or (is_plain and _stirred(self.transport) == _SPOKEN)

    def end_unasked(self) -> None:
        """End it, for something came that nobody asked for."""
        if self.when_unasked is not None:
            self.when_unasked()
        self.close()

    def note_keep_alive(self, header: str) -> None:
        """Be idle no longer than half of what the server's Keep-Alive header says."""
        told = _TOLD_IDLE.search(header)
        if told is not None:
            self.idle_s = int(told[1]) / 2

    def note_orderly_end(self) -> None:
        """Compare what had arrived with what has by the server's orderly end."""
        arrived = self._arrived
        self.is_unreached = arrived is not None and _arrived_bytes(self.transport) == arrived


def _stirred(transport: asyncio.Transport | None) -> int:
    """Return what a poll tells now; 0: nothing."""
    found = _socket_of(transport)
    if found is None or not _STIRRED:
        return 0
    with contextlib.suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(found.fileno(), _STIRRED)
        return next((events for _, events in poll.poll(0)), 0)
    return 0


def _arrived_bytes(transport: asyncio.Transport | None) -> int | None:
    found = _socket_of(transport)
    option = getattr(socket, "TCP_INFO", None)
    if found is None or option is None:
        return None
    with contextlib.suppress(OSError, struct.error):
        told = found.getsockopt(socket.IPPROTO_TCP, option, _ACKED.size)
        return int(_ACKED.unpack(told)[0])
    return None


def _socket_of(transport: asyncio.Transport | None) -> socket.socket | None:
    return None if transport is None else transport.get_extra_info("socket")
