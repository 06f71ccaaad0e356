"""The state folder on the disk: private files, and what went wrong."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..core.errors import JournalError, StorageError, ToolkitError
from ..core.file_kinds import is_folder
from ..core.filesystem import FULL_ERRNOS, closing_fd, new_file, sync
from ..core.own_files import part_from_others

_PRIVATE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MEND = "mend the disk or the permissions"
_ADVICE = {
    **dict.fromkeys(FULL_ERRNOS, "free some space"),
    errno.EFBIG: "allow larger files (`ulimit -f`, or another file system)",
}
#: What calls into SQLite raise when the file is at fault; the second where a text is damaged.
FAULTS = (sqlite3.DatabaseError, UnicodeDecodeError)
#: SQLite's primary result codes (https://www.sqlite.org/rescode.html, 2025-01) that name a cause.
_NO_SUCH_TABLE = 1
_CAUSES = {13: errno.ENOSPC}
#: Those that have many causes, and which one it is if the disk shows no other.
_LIKELY = {3: errno.EACCES, 8: errno.EROFS, 14: errno.EACCES}


def make_private(folder: str, name: str) -> str:
    """Make the folder (0700) and an empty file in it (0600) unless they are there; return its path.

    SQLite gives its log and its index the rights of the file they belong to.
    """
    path = os.path.join(folder, name)
    try:
        if not is_folder(folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            sync(os.path.dirname(os.path.abspath(folder)))
        for own in (path, f"{path}-wal", f"{path}-shm"):
            part_from_others(own)
        os.close(os.open(path, _PRIVATE, 0o600))
    except OSError as error:
        raise refused(error.errno or errno.EIO, path) from error
    return path


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
    """Return what an error of the disk means for the person who runs the toolkit."""
    if isinstance(error, OSError):
        return refused(error.errno or errno.EIO, path)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    is_operational = isinstance(error, sqlite3.OperationalError)
    # A table that is not there has lost its line in the schema.
    if code == _NO_SUCH_TABLE or not is_operational:
        # What a disk that fails has given back says nothing of the journal.
        return refused(errno.EIO, path) if _probe(path) == errno.EIO else damaged(path)
    # SQLite keeps the errno to itself, and Python 3.10 the code too: the disk is asked.
    likely = _LIKELY.get(code, errno.EIO)
    return refused(_CAUSES.get(code) or _probe(path) or likely, path)


def damaged(path: str) -> JournalError:
    """Return the error for a journal that cannot be what was written, with what to do."""
    return JournalError(
        f"The journal {path} is damaged, unless the disk failed for a moment: run again, and if "
        "that tells the same, run the command `repair` on the output folder. What can be read is "
        "saved, and the damaged file is kept beside it.",
        path=path,
    )


def refused(number: int, path: str) -> StorageError:
    """Return the error for a write that the disk refused, with what to do."""
    advice = _ADVICE.get(number, _MEND)
    return StorageError(
        f"The journal {path} cannot be written: {os.strerror(number)}. Nothing more is sent; "
        f"{advice}, then run again: what was kept is not paid for twice.",
        errno=number,
        path=path,
    )


def no_room(number: int, path: str) -> StorageError:
    """Return the error for an answer that could not be kept, so that it is not asked for."""
    return StorageError(
        f"There is no room beside the journal {path} for an answer: {os.strerror(number)}. "
        f"Nothing is sent; {_ADVICE.get(number, _MEND)}, then run again.",
        errno=number,
        path=path,
    )


def _probe(path: str) -> int | None:
    """Return why the files of a journal cannot grow; None: they can."""
    probe = os.path.join(os.path.dirname(path), "probe")
    try:
        sizes = [os.path.getsize(name) for name in (path, f"{path}-wal") if os.path.exists(name)]
        with closing_fd(new_file(probe)) as fd:
            os.write(fd, bytes(65536))
            os.pwrite(fd, b"\0", max(sizes, default=0) + 65536)  # a file may be large enough
            os.fsync(fd)
    except OSError as error:
        return error.errno
    finally:
        with suppress(OSError):  # the answer is what counts
            os.unlink(probe)
    return None
