"""What the toolkit asks of a place that holds files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, ClassVar

from ...core.errors import StorageError
from ...core.filesystem import atomic_file


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """A file in a store."""

    #: Below the store's root, with forward slashes.
    path: str
    size_bytes: int
    #: Changes when it is written to: an ETag, or size and time.
    signature: str


class Store(ABC):
    """A folder on disk, or a prefix in an object store; blocking, and safe to use from threads.

    Paths are relative to its root and have forward slashes. Every method may raise StorageError
    when the place refuses, and UnsafePath for a path that is not below the root; those that read a
    file raise FileNotFoundError when there is none.
    """

    #: Whether it is a folder of this machine.
    is_local: ClassVar[bool]

    @abstractmethod
    def list(self, *, recursive: bool = True) -> Iterator[StoredObject]:
        """Yield the files in the order of their paths; no call is made per file.

        A folder that does not exist has none.

        Raises:
            FileNotFoundError: the bucket or container does not exist.
        """

    @abstractmethod
    def stat(self, path: str) -> StoredObject:
        """Return what is known of a file."""

    def exists(self, path: str) -> bool:
        """Whether there is a file of this name; a folder is none."""
        try:
            self.stat(path)
        except FileNotFoundError:
            return False
        return True

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """Open a file for reading; its bytes come as they are asked for."""

    def fetch(self, path: str, local_path: str) -> StoredObject:
        """Copy a file to the local disk, replacing what is there, and return what it was.

        That it was written to meanwhile is a StorageError.
        """
        seen = self.stat(path)
        with atomic_file(local_path, is_durable=False) as part:
            # A large file comes in several reads, which may meet different versions.
            self._copy_to(path, part)
            if self.stat(path) != seen:
                url = self.url(path)
                raise StorageError(
                    f"{url!r} was written to while it was read; run again.", path=url
                )
        return seen

    @abstractmethod
    def _copy_to(self, path: str, local_path: str) -> None:
        """Copy a file to the local disk."""

    @abstractmethod
    def publish(self, local_path: str, path: str) -> None:
        """Copy a local file into the store; under its name it is whole or absent at any time.

        What had the name is replaced.
        """

    def clear_parts(self, folder: str) -> None:  # noqa: B027 - most leave nothing
        """Delete what publishing into a folder, which nobody does now, has left half written."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Delete a file; one that is gone already is fine."""

    @abstractmethod
    def url(self, path: str = "") -> str:
        """Return the full name of a file, or of the root."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections; nothing else may be called afterwards."""
