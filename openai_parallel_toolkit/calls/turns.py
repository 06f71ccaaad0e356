"""Let threads that wait for answers go on in turns, in the order in which their answers came.

Python runs one thread at a time. Threads that are woken together spend more on taking the
interpreter from one another, and from the thread that sends, than on what they do with an answer.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, Generic, TypeVar

from ..core.loop_calls import LoopCalls

_Item = TypeVar("_Item")
#: A turn that takes longer holds up nobody: its thread computes, or waits for something else.
TURN_S = 0.01
#: The loop waits no longer than that for turns, however short each is.
_LONGEST_WAIT_S = 0.02
#: Where the process uses less than this part of one core while threads are ready, they wait for
#: turns that wait for something else.
_BUSY_SHARE = 0.5
#: After a long turn the loop does not wait for so long.
_REST_S = 10 * TURN_S
#: After so many turns, half as many may have one at a time.
_NARROWS_AFTER = 32


class Turns:
    """Has one thread go on at a time, and meanwhile the event loop's thread wait.

    The loop does not wait for turns that take long, and more threads go on at a time where turns
    leave the processor idle. One lock guards everything, also of the `Arrivals`.
    """

    def __init__(self, calls: LoopCalls) -> None:
        """Take turns with the thread of the event loop that `calls` calls into."""
        self._calls = calls
        self.lock = threading.Lock()
        #: Threads that have a turn.
        self._running: set[int] = set()
        self._ready: deque[Arrivals[Any]] = deque()
        #: How many may have a turn at a time.
        self._most = 1
        #: Turns that ended.
        self._ended = 0
        #: When the loop waits for turns again.
        self._patient_from_s = 0.0
        #: Whether the loop has been asked to let them run, or looks after them.
        self._is_called = False
        #: Wall and CPU time of the last look.
        self._looked_s = (0.0, 0.0)
        #: Released when the loop need not wait any more.
        self._over = threading.Lock()
        self._over.acquire()
        self._is_waited_for = False
        self._is_ended = False

    def end(self) -> None:
        """Let all threads go on at once, from now on: no loop looks after them."""
        with self.lock:
            self._is_ended = True
            self._admit()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for this thread's turn; at the end of the block others may go on."""
        Arrivals(self).wait_for_turn()
        try:
            yield
        finally:
            with self.lock:
                self.give_back()

    def give_back(self) -> None:
        """Let others go on instead of this thread; needs the lock."""
        thread_id = get_ident()
        if thread_id not in self._running:
            return
        self._running.remove(thread_id)
        self._ended += 1
        if self._ended % _NARROWS_AFTER == 0:
            self._most = max(1, self._most // 2)
        self._admit()
        if self._is_waited_for and not self._running:
            self._is_waited_for = False
            self._over.release()

    def get_ready(self, arrivals: Arrivals[Any]) -> None:
        """Let a thread go on, as soon as it is its turn; needs the lock."""
        self._ready.append(arrivals)
        if self._is_ended:
            self._admit()
        elif not self._is_called:
            self._is_called = True
            self._calls.soon(self._let_run)

    def _admit(self) -> None:
        while self._ready and (self._is_ended or len(self._running) < self._most):
            self._running.add(self._ready.popleft().go_on())

    def _let_run(self) -> None:
        until_s = time.monotonic() + _LONGEST_WAIT_S
        with self.lock:
            self._admit()
            ended = self._ended
            waits = self._is_waited_for = bool(self._running) and self._is_patient()
        while waits and not self._over.acquire(timeout=TURN_S):
            with self.lock:
                if not self._is_waited_for:
                    self._over.acquire()
                    break
                waits = self._is_waited_for = ended != self._ended and time.monotonic() < until_s
                ended = self._ended if waits else ended
        self._look(ended)

    def _look(self, ended: int) -> None:
        """Let more go on where turns are long; look again while others are ready."""
        with self.lock:
            if self._running and self._ended == ended:
                self._running.clear()
                self._patient_from_s = time.monotonic() + _REST_S
            if self._is_idle() and self._ready:
                self._most *= 2
            self._admit()
            self._is_called = bool(self._ready)
            if self._is_called and self._is_patient():
                self._calls.loop.call_soon(self._let_run)
            elif self._is_called:
                self._calls.loop.call_later(TURN_S, self._look, self._ended)

    def _is_patient(self) -> bool:
        return time.monotonic() >= self._patient_from_s

    def _is_idle(self) -> bool:
        """Tell whether the processor was idle since the last look, or longer ago."""
        wall_s, cpu_s = time.monotonic(), time.process_time()
        lasted_s, used_s = wall_s - self._looked_s[0], cpu_s - self._looked_s[1]
        if lasted_s < TURN_S:
            return False
        self._looked_s = wall_s, cpu_s
        return used_s < _BUSY_SHARE * lasted_s


class Arrivals(Generic[_Item]):
    """What arrives for one thread, in order; whoever puts it may be any thread."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._items: deque[_Item] = deque()
        self._thread_id = 0
        #: Held while the thread waits.
        self._gate = threading.Lock()
        self._gate.acquire()
        self._is_waiting = False

    def put(self, item: _Item) -> None:
        """Add an item, and let the thread go on as soon as it is its turn."""
        with self._turns.lock:
            self._items.append(item)
            if self._is_waiting:
                self._is_waiting = False
                self._turns.get_ready(self)

    def get(self, timeout_s: float = -1) -> _Item:
        """Return the next item, giving the turn to others while there is none.

        Raises:
            TimeoutError: nothing has arrived in so many seconds.
        """
        with self._turns.lock:
            if self._items:
                return self._items.popleft()
            self._thread_id = get_ident()
            self._is_waiting = True
            self._turns.give_back()
        if not self._gate.acquire(timeout=timeout_s):
            with self._turns.lock:
                if self._is_waiting:
                    self._is_waiting = False
                    raise TimeoutError
            self._gate.acquire()
        return self._items.popleft()

    def wait_for_turn(self) -> None:
        """Wait until it is this thread's turn, with nothing that arrives."""
        with self._turns.lock:
            self._thread_id = get_ident()
            self._turns.get_ready(self)
        self._gate.acquire()

    def go_on(self) -> int:
        """Wake the thread, and return its id."""
        self._gate.release()
        return self._thread_id
