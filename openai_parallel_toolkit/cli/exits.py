"""What the exit status says, and which error gives which."""

from __future__ import annotations

from ..core.errors import ToolkitError

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
    "5": "the disk or the journal refused",
    "6": "the money that was allowed is spent",
    "70": "a bug, in the toolkit or in the hooks' module; its traceback is shown",
    "129, 130, 143": "stopped by SIGHUP, SIGINT (Ctrl-C), SIGTERM; run it again to go on",
}


def code_of(error: BaseException) -> int:
    """Return the exit status for what a command raised."""
    if isinstance(error, ToolkitError):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else MISTAKE if error.code else OK
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else BUG
