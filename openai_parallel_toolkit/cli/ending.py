"""End the process for certain, even when a hook hangs in a thread that Python would wait for."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time

#: Time for threads and `atexit` handlers of the user's own to come to their end.
_LINGER_S = 1.0


class Ending:
    """Ends the process with its exit status, at the latest `_LINGER_S` after it is known.

    Make it before anything else: `atexit` calls the handler that was registered first as the last.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        self._pid = os.getpid()
        atexit.register(self._leave)

    def of(self, code: int) -> int:
        """Note the exit status and return it; from here on the process ends."""
        self._code = code
        # Nothing is left that could stop in good order.
        signal.signal(signal.SIGINT, lambda *_: os._exit(code))
        threading.Thread(target=self._leave_soon, name="ending", daemon=True).start()
        return code

    def _leave_soon(self) -> None:
        time.sleep(_LINGER_S)
        self._leave()

    def _leave(self) -> None:
        if self._code is None or os.getpid() != self._pid:
            return
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):  # nobody reads any more
                continue
        os._exit(self._code)
