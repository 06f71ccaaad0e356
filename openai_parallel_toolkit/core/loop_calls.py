"""Call into an event loop from other threads, many calls at one wake-up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

#: Called once a write is durable, with the error if it is not; from any thread.
Done = Callable[["BaseException | None"], None]


class LoopCalls:
    """Runs what other threads post on a loop, in order.

    Needs no lock: a poster appends before it looks at `_is_called`, and the loop clears
    `_is_called` before it takes: nothing posted is left behind, at worst it wakes once too often.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._posted: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._is_called = False

    def post(self, action: Callable[..., object], *args: Any) -> None:
        """Have the loop call `action(*args)` soon; any thread may. RuntimeError: it is closed."""
        self._posted.append((action, args))
        if not self._is_called:
            self._is_called = True
            try:
                self.loop.call_soon_threadsafe(self.run_posted)
            except RuntimeError:
                self._is_called = False  # so that the next is told, too
                raise

    def future(self) -> tuple[asyncio.Future[Any], Callable[..., None]]:
        """Return a future of the loop and what settles it: see `settle_future`; any thread may.

        A loop that was closed meanwhile has no one left who waits.
        """
        future: asyncio.Future[Any] = self.loop.create_future()

        def settle(value: Any = None, error: BaseException | None = None) -> None:
            with contextlib.suppress(RuntimeError):
                self.post(settle_future, future, value, error)

        return future, settle

    def durable(self) -> tuple[asyncio.Future[Any], Done]:
        """Return a future of the loop and the callback of a write that settles it."""
        future, settle = self.future()
        return future, lambda error: settle(None, error)

    def run_posted(self) -> None:
        """Call what was posted; called by the loop, and once by what closed it."""
        self._is_called = False
        posted = self._posted
        while posted:
            action, args = posted.popleft()
            action(*args)


def settle_future(
    future: asyncio.Future[Any], value: Any = None, error: BaseException | None = None
) -> None:
    """End a future, with an error or a value; one that has ended is left alone."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
