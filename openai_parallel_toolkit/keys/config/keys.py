"""Read the list of API keys, as a configuration or a program gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...core.redaction import Redactor, Secret
from .fields import Field, Mistakes, is_like_key


@dataclass(frozen=True, slots=True, kw_only=True)
class APIKey:
    """One key, with what is known of its limits. None: not known, or no limit."""

    secret: Secret
    #: Safe to log.
    name: str
    #: Keys of one organisation share its limits; None: a group of its own, named after the key.
    group: str | None = None
    #: Requests per minute.
    rpm: int | None = None
    #: Tokens per minute.
    tpm: int | None = None
    #: Base URL without a trailing slash; None: the one that holds for all keys.
    api_base: str | None = None
    #: Deployment in Azure's paths; None with an api_version: named like the model.
    azure_deployment: str | None = None
    #: Azure's api-version; None: not Azure.
    api_version: str | None = None
    max_concurrent_requests: int | None = None
    #: Prompt tokens that may wait in batches at a time, for each model.
    enqueued_tokens: int | None = None


#: How a program may give a key: its value, an object with the fields of a config, or a record.
GivenKey = str | Mapping[str, Any] | APIKey

#: How each field of a key's object is read, besides the key itself.
_READERS: dict[str, Callable[[Field], Any]] = {
    "name": Field.label,
    "group": Field.label,
    "rpm": Field.whole_number,
    "tpm": Field.whole_number,
    "api_base": Field.api_base,
    "azure_deployment": Field.label,
    "api_version": Field.label,
    "max_concurrent_requests": Field.whole_number,
    "enqueued_tokens": Field.whole_number,
}
_SYNONYMS = {"max_requests_per_minute": "rpm", "max_tokens_per_minute": "tpm"}


def read_keys(given: Field, *, taken: Iterable[APIKey] = ()) -> tuple[APIKey, ...]:
    """Check a list of keys: texts, objects with their fields, or APIKey records.

    A key that is in the list twice is taken once and noted as a repair, and so is one that is not
    filled in when there are others.

    Args:
        taken: keys that were read before; the new ones need other names.

    Raises:
        ConfigError: the list is empty, entries cannot be used, or two have one name; tells all.
    """
    before = list(taken)
    names = {key.name: "a key that is there already" for key in before}
    places = {identity_of(key): key.name for key in before}
    keys: list[APIKey] = []
    unfilled: list[Field] = []
    mistakes = Mistakes()
    entries = list(given.items())
    if not entries:
        raise given.error("is empty; give at least one key")
    for position, entry in enumerate(entries, start=len(before) + 1):
        number = position
        while before and f"key-{number}" in names:
            number += 1
        place = _key_field(entry)
        if place is not None and mistakes.read(place.unfilled, ""):
            unfilled.append(place)
            continue
        key = mistakes.read(partial(_read_key, entry, f"key-{number}"), None)
        if key is None:
            continue
        if identity_of(key) in places:
            entry.repaired(f"is the same key as {places[identity_of(key)]}, and was left out")
        elif key.name in names:
            told = f"has the name {key.name!r} of {names[key.name]}; give it its own"
            mistakes.found.append(entry.error(told))
        else:
            names[key.name] = places[identity_of(key)] = entry.place
            keys.append(key)
    for place in unfilled:
        if keys:
            place.repaired(f"{place.unfilled()} (left out)")
        else:
            mistakes.found.append(place.error(place.unfilled()))
    mistakes.tell()
    return tuple(keys)


def _key_field(entry: Field) -> Field | None:
    """Return where the key itself stands; None: nowhere."""
    if isinstance(entry.value, dict) and isinstance(entry.value.get("key"), str):
        return Field(entry.value["key"], f"{entry.place}.key", entry.origin)
    return entry if isinstance(entry.value, str) else None


def identity_of(key: APIKey) -> tuple[Secret, str | None, str | None]:
    """Return what tells keys apart: one Azure key opens many deployments."""
    return key.secret, key.api_base, key.azure_deployment


def _read_key(entry: Field, default_name: str) -> APIKey:
    if isinstance(entry.value, APIKey):
        return entry.value
    if isinstance(entry.value, str):
        return _api_key(entry.key(), {}, default_name)
    if not isinstance(entry.value, dict):
        raise entry.expected("a key, or an object with the field key")
    fields = entry.entries(("key", *_READERS, *_SYNONYMS))
    if "key" not in fields:
        raise entry.error("has no field key; put the key there")
    secret = fields.pop("key").key()
    redactor = Redactor([Secret(secret)])
    given: dict[str, Any] = {}
    for name, field in fields.items():
        short = _SYNONYMS.get(name, name)
        if short in given or (short != name and short in fields):
            raise field.error(f"means the same as {short}; take one of them out")
        given[short] = value = _READERS[short](field)
        if isinstance(value, str) and (is_like_key(value) or redactor.finds_in(value)):
            raise field.error("holds the key itself; names are shown, so choose another")
    return _api_key(secret, given, default_name)


def _api_key(secret: str, given: dict[str, Any], default_name: str) -> APIKey:
    name = given.get("name") or default_name
    return APIKey(**{"group": name, **given, "name": name, "secret": Secret(secret, name)})
