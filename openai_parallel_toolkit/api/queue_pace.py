"""When the requests of an ApiQueue may go: so many tokens a minute, and the server's pauses."""

from __future__ import annotations

import logging

from ..calls.attempts import LONGEST_PAUSE_S
from ..core.clock import Clock
from ..core.records import Outcome, Request
from ..core.text import counted, duration
from ..keys.bucket import SlidingWindow

logger = logging.getLogger(__name__)

#: Where the server does not say how long to wait after a 429.
_PAUSE_S = 5.0


class QueuePace:
    """A window of tokens of which requests hold some until they are sent, and pauses."""

    def __init__(self, rate_limit: float, address: str, clock: Clock) -> None:
        self._address = address
        self._clock = clock
        self._window = SlidingWindow(rate_limit)
        self._cool_until_s = clock.now_s()
        #: Tokens that are held, by the request's position.
        self._held: dict[int, int] = {}

    def wait_s(self, request: Request) -> float:
        """Return in how many seconds a request may hold its tokens; at most 0: now."""
        now_s = self._clock.now_s()
        return max(self._window.ready_s(request.prompt_tokens, now_s), self._cool_until_s) - now_s

    def holds(self, position: int) -> bool:
        """Tell whether a request holds tokens."""
        return position in self._held

    def hold(self, position: int, request: Request) -> None:
        """Have a request hold its tokens."""
        self._held[position] = request.prompt_tokens
        self._window.hold(request.prompt_tokens)

    def release(self, position: int) -> None:
        """Give back what a request holds, if it does."""
        self._window.release(self._held.pop(position, 0))

    def sent(self, position: int) -> float:
        """Count what a request holds from now on: it is sent; return the time."""
        now_s = self._clock.now_s()
        self._window.sent(self._held.pop(position), now_s)
        return now_s

    def cool(self, limit: Outcome, waiting: int) -> None:
        """Have nothing sent for a while, as the server asks, or for some seconds."""
        now_s = self._clock.now_s()
        pause_s = min(limit.retry_after_s or _PAUSE_S, LONGEST_PAUSE_S)
        if limit.retry_after_s and now_s >= self._cool_until_s:
            logger.warning(
                "%s is limited: nothing is sent for %s, as the server asks (%s waiting)",
                self._address,
                duration(pause_s),
                counted(waiting, "request"),
                extra={"action": "limited"},
            )
        self._cool_until_s = max(self._cool_until_s, now_s + pause_s)
