"""A prefix in an object store as a store, through its fsspec backend.

The backend talks to the service on an event-loop thread that fsspec shares with everything else in
the process; after a fork it refuses to work, and the child must open a store of its own.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from ...core.errors import StorageError, UnsafePath
from ...core.filesystem import check_relative
from ...core.redaction import Redactor, Secret, safe_words
from .base import Store, StoredObject
from .urls import RemotePlace

#: Where the services' own tools look for credentials.
_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_SAS_TOKEN",
)
_SECRET_OPTION = re.compile(r"(?i)key|secret|token|password|credential|connection_string")
_PARTS = re.compile(r"(?i)\b(sig|accountkey|x-amz-signature|x-amz-credential)=[^&;\s'\"<>]+")
_FEWEST_CHARS = 6
_MOST_CHARS = 300


class Cleaner:
    """Makes one short line of a backend's error, without credentials."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Note what must not be shown: credentials among the options and in the environment."""
        known = [os.environ.get(name, "") for name in _VARIABLES]
        secret = (*known, *_secret_options(options))
        self._redactor = Redactor(Secret(text) for text in secret if len(text) >= _FEWEST_CHARS)

    def words(self, error: BaseException) -> str:
        """Return the kind of an error and its first line."""
        first = next(iter(str(error).splitlines()), "")
        clean = _PARTS.sub(r"\1=[secret]", safe_words(first, self._redactor.clean, _MOST_CHARS))
        return f"{type(error).__name__}: {clean}" if clean else type(error).__name__


@dataclass(eq=False)
class RemoteStore(Store):
    """The objects below a prefix."""

    is_local = False
    _place: RemotePlace
    #: The fsspec file system that reaches the place.
    _fs: Any
    _cleaner: Cleaner

    def list(self, *, recursive: bool = True) -> Iterator[StoredObject]:
        root = self._place.root
        with self._told("", missing="There is no such bucket or container"):
            found = self._find(root) if recursive else self._ls(root)
            if not found:
                self._look_for_bucket()
        for name in sorted(found):
            info = found[name]
            is_marker = info["type"] != "file" or name.endswith("/")
            if name.startswith(f"{root}/") and not is_marker:
                yield _stored(name[len(root) + 1 :], info)

    def stat(self, path: str) -> StoredObject:
        with self._told(path):
            info = self._fs.info(self._key(path))
            if info["type"] != "file":
                raise FileNotFoundError(errno.ENOENT, "It is no object", path)
            return _stored(path, info)

    def open(self, path: str) -> BinaryIO:
        with self._told(path):
            file: BinaryIO = self._fs.open(self._key(path), "rb")
            return file

    def _copy_to(self, path: str, local_path: str) -> None:
        with self._told(path):
            self._fs.get_file(self._key(path), local_path)

    def publish(self, local_path: str, path: str) -> None:
        # One PUT, or a multipart upload: the name is there when its last step is done.
        with self._told(path, missing="There is no such bucket or container"):
            self._fs.put_file(local_path, self._key(path))

    def delete(self, path: str) -> None:
        with self._told(path), suppress(FileNotFoundError):
            self._fs.rm_file(self._key(path))

    def url(self, path: str = "") -> str:
        return f"{self._place.url}/{path}" if path else self._place.url

    def close(self) -> None:
        # adlfs keeps its client until the process ends; the others end with the file system.
        client = getattr(self._fs, "service_client", None)
        if client is not None:
            asyncio.run_coroutine_threadsafe(client.close(), self._fs.loop).result()
        self._fs = None

    def _key(self, path: str) -> str:
        key = f"{self._place.root}/{check_relative(path)}"
        if self._fs._strip_protocol(key) != key:  # it would reach another object
            raise UnsafePath(f"The name {path!r} cannot be reached here; rename it.", path=path)
        return key

    def _find(self, base: str) -> Mapping[str, Any]:
        found = self._fs.find(base, detail=True)
        return found if isinstance(found, dict) else {}  # adlfs: a list, when `base` is a file

    def _ls(self, base: str) -> Mapping[str, Any]:
        try:
            return {info["name"]: info for info in self._fs.ls(base, detail=True)}
        except FileNotFoundError:
            return {}

    def _look_for_bucket(self) -> None:
        with suppress(PermissionError):  # it may be forbidden to look at the bucket itself
            self._fs.info(self._place.bucket)

    @contextmanager
    def _told(self, path: str, missing: str = "There is no such object") -> Iterator[None]:
        try:
            yield
        except UnsafePath:
            raise
        except FileNotFoundError as exc:
            raise FileNotFoundError(errno.ENOENT, missing, self.url(path)) from exc
        except Exception as exc:  # each backend has errors of its own
            raise StorageError(
                f"{self.url(path)!r}: {self._cleaner.words(exc)}. Mend it and run again: nothing "
                "paid for is lost.",
                errno=errno.EACCES if _is_refused(exc) else errno.EIO,
                path=self.url(path),
            ) from exc


def _is_refused(exc: Exception) -> bool:
    """Whether the service will not do this, while other objects may fare better."""
    status = getattr(exc, "status_code", None) or getattr(exc, "code", None)
    client_error = isinstance(status, int) and 400 <= status < 500
    return isinstance(exc, PermissionError) or (client_error and status not in (408, 429))


def _stored(path: str, info: Mapping[str, Any]) -> StoredObject:
    size_bytes = int(info["size"])
    signature = info.get("ETag") or info.get("etag") or f"{size_bytes}-{info.get('mtime')}"
    return StoredObject(path=path, size_bytes=size_bytes, signature=str(signature).strip('"'))


def _secret_options(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secret_options(value)
        elif isinstance(value, str) and _SECRET_OPTION.search(name):
            yield value
