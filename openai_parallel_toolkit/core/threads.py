"""Start threads, as many as the system gives this process, and do without those it does not."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from .errors import OutOfResources

_ItemT = TypeVar("_ItemT")
_ResultT = TypeVar("_ResultT")
#: What starting a thread raises where the system gives no more.
_REFUSALS = (RuntimeError, MemoryError)


def start_thread(target: Callable[..., object], *args: Any, name: str) -> threading.Thread:
    """Start a thread that does not keep the process alive.

    Raises:
        OutOfResources: the system gives no more.
    """
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    try:
        thread.start()
    except _REFUSALS as exc:
        raise OutOfResources from exc
    return thread


def startable(count: int) -> int:
    """Return how many of so many more threads the system gives this process: they are tried.

    A limit may be the user's (`ulimit -u`), the container's or one of memory, and others may use
    it up at any time.
    """
    is_counted = threading.Event()
    started: list[threading.Thread] = []
    try:
        with suppress(OutOfResources):
            while len(started) < count:
                started.append(start_thread(is_counted.wait, name="counted"))
    finally:
        is_counted.set()
        for thread in started:
            thread.join()
    return len(started)


def require(count: int) -> None:
    """Raise OutOfResources unless so many more threads can be started."""
    if startable(count) < count:
        raise OutOfResources


class Helpers:
    """Threads that help with work that can be done side by side; whoever asks works as well.

    They are started when they are first needed, and where the system gives none, nobody helps.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._pool = ThreadPoolExecutor(most, thread_name_prefix=name)

    def map(self, act: Callable[[_ItemT], _ResultT], items: Iterable[_ItemT]) -> list[_ResultT]:
        """Return what `act` returns for each item, in their order."""
        left = deque(enumerate(items))
        results: list[Any] = [None] * len(left)

        def work() -> None:
            while True:
                try:
                    place, item = left.popleft()
                except IndexError:
                    return
                results[place] = act(item)

        helping: list[Future[None]] = []
        with suppress(*_REFUSALS):  # what was queued all the same finds nothing left to do
            while len(helping) < min(self._most, len(results) - 1):
                helping.append(self._pool.submit(work))
        work()
        for one in helping:
            one.result()
        return results

    def close(self) -> None:
        """Wait for all that is under way."""
        self._pool.shutdown()
