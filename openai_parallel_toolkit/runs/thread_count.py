"""How many files are under way at a time: as many as was said, or as keys have room for.

"auto" starts with the usual number and doubles it while four things hold: nobody waits for a key or
for money, most of the files under way wait for an answer, this process has CPU left, and the last
doubling brought more answers a second. Servers that queue what they cannot serve yet tell nothing
else of their capacity. What a doubling brings is judged by how long answers take on the average of
as many as are under way, for a single long answer says nothing of the server; one that brought
nothing is taken back, and tried again later and later.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

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
#: Answers a second must become so many times more by twice as many files.
_USEFUL = 1.25
#: Rounds of answers until a doubling that brought nothing is tried again, at first and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 4, 64


def usual_threads() -> int:
    """Return ten times the number of CPUs: the threads mostly wait."""
    return 10 * (os.cpu_count() or 1)


def most_threads(num_threads: int | Literal["auto"]) -> int:
    """Return how many files may come to be under way at a time."""
    return MOST_AUTO if num_threads == AUTO else num_threads


def has_room(count: int, counts: Counts, busy: float, *, is_short: bool) -> bool:
    """Return whether more files than `count` could be of use.

    Args:
        busy: share of one CPU that was used since the last look.
        is_short: whether a request waits for money.
    """
    is_held_up = counts.waiting or is_short or busy > _BUSY
    return not is_held_up and counts.in_flight >= _WAITING * count


class _Measured(NamedTuple):
    """How long answers took with so many files under way."""

    files: int
    seconds_each: float

    def is_useful_beside(self, fewer: _Measured) -> bool:
        """Return whether so many bring enough more answers a second than fewer."""
        wanted = 1 + (_USEFUL - 1) * (self.files / fewer.files - 1)
        return fewer.seconds_each * self.files >= wanted * self.seconds_each * fewer.files


class Growth:
    """Finds the number from which on more of them bring no more answers. Pure."""

    def __init__(self, count: int, most: int) -> None:
        self.count = count
        self._most = most
        #: With fewer files, before the last doubling; None: nothing is known yet.
        self._before: _Measured | None = None
        #: The answers so far when this count came to be, or when measuring began: see `_rounds`.
        self._since = (0, 0.0)
        #: Whether the answers are over that were asked for before the count changed.
        self._is_settled = True
        self._pause = _FIRST_PAUSE
        #: Rounds of answers that a pause still lasts.
        self._rounds_left = 0

    def look(self, counts: Counts) -> int:
        """Return the number from now on; called while there is room for more."""
        if not counts.answers:
            return self._change(2 * self.count, counts)
        answers = counts.answers - self._since[0]
        if answers < self.count:  # not a whole round yet
            return self.count
        seconds_each = (counts.answer_s - self._since[1]) / answers
        self._since = (counts.answers, counts.answer_s)
        if not self._is_settled:
            self._is_settled = True
        elif self._rounds_left:
            self._rounds_left -= 1
        else:
            self._judge(_Measured(self.count, seconds_each), counts)
        return self.count

    def _judge(self, now: _Measured, counts: Counts) -> None:
        before, self._before = self._before, now
        if before is None or now.files <= before.files or now.is_useful_beside(before):
            self._change(2 * now.files, counts)
            return
        self._before = None
        self._rounds_left, self._pause = self._pause, min(_LONGEST_PAUSE, 2 * self._pause)
        self._change(before.files, counts)

    def _change(self, count: int, counts: Counts) -> int:
        count = min(count, self._most)
        self._is_settled = count == self.count
        self.count, self._since = count, (counts.answers, counts.answer_s)
        return self.count


class ThreadCount:
    """The number for one run, and what it follows from; used by the thread that runs the run."""

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
        #: Files to have under way at a time, were there as many.
        self.count = usual_threads() if given == AUTO else given
        self._growth = Growth(self.count, MOST_AUTO) if given == AUTO else None

    @property
    def is_auto(self) -> bool:
        return self._growth is not None

    def look(self, *, is_short: bool) -> int:
        """Return the number from now on."""
        if self._growth is None:
            return self.count
        (then_s, cpu_then_s), now = self._looked, (self._clock.now_s(), self._cpu_s())
        self._looked = now
        busy = (now[1] - cpu_then_s) / max(now[0] - then_s, 1e-3)
        counts = self._keys.counts()
        if has_room(self.count, counts, busy, is_short=is_short):
            self.count = self._growth.look(counts)
        return self.count
