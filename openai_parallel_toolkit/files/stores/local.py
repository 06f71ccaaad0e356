"""A folder of this machine as a store."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from ...core.filesystem import storage_error
from .base import StoredObject, changed, checked

#: What a file is called while it is being written.
_PART = re.compile(r"\..+\.[0-9a-f]{16}\.part")
_ABSENT = (FileNotFoundError, NotADirectoryError)


class LocalStore:
    """The files below a folder; links to folders are not followed."""

    is_local = True

    def __init__(self, root: str) -> None:
        """Take a folder, which need not exist before something is published."""
        self.root = os.path.abspath(root)

    def list(self, below: str = "", *, recursive: bool = True) -> Iterator[StoredObject]:
        return self._walk(checked(below) if below else "", recursive=recursive)

    def stat(self, path: str) -> StoredObject:
        with self._told(path):
            seen = os.stat(self._place(path))
            if os.path.isdir(self._place(path)):
                raise FileNotFoundError(errno.ENOENT, "It is a folder", path)
            return _stored(path, seen)

    def exists(self, path: str) -> bool:
        return os.path.isfile(self._place(path))

    def open(self, path: str) -> BinaryIO:
        with self._told(path):
            return open(self._place(path), "rb")

    def fetch(self, path: str, local_path: str) -> StoredObject:
        seen = self.stat(path)
        with self._told(path):
            shutil.copyfile(self._place(path), local_path)
        if self.stat(path) != seen:
            raise changed(self.url(path))
        return seen

    def publish(self, local_path: str, path: str) -> None:
        with self._told(path):
            final = self._place(path)
            folder, name = os.path.split(final)
            os.makedirs(folder, exist_ok=True)
            part = os.path.join(folder, f".{name[:200]}.{secrets.token_hex(8)}.part")
            try:
                shutil.copyfile(local_path, part)
                _sync(part)
                os.replace(part, final)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(part)
                raise
            _sync(folder)

    def claim(self, path: str) -> bool:
        with self._told(path):
            place = self._place(path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            try:
                os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
            except FileExistsError:
                return False
            return True

    def move(self, path: str, to: str) -> None:
        with self._told(path):
            source, target = self._place(path), self._place(to)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            try:
                os.replace(source, target)
            except OSError as exc:
                if exc.errno != errno.EXDEV:
                    raise
                self.publish(source, to)
                os.unlink(source)

    def delete(self, path: str) -> None:
        with self._told(path), suppress(*_ABSENT):
            os.unlink(self._place(path))

    def url(self, path: str = "") -> str:
        return os.path.join(self.root, path) if path else self.root

    def close(self) -> None:
        """Nothing is kept open."""

    def _place(self, path: str) -> str:
        return os.path.join(self.root, checked(path))

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
    signature = f"{seen.st_size}-{seen.st_mtime_ns}"
    return StoredObject(path=path, size_bytes=seen.st_size, signature=signature)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
