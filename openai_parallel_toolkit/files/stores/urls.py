"""Read the names of places: a path, or a URL of an object store."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ...core.errors import ConfigError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://(.*)", re.DOTALL)
#: What stands for a service in a URL, and what the service is called here.
_SERVICES = {
    "s3": "s3",
    "s3a": "s3",
    "abfs": "abfs",
    "abfss": "abfs",
    "az": "abfs",
    "gs": "gs",
    "gcs": "gs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePlace:
    """What a URL says; two URLs that name the same place compare equal."""

    #: "s3", "abfs" or "gs".
    service: str
    #: Bucket or container.
    bucket: str
    #: Below the bucket, without slashes around it; "" is all of it.
    prefix: str
    #: The Azure account, when the URL names it.
    account: str = ""

    @property
    def root(self) -> str:
        """Bucket and prefix."""
        return f"{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def url(self) -> str:
        """The URL in its shortest form."""
        host = f"{self.bucket}@{self.account}" if self.account else self.bucket
        return f"{self.service}://{host}/{self.prefix}".rstrip("/")


def is_remote(place: str | os.PathLike[str]) -> bool:
    """Whether a place is named by a URL of an object store."""
    found = _URL.fullmatch(os.fspath(place))
    if found is None or found[1].lower() == "file":
        return False
    if found[1].lower() not in _SERVICES:
        raise ConfigError(
            f"{found[1]}:// is no place the toolkit knows; use a path, s3://, abfs:// or gs://."
        )
    return True


def local_path(place: str | os.PathLike[str]) -> str:
    """Return the path that a path or a file:// URL names."""
    path = os.fspath(place)
    found = _URL.fullmatch(path)
    return path if found is None else found[2].removeprefix("localhost")


def remote_place(url: str) -> RemotePlace:
    """Read the URL of a bucket, a container, or something in one."""
    found = _URL.fullmatch(url)
    assert found is not None, "is_remote comes first"
    service = _SERVICES[found[1].lower()]
    host, _, prefix = found[2].partition("/")
    bucket, _, account = host.partition("@")
    parts = prefix.strip("/").split("/")
    if ":" in bucket:  # perhaps key:secret@bucket, so the URL is not repeated
        raise ConfigError(
            f"A {found[1]}:// URL holds no credentials; give them in the environment (see "
            "docs/storage.md)."
        )
    if not bucket or (account and service != "abfs"):
        raise ConfigError(f"{url!r} names no bucket; write {found[1]}://bucket/folder.")
    if "::" in prefix or any(part in (".", "..") for part in parts) or "" in parts[1:]:
        raise ConfigError(f"{url!r} has a part that is empty, '.', '..' or '::'; leave it out.")
    return RemotePlace(service=service, bucket=bucket, prefix="/".join(parts), account=account)
