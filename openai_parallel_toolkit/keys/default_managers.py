"""The managers that a process makes by itself, for bare calls and for configs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..core.file_kinds import exists
from .config import GivenKey, load_settings
from .manager import APIKeyManager


def default_manager() -> APIKeyManager:
    """Return the process's default manager; make one from the environment when there is none.

    Raises:
        ConfigError: there is none, and no key is configured.
    """
    made = APIKeyManager._default or APIKeyManager()
    # Another thread may have been quicker.
    return APIKeyManager._default or made


def close_default_managers() -> None:
    """Close the managers that bare calls use; the next that is made is the default; for tests."""
    with APIKeyManager._default_lock:
        managers = [made for _, made in APIKeyManager._of_configs.values()]
        APIKeyManager._of_configs.clear()
        if APIKeyManager._default is not None:
            managers.append(APIKeyManager._default)
    for manager in managers:
        manager.close()


def close_unless_default(manager: APIKeyManager) -> None:
    """Close a manager that nobody else can use: bare calls go on with the default one."""
    if manager is not APIKeyManager._default:
        manager.close()


def manager_of(
    config_path: str | os.PathLike[str] | None, keys: Sequence[GivenKey] | None = None
) -> APIKeyManager:
    """Return the process's manager for a config file, or for a list of keys with its settings.

    A new one is made when the file was changed.

    Raises:
        ConfigError: a setting is missing or wrong.
    """
    path = None if config_path is None else os.path.abspath(config_path)
    version = os.stat(path).st_mtime_ns if path is not None and exists(path) else 0
    settings = None if keys is None else load_settings(config_path, api_keys=keys)
    place = path if settings is None else (path, settings.api_base, settings.api_keys)
    known = APIKeyManager._of_configs.get(place)
    if known is not None and known[0] == version and not known[1]._is_closed:
        return known[1]
    made = APIKeyManager(config_path=config_path, settings=settings)
    with APIKeyManager._default_lock:
        quicker = APIKeyManager._of_configs.get(place)
        if quicker is not None and quicker is not known:
            return quicker[1]
        APIKeyManager._of_configs[place] = version, made
    return made
