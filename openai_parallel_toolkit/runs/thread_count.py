"""How many files are under way at a time: as many as was said, or as keys have room for.

Used by the thread that runs the run. "auto" starts with the usual number and grows by half at each
look while three things hold: nobody waits for a key or for money, most of the files under way wait
for an answer, and this process has CPU left. It never shrinks by itself: a thread that waits costs
little.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Literal

from ..core.clock import Clock
from ..keys import APIKeyManager
from ..keys.standing import Counts

#: What `num_threads` may be instead of a number.
AUTO: Literal["auto"] = "auto"
#: The most that "auto" comes to.
MOST_AUTO = 512
#: Share of the files under way that must wait for an answer, ...
_WAITING = 0.7
#: ... and of one CPU that this process may use, for more files to be of use.
_BUSY = 0.85


def usual_threads() -> int:
    """Return ten times the number of CPUs: the threads mostly wait."""
    return 10 * (os.cpu_count() or 1)


def most_threads(num_threads: int | Literal["auto"]) -> int:
    """Return how many files may come to be under way at a time."""
    return MOST_AUTO if num_threads == AUTO else num_threads


def grown(count: int, counts: Counts, busy: float, *, is_short: bool) -> int:
    """Return how many files to have under way from now on.

    Args:
        busy: share of one CPU that was used since the last look.
        is_short: whether a request waits for money.
    """
    if counts.waiting or is_short or busy > _BUSY or counts.in_flight < _WAITING * count:
        return count
    return count + max(1, count // 2)


class ThreadCount:
    """The number for one run, and what it follows from."""

    def __init__(
        self,
        given: int | Literal["auto"],
        keys: APIKeyManager,
        clock: Clock,
        *,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._cpu_s = cpu_s
        self._looked = (clock.now_s(), cpu_s())
        self.tell(given)

    def tell(self, given: int | Literal["auto"]) -> None:
        """Take over what a user says, before the run or in its midst."""
        self.is_auto = given == AUTO
        #: Files to have under way at a time, were there as many.
        self.count = usual_threads() if given == AUTO else given

    def look(self, *, is_short: bool) -> int:
        """Return the number from now on."""
        if not self.is_auto:
            return self.count
        (then_s, cpu_then_s), now = self._looked, (self._clock.now_s(), self._cpu_s())
        self._looked = now
        passed_s = now[0] - then_s
        if passed_s > 0:
            busy = (now[1] - cpu_then_s) / passed_s
            wanted = grown(self.count, self._keys.counts(), busy, is_short=is_short)
            self.count = min(MOST_AUTO, wanted)
        return self.count
