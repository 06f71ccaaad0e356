"""Act on the file system so that a power cut or a swapped link cannot do harm.

Folders of the output are opened step by step and acted on through their descriptors: a link that
is put in later cannot lead an action astray. POSIX only: Windows has no descriptors of folders.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from .describe import attribute_of, is_a
from .errors import OutOfResources, StorageError, ToolkitError, UnsafePath
from .open_file_limit import is_out_of_room

#: The disk is full, a quota is, or a file is as large as it may be.
FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Errors of the disk itself: the next file would fare no better.
DISK_ERRNOS = FULL_ERRNOS | {errno.EIO, errno.EROFS}
#: The system refuses; that is no fault of the program.
REFUSAL_ERRNOS = DISK_ERRNOS | {errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM}
#: File systems that other hosts write to as well, where locks and SQLite cannot be trusted.
NETWORK_KINDS = frozenset(
    {"nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph",
     "glusterfs", "lustre", "beegfs", "gpfs", "davfs", "fuse.sshfs", "fuse.s3fs", "fuse.rclone",
     "fuse.gcsfuse", "fuse.davfs2", "fuse.glusterfs", "fuse.ceph", "fuse.blobfuse2",
     "fuse.goofys", "fuse.curlftpfs", "fuse.juicefs"}
)  # fmt: skip
#: How paths are kept as bytes; see `path_bytes`.
PATH_CODEC = "utf-8", "surrogatepass"
#: Size in bytes and hex SHA-256.
Digest = tuple[int, str]
_FIRST_CHUNK_BYTES, _CHUNK_BYTES = 65_536, 1_048_576
_MOUNTS = "/proc/self/mountinfo"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HOW = os.O_RDONLY | os.O_WRONLY | os.O_RDWR | os.O_APPEND
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """An open folder."""

    path: str
    fd: int


class Files:
    """The actions whose order decides what a power cut leaves; tests pass one that records."""

    def sync(self, path: str) -> None:
        """Wait until a file's bytes are on the disk."""
        with closing_fd(open_regular(path)) as fd:
            os.fsync(fd)

    def sync_folder(self, folder: Folder) -> None:
        os.fsync(folder.fd)

    def make_folder(self, parent: Folder, name: str) -> None:
        """Make a folder; one that exists already is no error."""
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent.fd)

    def move(self, source: str, folder: Folder, name: str) -> None:
        """Move a file into an open folder, replacing what has the name there."""
        os.rename(source, name, dst_dir_fd=folder.fd)


def digest(
    path: str,
    *,
    starts_writing: bool = False,
    see: Callable[[bytes], object] | None = None,
) -> Digest:
    """Return a regular file's size in bytes and the hex SHA-256 of its content.

    Args:
        see: is shown the content, piece by piece.
        starts_writing: have the system begin to bring it to the disk, without waiting. Files that
            are synced together afterwards then share one commit of the file system: measured on
            ext4, 0.02 ms of CPU each instead of 0.06.

    Raises:
        UnsafePath: it is a link, a special file or has a second name.
    """
    fd = open_regular(path)
    try:  # not `closing_fd`, which takes some microseconds: every output comes here
        size_bytes, seen = 0, hashlib.sha256()
        # Large ones only for files that are: room for a megabyte takes longer than a small file.
        while chunk := os.read(fd, min(_CHUNK_BYTES, _FIRST_CHUNK_BYTES + size_bytes)):
            size_bytes += len(chunk)
            seen.update(chunk)
            if see is not None:
                see(chunk)
        if starts_writing and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return size_bytes, seen.hexdigest()
    finally:
        os.close(fd)


@contextmanager
def closing_fd(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def open_regular(path: str) -> int:
    """Open a regular file without a second name (a hard link), following no link."""
    try:
        fd = os.open(path, _READ)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO, errno.EMLINK):
            raise _not_regular(path) from exc
        raise
    seen = os.fstat(fd)
    if not stat.S_ISREG(seen.st_mode) or seen.st_nlink > 1:
        os.close(fd)
        raise _not_regular(path)
    return fd


def _not_regular(path: str) -> UnsafePath:
    return UnsafePath(
        f"{path!r} is a link or a special file; write outputs as ordinary files.", path=path
    )


@contextmanager
def open_root(path: str) -> Iterator[Folder]:
    """Open a folder by its path, whose links are followed: it is the user's own choice."""
    with closing_fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)) as fd:
        yield Folder(path=path, fd=fd)


def open_below(parent: Folder, name: str) -> Folder:
    """Open a folder inside an open one, following no link; the caller closes its fd."""
    path = os.path.join(parent.path, name)
    try:
        fd = os.open(name, _FOLDER, dir_fd=parent.fd)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
            raise UnsafePath(
                f"{path!r} is a link or a file where an output folder must be; move it away.",
                path=path,
            ) from exc
        raise
    return Folder(path=path, fd=fd)


def check_relative(path: str) -> str:
    """Return `path` when it names something strictly below a folder, in its shortest form."""
    parts = path.split("/")
    if "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise UnsafePath(f"{path!r} cannot be used as a path below a folder; rename it.", path=path)
    return path


def path_bytes(path: str) -> bytes:
    """Return a path, or a name, as bytes that sort as Python sorts the text; nothing is lost."""
    return path.encode(*PATH_CODEC)


