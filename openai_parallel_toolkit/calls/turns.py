"""Let threads that wait for answers go on in turns, in the order in which their answers came.

Python runs one thread at a time. Threads that are woken together spend more on taking the
interpreter from one another, and from the thread that sends, than on what they do with an answer.
"""

from __future__ import annotations

import threading
from collections import deque
from threading import get_ident
from typing import Any, Generic, TypeVar

from ..core.loop_calls import LoopCalls

_Item = TypeVar("_Item")
#: A turn that takes longer holds up nobody: its thread computes, or waits for something else.
TURN_S = 0.002
#: So many turns that were short, one after the other, make one turn at a time enough again.
_ENOUGH_SHORT = 32


class Turns:
    """Has one thread go on at a time, and meanwhile the event loop's thread wait.

    Where turns take long, the loop does not wait, and more threads go on at a time. One lock guards
    everything, also of the `Arrivals`.
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
        #: Turns that ended; those in a row that were short.
        self._ended = self._short = 0
        #: Whether the loop has been asked to let them run, or looks after them.
        self._is_called = False
        #: Released when the loop need not wait any more.
        self._over = threading.Lock()
        self._over.acquire()
        self._is_waited_for = False

    def give_back(self) -> None:
        """Let others go on instead of this thread; needs the lock."""
        thread_id = get_ident()
        if thread_id not in self._running:
            return
        self._running.remove(thread_id)
        self._ended += 1
        self._short += 1
        if self._short > _ENOUGH_SHORT:
            self._most, self._short = max(1, self._most // 2), 0
        self._admit()
        if self._is_waited_for and not self._running:
            self._is_waited_for = False
            self._over.release()

    def get_ready(self, arrivals: Arrivals[Any]) -> None:
        """Let a thread go on, as soon as it is its turn; needs the lock."""
        self._ready.append(arrivals)
        if not self._is_called:
            self._is_called = True
            try:
                self._calls.soon(self._let_run)
            except RuntimeError:  # the loop is closed
                self._is_called = False
                self._most = len(self._ready) + len(self._running)
                self._admit()

    def _admit(self) -> None:
        while self._ready and len(self._running) < self._most:
            self._running.add(self._ready.popleft().go_on())

    def _let_run(self) -> None:
        with self.lock:
            self._admit()
            ended = self._ended
            waits = self._is_waited_for = self._most == 1 and bool(self._running)
        if waits and not self._over.acquire(timeout=TURN_S):
            with self.lock:
                is_over, self._is_waited_for = not self._is_waited_for, False
            if is_over:
                self._over.acquire()
        self._look(ended)

    def _look(self, ended: int) -> None:
        """Let more go on where none of the turns has ended; look again while others are ready."""
        with self.lock:
            if self._ended == ended and self._running:
                self._running.clear()
                self._most, self._short = 2 * self._most, 0
            self._admit()
            self._is_called = bool(self._ready)
            if self._is_called:
                self._calls.loop.call_later(TURN_S, self._look, self._ended)


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

    def go_on(self) -> int:
        """Wake the thread, and return its id."""
        self._gate.release()
        return self._thread_id
