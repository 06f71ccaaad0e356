"""Read and write files by name, on this machine or in an object store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ...core.errors import ConfigError
from .base import Store, StoredObject
from .local import LocalStore
from .remote import Cleaner, RemoteStore
from .urls import RemotePlace, is_remote, local_path, remote_place

__all__ = ["LocalStore", "Store", "StoredObject", "is_remote", "open_store"]

#: Service -> module and class of its fsspec backend, and the extra that installs it.
_BACKENDS = {
    "s3": ("s3fs", "S3FileSystem", "s3"),
    "abfs": ("adlfs", "AzureBlobFileSystem", "azure"),
    "gs": ("gcsfs", "GCSFileSystem", "gcs"),
}
#: Listings are never remembered, and no two stores share connections: one may be closed.
_ALWAYS = {"use_listings_cache": False, "skip_instance_cache": True}


def open_store(url: str | os.PathLike[str], **options: Any) -> Store:
    """Open a path, `file://`, `s3://bucket/prefix`, `abfs://container/prefix` or `gs://...`.

    Nothing is looked up yet. Credentials come from the environment variables of the service's own
    tools, or from options.

    Args:
        options: for the fsspec backend of a remote place, as s3fs, adlfs or gcsfs name them.

    Raises:
        ConfigError: the URL or an option cannot be used, or the backend is not installed.
    """
    if not is_remote(url):
        if options:
            raise ConfigError(f"A local folder has no options, but got {', '.join(options)}.")
        return LocalStore(local_path(url))
    place = remote_place(os.fspath(url))
    cleaner = Cleaner(options)
    return RemoteStore(place, _backend(place, options, cleaner), cleaner)


def _backend(place: RemotePlace, options: Mapping[str, Any], cleaner: Cleaner) -> Any:
    module, name, extra = _BACKENDS[place.service]
    try:
        kind = getattr(import_module(module), name)
    except ImportError as exc:
        raise ConfigError(
            f"{place.service}:// needs the package {module} ({exc.name} is missing): pip install "
            f"'openai-parallel-toolkit[{extra}]'."
        ) from exc
    account = {"account_name": place.account.partition(".")[0]} if place.account else {}
    try:
        return kind(**account, **options, **_ALWAYS)
    except Exception as exc:  # each backend has errors of its own
        raise ConfigError(f"{place.url} cannot be opened: {cleaner.words(exc)}") from exc
