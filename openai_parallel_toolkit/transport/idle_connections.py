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
from collections import Counter, deque
from collections.abc import Callable, Hashable, MutableMapping
from typing import Any, Generic, TypeVar

from .kept_connection import KeptConnection

#: What a server says right after a reply is seen when the connection has rested for so long; it is
#: waited for before so many of its connections are used again, and then it is trusted.
_SETTLE_S, _TRIALS = 0.004, 8

_Server = TypeVar("_Server", bound=Hashable)
#: Connections that wait for a request, each with when it began to; the one used last is the last.
Idle = deque[tuple[Any, float]]


class IdleConnections(Generic[_Server]):
    """Which of the connections that wait for a request can be used."""

    def __init__(self, waiting: Callable[[], MutableMapping[_Server, Idle]]) -> None:
        """`waiting` gives them, by server."""
        self._waiting = waiting
        #: Those that spoke unasked.
        self.talkers: set[_Server] = set()
        #: How often connections to a server were seen to rest in silence.
        self._silences: Counter[_Server] = Counter()

    async def find(self, server: _Server) -> Idle | None:
        """Return those of a server, the last of them made ready; None: none can be used."""
        while idle := self._waiting().get(server):
            connection, since_s = idle[-1]
            idle_s = time.monotonic() - since_s
            is_trusted = self._is_trusted(server)
            if not is_trusted and idle_s < _SETTLE_S:
                await asyncio.sleep(_SETTLE_S - idle_s)
                continue
            if connection.hand_out_again(idle_s):
                if not is_trusted:
                    self._silences[server] += 1
                return idle
            idle.pop()
            connection.close()
        self._waiting().pop(server, None)
        return None

    def let_rest(self, server: _Server, connection: KeptConnection) -> None:
        """Have a connection wait for a request, as far as its server can be trusted."""
        if connection.holds_more:
            self.close_talkers(server)
        if connection.when_unasked is None:
            connection.when_unasked = functools.partial(self.close_talkers, server)
        connection.rest(is_trusted=self._is_trusted(server))

    def close_talkers(self, server: _Server) -> None:
        """Keep no connection to a server any more, for it spoke unasked."""
        self.talkers.add(server)
        self.close_all(server)

    def close_all(self, server: _Server) -> None:
        """Close those of a server."""
        for connection, _ in self._waiting().pop(server, ()):
            connection.close()

    def _is_trusted(self, server: _Server) -> bool:
        return self._silences[server] >= _TRIALS
