"""Have as many files and connections open at a time as the system lets this process."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress

_OPEN_NOW = "/dev/fd"


def make_room(count: int) -> int | None:
    """See to it that `count` more files can be opened; return how many can; None: all of them.

    Where this process may have fewer at a time, its own limit (`ulimit -n`, often 1,024, on macOS
    256) is raised as far as is needed and as the system allows.
    """
    open_now = 0
    with suppress(OSError):  # no such folder on this system, or no room to look into it
        open_now = len(os.listdir(_OPEN_NOW))
    wanted = open_now + count
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):  # the system has a limit of its own, which it does not tell
        most = soft
    return None if most >= wanted else max(0, most - open_now)


def is_out_of_room(error: BaseException) -> bool:
    """Whether this process or the whole system has too many files open."""
    return getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE)
