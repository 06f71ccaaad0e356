"""The files that keys have uploaded, imported or got from their batches."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from ..environment import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file at the provider."""

    id: str
    #: Name of the key whose it is.
    key: str
    name: str
    purpose: str
    content: bytes
    #: "processed"; on Azure first "pending", and "error" when an import failed.
    status: str = "processed"
    #: Why it has the status "error"; None: it has not.
    trouble: str | None = None
    #: Seconds since 1970.
    created_s: float
    #: Seconds since 1970; None: it is kept until it is deleted.
    expires_s: float | None = None


class FileStore:
    """Keeps files until they are deleted or expire. `_lock` guards them all."""

    def __init__(self, environment: Environment) -> None:
        self._lock = threading.Lock()
        self._seed = environment.seed
        self._now_s = environment.now_s
        self._files: dict[str, StoredFile] = {}
        self._count = 0

    def add(self, content: bytes, *, lifetime_s: float | None = None, **facts: str) -> StoredFile:
        """Keep a file; a `lifetime_s` of None is without end.

        `facts` are its key, name and purpose, and its status unless it is processed.
        """
        created_s = self._now_s()
        with self._lock:
            self._count += 1
            file = StoredFile(
                id=f"file-{self._seed & 0xFFFFFFFF:08x}{self._count:014x}",
                content=content,
                created_s=created_s,
                expires_s=None if lifetime_s is None else created_s + lifetime_s,
                **facts,
            )
            self._files[file.id] = file
        return file

    def settle(self, file: StoredFile, *, content: bytes = b"", trouble: str | None = None) -> None:
        """End a file's being pending, with its content or with what went wrong."""
        status = "processed" if trouble is None else "error"
        with self._lock:
            if self._files.get(file.id) is file:
                self._files[file.id] = replace(
                    file, status=status, content=content, trouble=trouble
                )

    def find(self, file_id: str, key: str) -> StoredFile | None:
        """Return a key's file; None: the key has none of this id."""
        return next((file for file in self.stored(key) if file.id == file_id), None)

    def delete(self, file: StoredFile) -> None:
        """Forget a file."""
        with self._lock:
            self._files.pop(file.id, None)

    def stored(self, key: str | None = None) -> list[StoredFile]:
        """Return the files that are kept now, oldest first; a key of None means all keys."""
        now_s = self._now_s()
        with self._lock:
            self._files = {
                file.id: file
                for file in self._files.values()
                if file.expires_s is None or file.expires_s > now_s
            }
            return [file for file in self._files.values() if key in (None, file.key)]

    def reset(self) -> None:
        """Forget all files."""
        with self._lock:
            self._files.clear()
            self._count = 0
