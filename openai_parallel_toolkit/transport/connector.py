"""Hand out connections that are likely to live.

The one used last goes out first, so that those in use stay busy and the rest end. One that was idle
for too long, on which something came unasked, or that the server was seen to end, is not used.
After an attempt that brought no whole reply its call gets a fresh connection, and when that attempt
was on a kept one, the other idle ones to the same server are closed: whatever forgot one of them
has forgotten them all. Nothing is kept of a server that was seen to speak unasked: its next words
could come when a request is on its way, and nobody could tell whose answer they are.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from .kept_connection import KeptConnection
from .send_progress import NotConnected, SendProgress, SpokeFirst

#: What a server says right after a reply is seen when the connection has rested for so long; it is
#: waited for before so many of its connections are used again, and then it is trusted.
_SETTLE_S, _TRIALS = 0.004, 8


class Connector(aiohttp.TCPConnector):
    """Hands out connections, and marks every failure to get one as one.

    Once a connection is handed out, its request is being sent.
    """

    def __init__(self, *, idle_s: float, **options: Any) -> None:
        super().__init__(keepalive_timeout=idle_s, **options)
        self._factory = functools.partial(KeptConnection, self._loop)  # type: ignore[assignment]
        #: Those that spoke unasked.
        self._talkers: set[ConnectionKey] = set()
        #: How often connections to a server were seen to rest in silence.
        self._silences: Counter[ConnectionKey] = Counter()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        progress = SendProgress.current()
        try:
            connection = await super().connect(req, traces, timeout)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as exc:
            raise NotConnected(exc) from exc
        protocol = connection.protocol
        if isinstance(protocol, KeptConnection) and protocol.has_spoken_first():
            self._close_talkers(req.connection_key)
            connection.close()
            raise NotConnected(SpokeFirst())
        if progress is not None:
            progress.is_connected = True
            if isinstance(protocol, KeptConnection):
                progress.connection = protocol
            progress.close_idle = functools.partial(self._close_idle, req.connection_key)
        return connection

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        progress = SendProgress.current()
        if progress is not None and progress.wants_fresh:
            return None
        idle = self._conns.get(key)
        while idle:
            connection, since_s = idle[-1]
            idle_s = time.monotonic() - since_s
            if self._silences[key] < _TRIALS and idle_s < _SETTLE_S:
                await asyncio.sleep(_SETTLE_S - idle_s)
                idle = self._conns.get(key)
                continue
            if isinstance(connection, KeptConnection) and connection.hand_out_again(idle_s):
                idle.rotate(1)  # aiohttp takes the first
                found = await super()._get(key, traces)
                self._silences[key] += 1
                if progress is not None and found is not None:
                    progress.is_kept = True
                return found
            idle.pop()
            connection.close()
        self._conns.pop(key, None)
        return None

    def _release(
        self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        if isinstance(protocol, KeptConnection):
            if protocol.holds_more:
                self._close_talkers(key)
            if protocol.when_unasked is None:
                protocol.when_unasked = functools.partial(self._close_talkers, key)
            protocol.rest(is_trusted=self._silences[key] >= _TRIALS)
        super()._release(key, protocol, should_close=should_close or key in self._talkers)

    def _close_talkers(self, key: ConnectionKey) -> None:
        self._talkers.add(key)
        self._close_idle(key)

    def _close_idle(self, key: ConnectionKey) -> None:
        for connection, _ in self._conns.pop(key, ()):
            connection.close()
