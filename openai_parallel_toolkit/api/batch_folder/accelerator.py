"""Read the three configuration files of the Azure batch accelerator as they are.

Source: https://github.com/Azure-Samples/aoai-batch-api-accelerator (read 2026-11).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from ...core.file_kinds import exists
from ...core.logs import logger_of
from ...core.redaction import Secret
from ...keys.config import APIKey, Settings
from ...keys.config.fields import Field, Origin
from ...keys.config.file import read_json, warn_if_others_can_read
from .places import Place
from .settings import filled, flag, is_placeholder, whole_number
from .templates import INIT, TEMPLATES

logger = logger_of(__name__)

#: By their name, what a field is called here, and what reads it.
_Readers = Mapping[str, tuple[str, Callable[[Field], Any]]]
#: Fields of app_config.json that the accelerator does not have.
_OURS = ("names", "pattern")
_APP_READERS: _Readers = {
    "batch_size": ("batch_size", whole_number),
    "continuous_mode": ("continuous", flag),
    "count_tokens": ("count_tokens", flag),
    **{name: (name, filled) for name in _OURS},
}
_AOAI_READERS: _Readers = {
    "batch_job_endpoint": ("endpoint", filled),
    "completion_window": ("completion_window", filled),
}
#: What the accelerator does not have: for emulators and clouds with other addresses.
_CONNECTION = "storage_connection_string"
_BLOB_ENDPOINT = re.compile(r"(?i)(?:^|;)\s*BlobEndpoint=([^;]+)")


def read_accelerator(fields: Mapping[str, Field], path: str, origin: Origin) -> dict[str, Any]:
    """Return what the fields of an app_config.json say, as arguments of BatchFolder.

    Raises:
        ConfigError: a file or a field is missing or wrong, or still a placeholder.
    """
    _warn_unknown(fields, "app_config.json", origin, *_OURS)
    aoai, storage = (
        _read_beside(_needed(fields, name, origin), path)
        for name in ("AOAI_config", "storage_config")
    )
    told = {**_keys_of(*aoai), **_places_of(*storage, fields), **_read(fields, _APP_READERS)}
    local = fields.get("local_download_path")
    if local is not None and (_downloads(fields) or not is_placeholder(local)):
        told["state_path"] = os.path.join(filled(local), ".openai_parallel_toolkit")
    return told


def _keys_of(fields: Mapping[str, Field], origin: Origin) -> dict[str, Any]:
    _warn_unknown(fields, "AOAI_config.json", origin)
    key = APIKey(
        secret=Secret(_needed(fields, "aoai_key", origin).key(), "aoai_key"),
        name="aoai_key",
        group="aoai_key",
        api_version=filled(_needed(fields, "aoai_api_version", origin)),
        azure_deployment=filled(_needed(fields, "aoai_deployment_name", origin)),
    )
    endpoint = _needed(fields, "aoai_endpoint", origin).api_base()
    settings = Settings(api_keys=(key,), api_base=endpoint, source=origin.name)
    return {"keys": settings, **_read(fields, _AOAI_READERS)}


def _places_of(
    fields: Mapping[str, Field], origin: Origin, app: Mapping[str, Field]
) -> dict[str, Any]:
    _warn_unknown(fields, "storage_config.json", origin, _CONNECTION)
    account = filled(_needed(fields, "storage_account_name", origin))
    options = {"account_key": _needed(fields, "storage_account_key", origin).key()}
    base = f"https://{account}.blob.core.windows.net"
    if _CONNECTION in fields:
        options = {"connection_string": filled(fields[_CONNECTION])}
        found = _BLOB_ENDPOINT.search(options["connection_string"])
        base = found[1].rstrip("/") if found else base

    def below(system: str, directory: str) -> str:
        folder = filled(fields[directory]).strip("/") if directory in fields else ""
        return f"{filled(_needed(fields, system, origin))}/{folder}".rstrip("/")

    def place(system: str, directory: str) -> Place:
        container, _, folder = below(system, directory).partition("/")
        host = f"{container}@{account}.dfs.core.windows.net"
        return Place(url=f"abfs://{host}/{folder}".rstrip("/"), options=options)

    source = ("input_filesystem_system_name", "input_directory")
    return {
        "input_path": place(*source),
        "output_path": place("processed_filesystem_system_name", "output_directory"),
        "error_path": place("error_filesystem_system_name", "error_directory"),
        "import_base": "" if _downloads(app) else f"{base}/{below(*source)}",
    }


def _downloads(app: Mapping[str, Field]) -> bool:
    return "download_to_local" in app and flag(app["download_to_local"])


def _read_beside(named: Field, app_path: str) -> tuple[dict[str, Field], Origin]:
    """Read a file that another one names: beside that one, or from where we are."""
    name = filled(named)
    beside = os.path.join(os.path.dirname(app_path), name)
    path = beside if exists(beside) else name
    if not exists(path):
        raise named.error(f"there is no file {name!r}; mend the path")
    origin = Origin(name=path, env=named.origin.env)
    fields = read_json(path, origin, absent=INIT).entries()
    warn_if_others_can_read(path, path)
    return fields, origin


def _needed(fields: Mapping[str, Field], name: str, origin: Origin) -> Field:
    if name not in fields:
        raise Field(None, name, origin).error("is missing; give it")
    return fields[name]


def _read(fields: Mapping[str, Field], readers: _Readers) -> dict[str, Any]:
    """Return what those of the fields say that are there."""
    known = [(name, *reader) for name, reader in readers.items() if name in fields]
    return {ours: read(fields[theirs]) for theirs, ours, read in known}


def _warn_unknown(fields: Mapping[str, Field], name: str, origin: Origin, *also: str) -> None:
    unknown = sorted(set(fields) - {*TEMPLATES[f"azure/{name}"], *also})
    if unknown:
        logger.warning("%s: not used here: %s", origin.name, ", ".join(unknown))
