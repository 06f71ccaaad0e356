"""Hand out connections that are likely to live.

The one used last goes out first, so that those in use stay busy and the rest end. One that was idle
for too long, or that the server was seen to end, is not used. After an attempt that brought no
whole reply its call gets a fresh connection, and when that attempt was on a kept one, the other
idle ones to the same server are closed: whatever forgot one of them has forgotten them all.
"""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from .kept_connection import KeptConnection
from .send_progress import NotConnected, SendProgress


class Connector(aiohttp.TCPConnector):
    """Hands out connections, and marks every failure to get one as one.

    Once a connection is handed out, its request is being sent.
    """

    def __init__(self, *, idle_s: float, **options: Any) -> None:
        super().__init__(keepalive_timeout=idle_s, **options)
        self._factory = functools.partial(KeptConnection, self._loop)  # type: ignore[assignment]

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        progress = SendProgress.current()
        try:
            connection = await super().connect(req, traces, timeout)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as exc:
            raise NotConnected(exc) from exc
        if progress is not None:
            progress.is_connected = True
            if isinstance(connection.protocol, KeptConnection):
                progress.connection = connection.protocol
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
            if isinstance(connection, KeptConnection) and connection.hand_out_again(idle_s):
                idle.rotate(1)  # aiohttp takes the first
                found = await super()._get(key, traces)
                if progress is not None and found is not None:
                    progress.is_kept = True
                return found
            idle.pop()
            connection.close()
        self._conns.pop(key, None)
        return None

    def _close_idle(self, key: ConnectionKey) -> None:
        for connection, _ in self._conns.pop(key, ()):
            connection.close()
