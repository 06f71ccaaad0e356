"""Tokens within any stretch of a minute. Pure; the time is an argument, in seconds."""

from __future__ import annotations

from collections import deque

#: Half a second more than the minute: the way to the server takes now longer, now shorter.
_WINDOW_S = 60.5


class SlidingWindow:
    """At most `limit` tokens within any 60 seconds; held tokens count until they are sent."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        #: Clock time and tokens of what was sent, oldest first.
        self._sent: deque[tuple[float, int]] = deque()
        self._sent_tokens = 0
        self._held_tokens = 0

    def ready_s(self, tokens: int, now_s: float) -> float:
        """Return when `tokens` may be held, `now_s` at the earliest.

        What is larger than the window may be held when it is empty.
        """
        while self._sent and self._sent[0][0] + _WINDOW_S <= now_s:
            self._sent_tokens -= self._sent.popleft()[1]
        excess = self._held_tokens + self._sent_tokens + tokens - self._limit
        ready_s = now_s
        for sent_s, amount in self._sent:
            if excess <= 0:
                return ready_s
            excess -= amount
            ready_s = sent_s + _WINDOW_S
        return now_s + _WINDOW_S if excess > 0 and self._held_tokens else ready_s

    def hold(self, tokens: int) -> None:
        """Take tokens, whether or not there is room."""
        self._held_tokens += tokens

    def release(self, tokens: int) -> None:
        """Give held tokens back."""
        self._held_tokens -= tokens

    def sent(self, tokens: int, now_s: float) -> None:
        """Count held tokens from now on: they are sent."""
        self._held_tokens -= tokens
        self._sent.append((now_s, tokens))
        self._sent_tokens += tokens
