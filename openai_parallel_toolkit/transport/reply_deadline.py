"""End an exchange that takes too long, once what lies in its socket has been read."""

from __future__ import annotations

import asyncio

from .send_progress import SendProgress

#: Seconds for reading what has come, and how often they are granted.
_LOOK_S, _MOST_LOOKS = 0.1, 3
#: The most that is granted at a time to what the server was about to send.
_LONGEST_LOOK_S = 5.0
#: A timer that is later than this says that the process stood still.
_STANDSTILL_S = 0.5


class ReplyDeadline:
    """Ends the exchange of a connection that takes more than so many seconds in its block.

    A process that was stopped, or whose machine slept, wakes with its time over and the reply in
    the socket. So it looks once more before it ends anything, for as long as it stood still.
    """

    def __init__(self, progress: SendProgress, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._progress = progress
        self._timeout_s = timeout_s
        self._looks, self._look_s = 0, _LOOK_S

    def __enter__(self) -> None:
        self._set(self._timeout_s)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _set(self, seconds: float) -> None:
        self._due_s = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        late_s, connection = self._loop.time() - self._due_s, self._progress.connection
        if connection is None:  # connecting has a timeout of its own
            self._set(_LOOK_S)
            return
        is_worth_it = self._looks == 0 or late_s > _STANDSTILL_S or connection.was_fed
        if not is_worth_it or self._looks == _MOST_LOOKS:
            connection.expire()
            return
        self._looks += 1
        connection.was_fed = False
        self._look_s = max(self._look_s, min(late_s, _LONGEST_LOOK_S))
        self._set(self._look_s)
