"""What is at a path; a disk that does not tell is no path where nothing is, as `os.path` has it."""

from __future__ import annotations

import errno
import os
import stat

from .filesystem import storage_error

#: Nothing is there, nothing can be, or it is not for us.
_ABSENT = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM}
)
#: As well: it is not of the kind that was wanted.
_MISTAKES = _ABSENT | {errno.EISDIR, errno.EINVAL, errno.ENXIO}


def exists(path: str) -> bool:
    """Whether something is at the end of a path and its links.

    Raises:
        StorageError: the disk does not tell; so do the others here.
    """
    return _mode(path) != 0


def is_folder(path: str) -> bool:
    """Whether a folder is there, or a link to one."""
    return stat.S_ISDIR(_mode(path))


def is_file(path: str) -> bool:
    """Whether a regular file is there, or a link to one."""
    return stat.S_ISREG(_mode(path))


def raise_unless_mistaken(exc: OSError, path: str) -> None:
    """Raise an OSError as StorageError, unless whoever named the path can mend it."""
    if exc.errno not in _MISTAKES:
        raise storage_error(exc, path) from exc


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except ValueError:  # a NUL in it
        return 0
    except OSError as exc:
        if exc.errno in _ABSENT:
            return 0
        raise storage_error(exc, path) from exc
