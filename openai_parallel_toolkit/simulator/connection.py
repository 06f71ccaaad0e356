"""One client's connection: requests in, replies out, one at a time."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

from .delivery import deliver
from .http1 import MalformedRequest, RequestParser, reply_bytes
from .refusals import error_reply
from .service import Plan, Service

#: SO_LINGER on, zero seconds: closing sends RST instead of FIN.
_LINGER = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """The server's end of a connection; a Wire for deliveries. Lives in the event loop's thread."""

    def __init__(self, service: Service, open_connections: set[Connection]) -> None:
        self._service = service
        self._open_connections = open_connections
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser()
        self._plan: Plan | None = None
        self._keeps_alive = True
        #: Written whole, but not yet taken by the kernel.
        self._is_draining = False
        self._is_closing = False
        self._bytes_sent = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)
        # Any byte that the kernel does not take at once pauses, so that `resume_writing` tells
        # when a reply is out.
        self._transport.set_write_buffer_limits(high=0)
        self._open_connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Read on; a further request waits until the reply before it is written."""
        self._parser.feed(data)
        self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Note that the client is gone."""
        self._is_closing = True
        self._open_connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._leave(client_closed=True)

    def resume_writing(self) -> None:
        """Note that all that was written is out."""
        if self._is_draining:
            self._end_reply()

    def abort(self) -> None:
        """Break off, because the server stops."""
        self._leave(client_closed=False)
        self._transport.abort()

    def send(self, data: bytes) -> None:
        """Write bytes."""
        self._bytes_sent += len(data)
        self._transport.write(data)

    def finish(self) -> None:
        """Go on to the next request as soon as the reply is out."""
        if self._transport.get_write_buffer_size():
            self._is_draining = True
        else:
            self._end_reply()

    def close(self) -> None:
        """Close once all is sent."""
        self._leave(client_closed=False)
        self._is_closing = True
        self._transport.close()

    def reset(self) -> None:
        """Break the connection with an RST."""
        self._leave(client_closed=False)
        self._is_closing = True
        peer = self._transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        self._transport.abort()

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do something after a while, unless the connection is gone by then."""
        self._timer = self._loop.call_later(delay_s, action)

    def _read_on(self) -> None:
        while self._plan is None and not self._is_closing:
            try:
                request = self._parser.next_request()
            except MalformedRequest as exc:
                self.send(reply_bytes(error_reply(400, f"Not HTTP: {exc}.")))
                self.close()
                return
            if request is None:
                if self._parser.wants_continue():
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            self._keeps_alive = request.keeps_alive
            self._begin(self._service.handle(request))

    def _begin(self, plan: Plan) -> None:
        if self._timer is not None:
            # The connection was to be closed as idle; it is not idle any more.
            self._timer.cancel()
        self._plan, self._bytes_sent = plan, 0
        if plan.delay_s > 0:
            self.later(plan.delay_s, lambda: deliver(self, plan.reply, plan.fault))
        else:
            deliver(self, plan.reply, plan.fault)

    def _end_reply(self) -> None:
        self._leave(client_closed=False)
        if not self._keeps_alive:
            self.close()
        elif self._parser.has_bytes:
            self._loop.call_soon(self._read_on)

    def _leave(self, *, client_closed: bool) -> None:
        plan, self._plan, self._is_draining = self._plan, None, False
        if plan is not None:
            self._service.leave(plan.row, bytes_sent=self._bytes_sent, client_closed=client_closed)
