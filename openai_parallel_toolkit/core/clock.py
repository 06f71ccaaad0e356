"""Tell the time and how long to wait: the system's clock, and one that tests turn by hand."""

from __future__ import annotations

import threading
import time
from typing import Protocol

#: Doublings after which the cap has long been reached, and a float still holds the number.
_MOST_DOUBLINGS = 63


class Clock(Protocol):
    """What the package asks of a clock. All values are seconds."""

    def now_s(self) -> float:
        """Return a time that only moves forward, for durations and deadlines."""
        ...

    def wall_s(self) -> float:
        """Return seconds since 1970-01-01 UTC, for records only: it may jump."""
        ...

    def wait(self, changed: threading.Condition, until_s: float | None) -> None:
        """Wait on a held Condition until notified or `now_s()` reaches `until_s`; None: for ever.

        May return early; callers look again.
        """
        ...


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        return time.monotonic()

    def wall_s(self) -> float:
        return time.time()

    def wait(self, changed: threading.Condition, until_s: float | None) -> None:
        changed.wait(None if until_s is None else max(0.0, until_s - time.monotonic()))


class FakeClock:
    """A clock that stands still until `advance` is called; for tests.

    One lock guards the time and the list of those who wait for it.
    """

    def __init__(self, now_s: float = 1_000.0, wall_s: float = 1_800_000_000.0) -> None:
        self._now_s = now_s
        self._wall_s = wall_s
        self._lock = threading.Lock()
        self._waiting: list[threading.Condition] = []

    def now_s(self) -> float:
        return self._now_s

    def wall_s(self) -> float:
        return self._wall_s

    def wait(self, changed: threading.Condition, until_s: float | None) -> None:
        with self._lock:
            if until_s is not None and until_s <= self._now_s:
                return
            self._waiting.append(changed)
        changed.wait()

    def advance(self, seconds: float, *, wall_jump_s: float = 0.0) -> None:
        """Move both times on by `seconds`; the wall clock jumps by `wall_jump_s` besides."""
        with self._lock:
            self._now_s += seconds
            self._wall_s += seconds + wall_jump_s
            waiting, self._waiting = self._waiting, []
        for changed in waiting:
            with changed:
                changed.notify_all()


def backoff_s(failures: int, chance: float, *, base_s: float, cap_s: float) -> float:
    """Return the seconds to wait after `failures` in a row: up to base, 2 base, 4 base ... cap.

    Args:
        failures: 1 or more.
        chance: from 0 to 1, drawn anew each time: the share of the longest wait that is taken, so
            that many who failed together do not come back together.
    """
    return chance * min(cap_s, base_s * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
