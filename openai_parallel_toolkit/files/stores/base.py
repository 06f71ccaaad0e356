"""What the toolkit asks of a place that holds files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from ...core.errors import StorageError, UnsafePath


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """A file in a store."""

    #: Below the store's root, with forward slashes.
    path: str
    size_bytes: int
    #: Changes when it is written to: an ETag, or size and time.
    signature: str


class Store(Protocol):
    """A folder on disk, or a prefix in an object store; blocking, and safe to use from threads.

    Paths are relative to its root and have forward slashes. Every method may raise StorageError
    when the place refuses, and UnsafePath for a path that is not below the root.
    """

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        ...

    def list(self, below: str = "", *, recursive: bool = True) -> Iterator[StoredObject]:
        """Yield the files below a folder ("" is the root), in the order of their paths.

        A folder that does not exist has none. No call is made per file.

        Raises:
            FileNotFoundError: the bucket or container does not exist.
        """
        ...

    def stat(self, path: str) -> StoredObject:
        """Return what is known of a file.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def exists(self, path: str) -> bool:
        """Whether there is a file of this name; a folder is none."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading; its bytes come as they are asked for.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def fetch(self, path: str, local_path: str) -> StoredObject:
        """Copy a file to the local disk, replacing what is there, and return what it was.

        Raises:
            FileNotFoundError: there is none.
            StorageError: also when it was written to meanwhile.
        """
        ...

    def publish(self, local_path: str, path: str) -> None:
        """Copy a local file into the store; under its name it is whole or absent at any time.

        What had the name is replaced.
        """
        ...

    def claim(self, path: str) -> bool:
        """Make an empty file unless the name is taken; of several who try, one gets True."""
        ...

    def move(self, path: str, to: str) -> None:
        """Give a file another name, replacing what has it; in an object store, copy and delete.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def delete(self, path: str) -> None:
        """Delete a file; one that is gone already is fine."""
        ...

    def url(self, path: str = "") -> str:
        """Return the full name of a file, or of the root."""
        ...

    def close(self) -> None:
        """Let go of connections; nothing else may be called afterwards."""
        ...


def changed(url: str) -> StorageError:
    """Return the error for a file that was written to while it was read."""
    return StorageError(f"{url!r} was written to while it was read; run again.", path=url)


def checked(path: str) -> str:
    """Return a path that names something strictly below a root.

    Raises:
        UnsafePath: it is absolute, empty, holds NUL, or has a part that is empty, "." or "..".
    """
    if "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise UnsafePath(f"{path!r} cannot be used as a path below a folder; rename it.", path=path)
    return path
