"""The state folder on the disk: private files, a reserve for the last answers, what went wrong."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..core.errors import JournalError, StorageError, ToolkitError
from ..core.filesystem import closing_fd, sync
from ..core.logs import logger_of

logger = logger_of(__name__)

#: Bytes set aside so that answers in flight can still be kept when the disk is full.
RESERVE_BYTES = 4 * 1024 * 1024
_PRIVATE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: What calls into SQLite raise when the file is at fault; the second where a text is damaged.
FAULTS = (sqlite3.DatabaseError, UnicodeDecodeError)
#: SQLite's primary result codes (https://www.sqlite.org/rescode.html, 2025-01) that name a cause.
_NO_SUCH_TABLE = 1
_CAUSES = {3: errno.EACCES, 8: errno.EROFS, 13: errno.ENOSPC, 14: errno.EACCES}


def make_private(folder: str, name: str) -> str:
    """Make the folder (0700) and an empty file in it (0600) unless they are there; return its path.

    SQLite gives its log and its index the rights of the file they belong to.
    """
    path = os.path.join(folder, name)
    try:
        if not os.path.isdir(folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            sync(os.path.dirname(os.path.abspath(folder)))
        os.close(os.open(path, _PRIVATE, 0o600))
    except OSError as error:
        raise refused(error.errno or errno.EIO, path) from error
    return path


class DiskReserve:
    """A file of real blocks that is given up when the disk is full."""

    def __init__(self, folder: str, size_bytes: int = RESERVE_BYTES) -> None:
        self._path = os.path.join(folder, "reserve")
        self._size_bytes = size_bytes

    def fill(self) -> None:
        """Set the blocks aside, unless they are; without room the run starts without a reserve."""
        try:
            with closing_fd(os.open(self._path, _PRIVATE, 0o600)) as fd:
                if os.fstat(fd).st_blocks * 512 < self._size_bytes:
                    _allocate(fd, self._size_bytes)
        except OSError as error:
            logger.warning(
                "no room to set aside %d bytes beside the journal: %s",
                self._size_bytes,
                os.strerror(error.errno or errno.EIO),
                extra={"action": "no_reserve"},
            )
            self.free()

    def free(self) -> bool:
        """Give the blocks back; tells whether there were any."""
        try:
            os.unlink(self._path)
        except OSError:
            return False
        return True


def _allocate(fd: int, size_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size_bytes)
        return
    while size_bytes > 0:
        size_bytes -= os.write(fd, bytes(size_bytes))


def is_of_the_disk(error: BaseException) -> bool:
    """Tell whether SQLite failed because of the file below it, not because of what it was given."""
    disk = sqlite3.OperationalError, sqlite3.InternalError
    return isinstance(error, disk) or type(error) is sqlite3.DatabaseError


@contextmanager
def faults_told(path: str) -> Iterator[None]:
    """Raise what is behind an error of SQLite."""
    try:
        yield
    except FAULTS as error:
        raise explain(error, path) from error


def explain(error: Exception, path: str) -> ToolkitError:
    """Return what an error of SQLite means for the person who runs the toolkit."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    is_operational = isinstance(error, sqlite3.OperationalError)
    # A table that is not there has lost its line in the schema.
    if code == _NO_SUCH_TABLE or not is_operational:
        return damaged(path)
    # SQLite keeps the errno to itself, and Python 3.10 the code too: the disk is asked.
    cause = _CAUSES.get(code) or _probe(os.path.dirname(path)) or errno.EIO
    return refused(cause, path)


def damaged(path: str) -> JournalError:
    """Return the error for a journal that cannot be what was written, with what to do."""
    return JournalError(
        f"The journal {path} is damaged; run the command `repair` on the output folder. "
        "What can be read is saved, and the damaged file is kept beside it.",
        path=path,
    )


def refused(number: int, path: str) -> StorageError:
    """Return the error for a write that the disk refused, with what to do."""
    advice = "free some space" if number in _FULL else "mend the disk or the permissions"
    return StorageError(
        f"The journal {path} cannot be written: {os.strerror(number)}. Nothing more is sent; "
        f"{advice}, then run again: what was kept is not paid for twice.",
        errno=number,
        path=path,
    )


def is_full(error: ToolkitError) -> bool:
    """Tell whether freeing space would help."""
    return isinstance(error, StorageError) and error.errno in _FULL


def _probe(folder: str) -> int | None:
    path = os.path.join(folder, "probe")
    try:
        with closing_fd(os.open(path, _PRIVATE, 0o600)) as fd:
            os.write(fd, bytes(65536))
            os.fsync(fd)
    except OSError as error:
        return error.errno
    finally:
        with suppress(OSError):  # the answer is what counts
            os.unlink(path)
    return None
