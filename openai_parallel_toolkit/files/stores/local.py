"""A folder of this machine as a store."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from ...core.filesystem import atomic_file, check_relative, storage_error
from ..input_file import open_input
from ..inputs import signature_of
from .base import Store, StoredObject

#: What a file is called while it is being written; earlier versions put its own name in it.
_PART = re.compile(r"\.(.+\.)?[0-9a-f]{16}\.part")
_ABSENT = (FileNotFoundError, NotADirectoryError)


class LocalStore(Store):
    """The files below a folder; links to folders are not followed."""

    is_local = True

    def __init__(self, root: str) -> None:
        """Take a folder, which need not exist before something is published."""
        self.root = os.path.abspath(root)

    def list(self, *, recursive: bool = True) -> Iterator[StoredObject]:
        return self._walk("", recursive=recursive)

    def stat(self, path: str) -> StoredObject:
        with self._told(path):
            seen = os.stat(self._at(path))
            if not stat.S_ISREG(seen.st_mode):
                raise FileNotFoundError(errno.ENOENT, "It is no file", path)
            return _stored(path, seen)

    def open(self, path: str) -> BinaryIO:
        with self._told(path):
            return open_input(self._at(path))

    def _copy_to(self, path: str, local_path: str) -> None:
        with self._told(path), open_input(self._at(path)) as source, open(local_path, "wb") as copy:
            shutil.copyfileobj(source, copy)

    def publish(self, local_path: str, path: str) -> None:
        with self._told(path):
            final = self._at(path)
            folder = os.path.dirname(final)
            os.makedirs(folder, exist_ok=True)
            name = os.path.join(folder, f".{secrets.token_hex(8)}.part")
            with atomic_file(final, part=name) as part:
                shutil.copyfile(local_path, part)

    def clear_parts(self, folder: str) -> None:
        with self._told(folder), suppress(*_ABSENT), os.scandir(self._at(folder)) as entries:
            for entry in entries:
                if _PART.fullmatch(entry.name):
                    os.unlink(entry.path)

    def delete(self, path: str) -> None:
        with self._told(path), suppress(*_ABSENT):
            os.unlink(self._at(path))

    def url(self, path: str = "") -> str:
        return os.path.join(self.root, path) if path else self.root

    def close(self) -> None:
        """Nothing is kept open."""

    def _at(self, path: str) -> str:
        return os.path.join(self.root, check_relative(path))

    def _walk(self, folder: str, *, recursive: bool) -> Iterator[StoredObject]:
        try:
            with os.scandir(os.path.join(self.root, folder)) as entries:
                # As whole paths sort: what is in "a" comes where "a/" does.
                found = sorted(entries, key=_sorted_as)
        except _ABSENT:
            return
        except OSError as exc:
            raise storage_error(exc, self.url(folder)) from exc
        for entry in found:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if recursive:
                    yield from self._walk(path, recursive=True)
            elif entry.is_file() and not _PART.fullmatch(entry.name):
                with suppress(FileNotFoundError):  # deleted in between
                    yield _stored(path, entry.stat())

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except NotADirectoryError as exc:
            raise FileNotFoundError(errno.ENOENT, "There is no such file", self.url(path)) from exc
        except OSError as exc:
            raise storage_error(exc, self.url(path)) from exc


def _sorted_as(entry: os.DirEntry[str]) -> str:
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


def _stored(path: str, seen: os.stat_result) -> StoredObject:
    return StoredObject(path=path, size_bytes=seen.st_size, signature=signature_of(seen))
