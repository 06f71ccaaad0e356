"""Have aiohttp hand out connections that are likely to live."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from .aiohttp_connection import AiohttpConnection
from .aiohttp_errors import not_connected
from .exchange_failures import NotConnected, SpokeFirst
from .idle_connections import IdleConnections
from .send_progress import SendProgress


class Connector(aiohttp.TCPConnector):
    """Hands out connections, and marks every failure to get one as one.

    Once a connection is handed out, its request is being sent.
    """

    def __init__(self, *, idle_s: float, **options: Any) -> None:
        super().__init__(keepalive_timeout=idle_s, **options)
        self._factory = functools.partial(AiohttpConnection, self._loop)  # type: ignore[assignment]
        self._idle: IdleConnections[ConnectionKey] = IdleConnections(lambda: self._conns)

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        progress = SendProgress.current()
        try:
            connection = await super().connect(req, traces, timeout)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as exc:
            raise not_connected(exc) from exc
        protocol, server = connection.protocol, req.connection_key
        if isinstance(protocol, AiohttpConnection) and protocol.has_spoken_first():
            self._idle.close_talkers(server)
            connection.close()
            raise NotConnected(SpokeFirst())
        if progress is not None:
            progress.is_connected = True
            if isinstance(protocol, AiohttpConnection):
                progress.connection = protocol
            progress.close_idle = functools.partial(self._idle.close_all, server)
        return connection

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        progress = SendProgress.current()
        if progress is not None and progress.wants_fresh:
            return None
        idle = await self._idle.find(key)
        if idle is None:
            return None
        idle.rotate(1)  # aiohttp takes the first
        found = await super()._get(key, traces)
        if progress is not None and found is not None:
            progress.is_kept = True
        return found

    def _release(
        self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        if isinstance(protocol, AiohttpConnection):
            self._idle.let_rest(key, protocol)
        should_close = should_close or key in self._idle.talkers
        super()._release(key, protocol, should_close=should_close)
