"""One thread that serves the waiting when their time has come, and ends when none has a time."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from ..core.clock import Clock


class Timer:
    """Calls `advance` at the times that `next_s` tells; inf: at none.

    It has no lock of its own: `changed` is over its owner's lock, and `next_s`, `advance` and
    `look` run under it. What `advance` returns is called without it.
    """

    def __init__(
        self,
        clock: Clock,
        changed: threading.Condition,
        next_s: Callable[[], float],
        advance: Callable[[float], Callable[[], None]],
    ) -> None:
        self._clock = clock
        self._changed = changed
        self._next_s = next_s
        self._advance = advance
        self._until_s = math.inf
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Take note that the next time may be another one."""
        next_s = self._next_s()
        if self._thread is None:
            if next_s < math.inf:
                self._thread = threading.Thread(target=self._run, name="keys-timer", daemon=True)
                self._thread.start()
        elif next_s == math.inf or next_s < self._until_s:
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                until_s = self._until_s = self._next_s()
                if until_s == math.inf:
                    self._thread = None
                    return
                now_s = self._clock.now_s()
                if now_s < until_s:
                    self._clock.wait(self._changed, until_s)
                    continue
                act = self._advance(now_s)
            act()
