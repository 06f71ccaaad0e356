"""Read what a BatchFolder is told: arguments, a file of ours, or the Azure batch accelerator's.

A file of ours is a JSON object whose fields are the arguments of BatchFolder; relative paths in it
start from its own folder. A file with `api_keys` holds keys alone, and the places are arguments.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from ...core.errors import ConfigError, StorageError
from ...core.file_kinds import is_file, raise_unless_mistaken
from ...files.remote import no_bucket
from ...files.run_folders import local_root
from ...files.run_lock import state_folder_of
from ...files.stores import Store, is_remote
from ...files.stores.urls import local_path
from ...keys.config import Settings, load_settings
from ...keys.config.fields import Field, Origin
from ...keys.config.file import Variables, read_json
from .accelerator import read_accelerator
from .places import Place, Places
from .settings import FolderSettings, filled, flag, whole_number
from .templates import INIT

#: Names the configuration when no other is given, as the accelerator has it.
VARIABLE = "APP_CONFIG"
_PLACES = ("input_path", "output_path", "error_path")
_READERS = {
    **dict.fromkeys((*_PLACES, "pattern", "endpoint", "completion_window", "names"), filled),
    **dict.fromkeys(("state_path", "import_base"), filled),
    **dict.fromkeys(("batch_size", "max_attempts"), whole_number),
    **dict.fromkeys(("continuous", "count_tokens"), flag),
}
_ARGUMENTS = (*_READERS, "progress", "pace", "fail_on_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFolderPlan:
    """A configuration that was checked."""

    settings: FolderSettings
    input: Place
    output: Place
    error: Place

    def open_places(self) -> Places:
        """Open the places; whoever gets them closes them.

        Raises:
            ConfigError: one cannot be used.
            StorageError: a store cannot be reached.
        """
        with ExitStack() as opened:
            stores = []
            for place in (self.input, self.output, self.error):
                stores.append(place.open())
                opened.callback(stores[-1].close)
            _check_input(stores[0])
            for store in stores[1:]:
                _check_target(store)
            places = Places(input=stores[0], output=stores[1], error=stores[2])
            opened.pop_all()
        return places


def read_plan(
    config_path: str | None, given: Mapping[str, Any], *, env: Mapping[str, str] = os.environ
) -> BatchFolderPlan:
    """Read a configuration and what is given besides, which wins.

    Args:
        config_path: see `BatchFolder`.
        given: arguments of BatchFolder; what is None is not given.

    Raises:
        ConfigError: something is missing or wrong; names the file and the field.
    """
    told = {name: given[name] for name in _ARGUMENTS if given.get(name) is not None}
    return _plan_of({**_told(config_path, env), **told})


def read_keys(config_path: str | None, *, env: Mapping[str, str] = os.environ) -> Settings:
    """Read only the keys of a configuration of any form.

    Raises:
        ConfigError: something is missing or wrong; names the file and the field.
    """
    keys: Settings = _told(config_path, env)["keys"]
    return keys


def _told(config_path: str | None, env: Mapping[str, str]) -> dict[str, Any]:
    config_path = config_path or env.get(VARIABLE) or None
    if config_path is None:
        return {"keys": load_settings(env=env)}
    origin = Origin(name=config_path, env=Variables(env, [os.path.dirname(config_path), "."]))
    whole = read_json(config_path, origin, absent=INIT)
    fields = whole.entries()
    if "AOAI_config" in fields or "storage_config" in fields:
        return read_accelerator(fields, config_path, origin)
    if "api_keys" in fields:
        return {"keys": load_settings(config_path, env=env)}
    return _read_ours(whole, config_path, env)


def _plan_of(told: Mapping[str, Any]) -> BatchFolderPlan:
    """Return the plan for settings; places are paths, URLs or Place."""
    for name in ("input_path", "output_path"):
        if name not in told:
            raise ConfigError(f"{name} is missing; give it in the configuration or as an argument")
    places = {name: _place(told[name]) for name in _PLACES if name in told}
    for name in ("output_path", "error_path"):
        if name in places and not is_remote(places[name].url):
            _check_folder(name, local_path(places[name].url))
    output = places["output_path"]
    state_path = told.get("state_path")
    rest = {name: told[name] for name in told if name not in {*_PLACES, "state_path"}}
    state = state_folder_of(local_root(output.url, state_path), state_path)
    return BatchFolderPlan(
        settings=FolderSettings(state_folder=state, **rest),
        input=places["input_path"],
        output=output,
        error=places.get("error_path") or replace(output, url=f"{output.url.rstrip('/')}/errors"),
    )


def _place(given: Any) -> Place:
    return given if isinstance(given, Place) else Place(url=os.fspath(given))


def _check_input(store: Store) -> None:
    if not store.is_local:
        _look_into(store)
        return
    folder = store.url()
    _check_folder("input_path", folder)
    try:
        os.scandir(folder).close()
    except FileNotFoundError as exc:
        raise ConfigError(
            f"there is no input folder {folder!r}; make it, or mend input_path"
        ) from exc
    except OSError as exc:
        raise_unless_mistaken(exc, folder)
        raise ConfigError(f"input_path {folder!r} cannot be read: {exc.strerror}; mend it") from exc


def _check_folder(name: str, path: str) -> None:
    if is_file(path):
        raise ConfigError(f"{name} {path!r} is a file; name a folder")


def _check_target(store: Store) -> None:
    if store.is_local:
        return
    try:
        _look_into(store)
    except StorageError as exc:
        if exc.errno != errno.EACCES:  # whoever may write need not be let look
            raise


def _look_into(store: Store) -> None:
    try:
        next(iter(store.list(recursive=False)), None)
    except FileNotFoundError as exc:
        raise no_bucket(store) from exc


def _read_ours(whole: Field, config_path: str, env: Mapping[str, str]) -> dict[str, Any]:
    fields = whole.entries(("config_path", *_READERS))
    folder = os.path.dirname(config_path)
    told: dict[str, Any] = {
        name: read(fields[name]) for name, read in _READERS.items() if name in fields
    }
    for name in (*_PLACES, "state_path"):
        if name in told and not is_remote(told[name]):
            told[name] = os.path.join(folder, told[name])
    keys = filled(fields["config_path"]) if "config_path" in fields else None
    told["keys"] = load_settings(None if keys is None else os.path.join(folder, keys), env=env)
    return told