def path_text(kept: bytes) -> str:
    """Return what `path_bytes` was given."""
    return kept.decode(*PATH_CODEC)


def identity(seen: os.stat_result) -> tuple[int, int]:
    """Return device and inode: the same for every name of a file or folder."""
    return seen.st_dev, seen.st_ino


def storage_error(exc: OSError, path: str) -> StorageError:
    """Return `exc` as the error that users meet, with its `errno` and `path`."""
    reason = exc.strerror or type(exc).__name__
    advice = "Allow more (`ulimit -n`)" if is_out_of_room(exc) else "Mend it"
    return StorageError(
        f"{path!r}: {reason}. {advice} and run again: nothing paid for is lost.",
        errno=exc.errno,
        path=path,
    )


def named_in(exc: OSError, otherwise: str) -> str:
    """Return the path that an error names, the later one of two; else `otherwise`."""
    name = exc.filename2 or exc.filename
    return os.fsdecode(name) if isinstance(name, str | bytes) else otherwise


@contextmanager
def storage_errors(path: str) -> Iterator[None]:
    """Raise an OSError as StorageError; `path` is told where the error names none."""
    try:
        yield
    except OSError as exc:
        raise storage_error(exc, named_in(exc, path)) from exc


def is_disk_trouble(error: BaseException) -> bool:
    """Whether the disk itself refused, so that going on is of no use."""
    if not is_a(error, (OSError, StorageError)):
        return False
    errno_: object = attribute_of(error, "errno")
    return is_a(errno_, int) and errno_ in DISK_ERRNOS


def as_toolkit_error(error: BaseException, path: str) -> ToolkitError:
    """Return an OSError as StorageError, and a ToolkitError as it is; anything else is raised."""
    if isinstance(error, OSError):
        return storage_error(error, named_in(error, path))
    if isinstance(error, MemoryError):
        return OutOfResources()
    if isinstance(error, ToolkitError):
        return error
    raise error


def new_file(path: str, flags: int = os.O_WRONLY, mode: int = 0o600) -> int:
    """Open an empty file, in place of whatever has its name; also as the opener of `open`.

    Args:
        flags: how it is opened; that it is made and empty goes without saying.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, flags & _HOW | _NEW, mode)


def sync(path: str) -> None:
    """Bring a file's bytes, or a folder's names, to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_durably(source: str, path: str) -> None:
    """Give a written file its final name; whatever cuts in, the old or the new one is there."""
    sync(source)
    os.replace(source, path)
    sync(os.path.dirname(os.path.abspath(path)))


@contextmanager
def atomic_file(
    path: str, *, part: str | None = None, mode: int = 0o666, is_durable: bool = True
) -> Iterator[str]:
    """Give the block an empty file to write to, which is whole or absent under `path`.

    Args:
        part: its name until it is whole; None: `<path>.part`. It is gone when the block raises.
        mode: its rights, before the umask.
        is_durable: wait for the disk, so that a power cut leaves the old file or the new one.
    """
    part = part or f"{path}.part"
    try:
        os.close(new_file(part, mode=mode))
        yield part
        (replace_durably if is_durable else os.replace)(part, path)
    finally:
        with suppress(OSError):  # as a rule it is not there; what was raised before counts
            os.unlink(part)


def free_bytes(path: str) -> int:
    """Return what an ordinary user may still write on the file system of `path`."""
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize


def filesystem_kind(path: str, *, mounts: str = _MOUNTS) -> str:
    """Return the kind of file system that holds `path`, as the kernel names it ("ext4", "nfs4").

    "" where the system has no table of mounts. `mounts` is that table's path.
    """
    try:
        with open(mounts, "rb") as table:
            lines = table.read().splitlines()
    except FileNotFoundError:
        return ""
    wanted = os.fsencode(os.path.realpath(path))
    best, kind = b"", b""
    for line in lines:
        left, _, right = line.partition(b" - ")
        point = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), left.split()[4])
        inside = wanted == point or wanted.startswith(point.rstrip(b"/") + b"/")
        if inside and len(point) >= len(best):  # of equal points the later mount covers the earlier
            best, kind = point, right.split()[0]
    return kind.decode("ascii", "replace")


def refuse_network(path: str, *, mounts: str = _MOUNTS) -> None:
    """Raise StorageError for a state folder that lies on a network file system."""
    kind = filesystem_kind(path, mounts=mounts)
    if kind in NETWORK_KINDS:
        raise StorageError(
            f"{path!r} lies on a network file system ({kind}), where a journal is not safe. "
            "Set state_path to a folder on a local disk; outputs may stay where they are.",
            errno=errno.EOPNOTSUPP,
            path=path,
        )


def is_case_insensitive(folder: str) -> bool:
    """Whether the file system of `folder` takes names that differ only in case for the same."""
    probe = f".probe-{secrets.token_hex(4)}"
    path = os.path.join(folder, probe)
    with storage_errors(folder):
        os.close(new_file(path))
        try:
            return os.path.lexists(os.path.join(folder, probe.upper()))
        finally:
            os.unlink(path)


def name_key(folder: str) -> Callable[[str], str]:
    """Return the key under which the file system of `folder` takes two names for the same.

    File systems that ignore case are taken to ignore Unicode's forms too: refusing two names
    that could have lived together is clear, losing one of them is not.
    """
    return _caseless_key if is_case_insensitive(folder) else str


def _caseless_key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
