"""End an exchange that takes too long, once what lies in its socket has been read."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from .kept_connection import KeptConnection

#: Seconds for reading what has come, and how often they are granted.
_LOOK_S, _MOST_LOOKS = 0.1, 3
#: The most that is granted at a time to what the server was about to send.
_LONGEST_LOOK_S = 5.0
#: A timer that is later than this says that the process stood still.
_STANDSTILL_S = 0.5


class ReplyDeadline:
    """Ends the exchange of a connection that is not over at its time.

    A process that was stopped, or whose machine slept, wakes with its time over and the reply in
    the socket. So it looks once more before it ends anything, for as long as it stood still.
    One serves exchange after exchange: its timer is left as it is where the next is due later.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: Callable[[], KeptConnection | None]
    ) -> None:
        """`connection` gives what carries the exchange; None: nothing does yet."""
        self._loop = loop
        self._connection = connection
        self._due_s = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = math.inf
        self._looks, self._look_s = 0, _LOOK_S

    def begin(self, due_s: float) -> None:
        """Begin an exchange that must be over at this time of the loop's."""
        self._due_s = due_s
        self._looks, self._look_s = 0, _LOOK_S
        if due_s < self._timer_s:
            self._set(due_s)

    def end(self) -> None:
        """End the exchange."""
        self._due_s = math.inf

    def close(self) -> None:
        """Serve no exchange any more."""
        self.end()
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, time_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = time_s
        self._timer = self._loop.call_at(time_s, self._ring)

    def _ring(self) -> None:
        self._timer, self._timer_s = None, math.inf
        late_s = self._loop.time() - self._due_s
        if self._due_s == math.inf:
            return
        if late_s < 0:
            self._set(self._due_s)
        elif (connection := self._connection()) is None:  # connecting has a timeout of its own
            self._grant(_LOOK_S)
        else:
            self._look(connection, late_s)

    def _look(self, connection: KeptConnection, late_s: float) -> None:
        is_worth_it = self._looks == 0 or late_s > _STANDSTILL_S or connection.was_fed
        if not is_worth_it or self._looks == _MOST_LOOKS:
            self.end()
            connection.expire()
            return
        self._looks += 1
        connection.was_fed = False
        self._look_s = max(self._look_s, min(late_s, _LONGEST_LOOK_S))
        self._grant(self._look_s)

    def _grant(self, seconds: float) -> None:
        self._due_s = self._loop.time() + seconds
        self._set(self._due_s)
