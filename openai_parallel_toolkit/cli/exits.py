"""What the exit status says, which error gives which, and how the process ends with it."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from contextlib import suppress

from ..core.errors import OutOfResources, ToolkitError
from ..core.threads import start_thread

OK = 0
SOME_FAILED = 1
MISTAKE = 2
NO_USABLE_KEY = 4
INTERRUPTED = 130
BUG = 70

#: Every exit status, as `--help` shows it.
EXIT_CODES = {
    "0": "all is well",
    "1": "some files or lines failed, or were put aside",
    "2": "a mistake to mend: options, configuration, input, the hooks' module",
    "3": "another process works on the output folder",
    "4": "no key can be used",
    "5": "the disk or the journal refused, or the system gave no more threads or memory",
    "6": "the money that was allowed is spent",
    "70": "a bug, in the toolkit or in the hooks' module; its traceback is shown",
    "129, 130, 143": "stopped by SIGHUP, SIGINT (Ctrl-C), SIGTERM; run it again to go on",
}
#: Time for threads and `atexit` handlers of the user's own to come to their end.
_LINGER_S = 1.0


def code_of(error: BaseException) -> int:
    """Return the exit status for what a command raised."""
    if isinstance(error, ToolkitError):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else MISTAKE if error.code else OK
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else BUG


class CertainExit:
    """Ends the process at the latest `_LINGER_S` after its exit status is known.

    Even when a hook hangs in a thread that Python would wait for. Make it before anything else:
    `atexit` calls the handler that was registered first as the last.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        self._pid = os.getpid()
        atexit.register(self._leave)

    def with_code(self, code: int) -> int:
        """Note the exit status and return it; from here on the process ends."""
        self._code = code
        # Nothing is left that could stop in good order.
        signal.signal(signal.SIGINT, lambda *_: os._exit(code))
        with suppress(OutOfResources):  # without a thread for it, there is one reason less
            start_thread(self._leave_soon, name="exit")
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
