"""Call into an event loop from other threads, many calls at one wake-up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any


class LoopCalls:
    """Runs what other threads post on a loop, in order.

    Needs no lock: a poster appends before it looks at `_is_called`, and the loop clears
    `_is_called` before it takes: nothing posted is left behind, at worst it wakes once too often.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._letters: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._is_called = False

    def post(self, action: Callable[..., object], *args: Any) -> None:
        """Have the loop call `action(*args)` soon; any thread may.

        Raises:
            RuntimeError: the loop is closed.
        """
        self._letters.append((action, args))
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._read)

    def _read(self) -> None:
        self._is_called = False
        letters = self._letters
        while letters:
            action, args = letters.popleft()
            action(*args)


def settle_future(
    future: asyncio.Future[Any], error: BaseException | None, value: Any = None
) -> None:
    """End a future, with an error or else a value; one that has ended is left alone."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
