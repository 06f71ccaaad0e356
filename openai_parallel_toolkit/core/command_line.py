"""How this package's command is to be typed here, and how this process was started."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

from .redaction import Redactor

PROGRAM = "openai-parallel-toolkit"
_PACKAGE = __package__.partition(".")[0]


def program() -> str:
    """Return what to type for the command: its name, its path where PATH does not lead to it."""
    script = _own_script() or os.path.join(os.path.dirname(sys.executable or ""), PROGRAM)
    if not os.access(script, os.X_OK):
        return f"{_python()} -m {_PACKAGE}"
    found = shutil.which(PROGRAM)
    if found is not None and os.path.realpath(found) == os.path.realpath(script):
        return PROGRAM
    return _shortest(script)


def command(*words: str) -> str:
    """Return a command line of this package to be typed here."""
    return f"{program()} {shlex.join(words)}"


def started_as(*more: str) -> str:
    """Return the command line that started this process, with options it does not have yet.

    "": it cannot be told: it holds a secret, or arguments of a program that is not ours.
    """
    arguments = sys.argv[1:]
    if _own_script() or _is_module():
        missing = [option for option in more if option not in arguments]
        line = command(*arguments, *missing)
    elif not arguments and os.path.isfile(sys.argv[0]):
        line = f"{_python()} {shlex.quote(sys.argv[0])}"
    else:
        return ""
    return line if Redactor().clean(line) == line else ""


def _own_script() -> str:
    return sys.argv[0] if os.path.basename(sys.argv[0]) == PROGRAM else ""


def _is_module() -> bool:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return getattr(spec, "name", "") == f"{_PACKAGE}.__main__"


def _python() -> str:
    return _shortest(sys.executable) if sys.executable else "python"


def _shortest(path: str) -> str:
    """Return a path for a shell in the current folder."""
    try:
        below = os.path.relpath(path)
    except (OSError, ValueError):  # the current folder is gone
        below = path
    return shlex.quote(path if below.startswith(os.pardir) or os.sep not in below else below)
