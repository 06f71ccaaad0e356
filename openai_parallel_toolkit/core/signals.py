"""Heed Ctrl-C, SIGTERM and SIGHUP: at once, or in good order, and at once when told again."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from .errors import RunStopped

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class StopSignals:
    """Notes the first stop signal while it is entered; does nothing outside the main thread.

    The handler only notes: it may interrupt the main thread while that holds any lock. Where there
    is nothing yet to bring to an end, it raises RunStopped: see `raises`.
    """

    def __init__(self, *, raises: bool = False) -> None:
        """Prepare; with `raises` the first signal ends what is under way, as others do a second."""
        self._raises = raises
        self._before: dict[int, Any] = {}
        #: The signal that came; None: none did.
        self.received: int | None = None

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # such as under nohup
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._raises or self.received is not None:
            raise RunStopped(128 + number)
        self.received = number
