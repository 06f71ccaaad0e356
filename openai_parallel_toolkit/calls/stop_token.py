"""Let the calls of a run go on, or tell them to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..core.errors import RunStopping


class StopToken:
    """Open until `close`; then what waits is interrupted and nothing more may be sent.

    One lock guards the reason and the list of those who wait.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interrupts: dict[int, Callable[[], None]] = {}
        self._next = 0
        self._reason: BaseException | None = None

    @property
    def reason(self) -> BaseException | None:
        """Why it was closed; None: it is open."""
        return self._reason

    def is_closed(self) -> bool:
        """Return whether nothing more may be begun."""
        return self._reason is not None

    def close(self, reason: BaseException) -> None:
        """Stop what waits; the first reason stays."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            interrupts = list(self._interrupts.values())
        for interrupt in interrupts:
            interrupt()

    def check(self) -> None:
        """Raise RunStopping when closed."""
        if self._reason is not None:
            raise RunStopping

    @contextmanager
    def waiting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Have `interrupt` called if it is closed inside the block; RunStopping if it did."""
        with self._lock:
            self._next += 1
            token = self._next
            self._interrupts[token] = interrupt
        try:
            self.check()
            yield
            self.check()
        finally:
            with self._lock:
                self._interrupts.pop(token, None)
