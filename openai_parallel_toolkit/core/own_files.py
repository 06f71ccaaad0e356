"""Open the toolkit's own files so that no link that was planted among them is ever followed.

A file that is begun anew takes the place of whatever has its name. One that is gone on with must be
an ordinary file without a second name, or it is begun anew as well, or refused where it cannot be.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat

from .errors import StorageError
from .filesystem import new_file, storage_errors

_KEPT = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What a state folder holds.
_OWN_NAMES = re.compile(
    r"journal\.sqlite3.*|failures\.jsonl|reserve|probe|run\.(lock|json.*)|open-files|spill-.*"
    r"|batches|batch_folder|fetched|staging|outputs"
)
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def kept_file(path: str) -> int:
    """Open a private file for reading and writing, with what it holds if it is ours alone."""
    try:
        fd = os.open(path, _KEPT, 0o600)
    except OSError as exc:
        if exc.errno not in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR):
            raise
        return new_file(path, os.O_RDWR)
    seen = os.fstat(fd)
    if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1:
        return fd
    os.close(fd)
    return new_file(path, os.O_RDWR)


def refuse_link(path: str) -> os.stat_result | None:
    """Return what has the name of an own file, None if nothing has; a link is a StorageError."""
    try:
        seen = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(seen.st_mode):
        raise _not_ours(path, "is a link or a special file", "remove it")
    return seen


def part_from_others(path: str) -> None:
    """Have no other name lead to an own file: one that has a second name is copied.

    Raises:
        StorageError: it is a link, or cannot be copied.
    """
    seen = refuse_link(path)
    if seen is None or seen.st_nlink == 1:
        return
    part = f"{path}.part"
    with storage_errors(path), open(path, "rb") as source:
        with open(part, "wb", opener=new_file) as copy:
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(copy.fileno())
        os.replace(part, path)


def private_folder(path: str, *, may_be_link: bool = False) -> str:
    """Make a folder that only its owner can look into, if it is not there; return `path`.

    One that others may write to is closed to them, where it holds nothing but ours.

    Args:
        may_be_link: whether a link to it that the same user made is followed.

    Raises:
        StorageError: others may write to it, or it is not this user's.
    """
    with storage_errors(path):
        os.makedirs(path, 0o700, exist_ok=True)
        link, seen = os.lstat(path), os.stat(path)
        if stat.S_ISLNK(link.st_mode) and not (may_be_link and _is_ours(link)):
            raise _not_ours(path, "is a link", "remove it")
        if not _is_ours(seen):
            raise _not_ours(path, f"belongs to the user {seen.st_uid}", _ELSEWHERE)
        if seen.st_mode & _OTHERS_WRITE and not _is_closed(path, seen):
            raise _not_ours(path, "can be written to by others", _ELSEWHERE)
    return path


_ELSEWHERE = "name a folder of your own (state_path), or mend its owner and rights"


def _is_ours(seen: os.stat_result) -> bool:
    return seen.st_uid in (os.geteuid(), 0)


def _is_closed(path: str, seen: os.stat_result) -> bool:
    """Close a folder to others if it is the toolkit's; tell whether they are kept out.

    A group that is the user's first one is taken to be the user's own.
    """
    is_toolkits = all(_OWN_NAMES.fullmatch(name) for name in os.listdir(path))
    if is_toolkits and not seen.st_mode & stat.S_ISVTX:
        os.chmod(path, 0o700)
        seen = os.stat(path)
    is_own_group = seen.st_gid == os.getegid()
    return not seen.st_mode & (stat.S_IWOTH if is_own_group else _OTHERS_WRITE)


def _not_ours(path: str, what: str, advice: str) -> StorageError:
    return StorageError(
        f"{path!r} {what}, but must be a file or folder of the toolkit's own; {advice} and run "
        "again: nothing paid for is lost.",
        errno=errno.EPERM,
        path=path,
    )
