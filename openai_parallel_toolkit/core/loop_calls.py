"""Call into an event loop from other threads, many calls at one wake-up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any

from .describe import describe

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
        #: The thread that the loop runs on, once it has.
        self._thread_id = 0

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

    def soon(self, action: Callable[..., object], *args: Any) -> None:
        """Have the loop call `action(*args)` behind what it is about to do; any thread may."""
        if get_ident() == self._thread_id:
            self.loop.call_soon(action, *args)
        else:
            self.post(action, *args)

    def future(self) -> tuple[asyncio.Future[Any], Callable[..., None]]:
        """Return a future of the loop and what settles it: see `settle_future`; any thread may.

        A loop that was closed meanwhile has no one left who waits.
        """
        future: asyncio.Future[Any] = self.loop.create_future()

        def settle(value: Any = None, error: BaseException | None = None) -> None:
            with contextlib.suppress(RuntimeError):
                if get_ident() == self._thread_id:
                    settle_future(future, value, error)
                else:
                    self.post(settle_future, future, value, error)

        return future, settle

    def durable(self) -> tuple[asyncio.Future[Any], Done]:
        """Return a future of the loop and the callback of a write that settles it."""
        future, settle = self.future()
        return future, lambda error: settle(None, error)

    def run_posted(self) -> None:
        """Call what was posted; called by the loop, and once by what closed it."""
        self._is_called = False
        self._thread_id = get_ident()
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
        return
    try:
        future.set_exception(error)
    except BaseException:  # noqa: BLE001 - whoever waits must not wait for ever
        future.set_exception(RuntimeError(f"{describe(error)} (which no future can carry)"))
