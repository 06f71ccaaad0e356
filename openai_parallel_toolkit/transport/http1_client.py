"""Carry exchanges over connections of our own, to servers that are reached without a proxy."""

from __future__ import annotations

import asyncio
import errno
import functools
import socket
import ssl
import time
from collections import defaultdict, deque

from aiohappyeyeballs import start_connection

from ..core.records import RawReply
from .exchange_failures import NotConnected, SpokeFirst
from .http1_connection import Http1Connection
from .idle_connections import Idle, IdleConnections
from .name_lookup import NameLookup
from .request_head import RequestHead, Server
from .send_progress import SendProgress

#: After so many seconds without an answer the next of a server's addresses is tried as well.
#: Source: https://www.rfc-editor.org/rfc/rfc8305#section-8 (read 2026-11)
_NEXT_ADDRESS_S = 0.25


class Http1Client:
    """Connections to servers, each made when there is no idle one; belongs to one event loop."""

    def __init__(self, *, tls: ssl.SSLContext, idle_s: float, most_bytes: int) -> None:
        """Open no connection yet; `most_bytes`: the largest reply that is taken, unpacked."""
        self._tls = tls
        self._idle_s = idle_s
        self._most_bytes = most_bytes
        self._loop = asyncio.get_running_loop()
        self._names = NameLookup(self._loop)
        self._waiting: defaultdict[Server, Idle] = defaultdict(deque)
        self._idle: IdleConnections[Server] = IdleConnections(lambda: self._waiting)
        self._open: set[Http1Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def carry(
        self,
        head: RequestHead,
        request_id: str,
        body: bytes | None,
        progress: SendProgress,
        *,
        connect_s: float,
        timeout_s: float,
    ) -> RawReply:
        """Send a request and return the whole reply.

        Args:
            connect_s: seconds until there must be a connection.
            timeout_s: seconds from connecting to the last byte of the reply.

        Raises:
            NotConnected: nothing was sent.
            Exception: no whole reply came.
        """
        server, due_s = head.server, self._loop.time() + timeout_s
        assert server is not None
        connection = await self._connection(server, progress, connect_s)
        try:
            ended = await connection.ask(head.request(request_id, body), self._most_bytes, due_s)
        except BaseException:
            connection.close()
            raise
        if isinstance(ended, Exception):
            connection.close()
            raise ended
        told = ended.headers.get("keep-alive")
        if told is not None:
            connection.note_keep_alive(told)
        self._release(server, connection)
        return ended

    async def close(self) -> None:
        """Close all connections."""
        if self._sweep is not None:
            self._sweep.cancel()
        await self._names.close()
        self._is_closed = True
        for connection in self._open:
            connection.close()
        if self._open:
            await asyncio.wait([connection.closed for connection in self._open], timeout=1)

    async def _connection(
        self, server: Server, progress: SendProgress, connect_s: float
    ) -> Http1Connection:
        idle = None if progress.wants_fresh else await self._idle.find(server)
        if idle is not None:
            connection: Http1Connection = idle.pop()[0]
            progress.is_kept = True
        else:
            try:
                connection = await asyncio.wait_for(self._connect(server), connect_s)
            except (OSError, asyncio.TimeoutError) as exc:
                raise NotConnected(exc) from exc
        progress.is_connected, progress.connection = True, connection
        progress.close_idle = functools.partial(self._idle.close_all, server)
        return connection

    async def _connect(self, server: Server) -> Http1Connection:
        addresses = await self._names.addresses(server.host, server.port)
        found = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            _, connection = await self._loop.create_connection(
                functools.partial(Http1Connection, self._loop),
                sock=found,
                ssl=self._tls if server.is_tls else None,
                server_hostname=server.host.rstrip(".") if server.is_tls else None,
            )
        except BaseException:
            found.close()
            raise
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        connection.idle_s = self._idle_s
        if self._is_closed:
            connection.close()
            raise ConnectionAbortedError(errno.ECONNABORTED, "closed")
        if connection.has_spoken_first():
            self._idle.close_talkers(server)
            connection.close()
            raise SpokeFirst
        return connection

    def _release(self, server: Server, connection: Http1Connection) -> None:
        self._idle.let_rest(server, connection)
        if not connection.can_carry_more or server in self._idle.talkers:
            connection.close()
            return
        self._waiting[server].append((connection, time.monotonic()))
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._idle_s, self._close_old)

    def _close_old(self) -> None:
        self._sweep, now_s = None, time.monotonic()
        for server, idle in list(self._waiting.items()):
            while idle and idle[0][1] + self._idle_s <= now_s:
                idle.popleft()[0].close()
            if not idle:
                del self._waiting[server]
        if self._waiting:
            oldest_s = min(idle[0][1] for idle in self._waiting.values())
            self._sweep = self._loop.call_later(oldest_s + self._idle_s - now_s, self._close_old)
