"""Look names up once for all who want them at a time."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import TypeAlias

from aiohappyeyeballs import AddrInfoType

#: For so many seconds what was found is used again.
_KEPT_S = 10.0

_Place: TypeAlias = tuple[str, int]


class NameLookup:
    """Finds the addresses of servers; belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lookups: dict[_Place, asyncio.Task[deque[AddrInfoType]]] = {}

    async def addresses(self, host: str, port: int) -> list[AddrInfoType]:
        """Return a server's addresses, each time with another of them first.

        Raises:
            socket.gaierror: it has none, or nobody knows.
        """
        lookup = self._lookups.get((host, port))
        if lookup is None:
            lookup = self._loop.create_task(self._look_up(host, port))
            self._lookups[host, port] = lookup
            lookup.add_done_callback(lambda done: self._keep((host, port), done))
        # One who is cancelled takes it from nobody else.
        found = await asyncio.shield(lookup)
        found.rotate(-1)
        return list(found)

    async def close(self) -> None:
        """End what is under way."""
        lookups, self._lookups = list(self._lookups.values()), {}
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)

    async def _look_up(self, host: str, port: int) -> deque[AddrInfoType]:
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as exc:
            raise socket.gaierror(socket.EAI_NONAME, "no possible name") from exc
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return deque(found)

    def _keep(self, place: _Place, done: asyncio.Task[deque[AddrInfoType]]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._lookups.pop(place, None)
        else:
            self._loop.call_later(_KEPT_S, self._lookups.pop, place, None)
