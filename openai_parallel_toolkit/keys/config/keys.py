"""Read the list of API keys, as a configuration or a program gives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...core.redaction import Secret
from .fields import Field

_SYNONYMS = {"max_requests_per_minute": "rpm", "max_tokens_per_minute": "tpm"}
_KEY_FIELDS = (
    "key",
    "name",
    "group",
    "rpm",
    "tpm",
    "api_base",
    "azure_deployment",
    "api_version",
    "max_concurrent_requests",
    "enqueued_tokens",
    *_SYNONYMS,
)


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


def read_keys(given: Field, *, taken: Iterable[APIKey] = ()) -> tuple[APIKey, ...]:
    """Check a list of keys: texts, objects with their fields, or APIKey records.

    A key that is in the list twice is taken once and noted as a repair.

    Args:
        taken: keys that were read before; the new ones need other names.

    Raises:
        ConfigError: the list is empty, an entry cannot be used, or two have one name.
    """
    before = list(taken)
    names = {key.name: "a key that is there already" for key in before}
    places = {_identity(key): key.name for key in before}
    keys: list[APIKey] = []
    entries = list(given.items())
    if not entries:
        raise given.error("is empty; give at least one key")
    for position, entry in enumerate(entries, start=len(before) + 1):
        number = position
        while before and f"key-{number}" in names:
            number += 1
        key = _read_key(entry, f"key-{number}")
        if _identity(key) in places:
            entry.repaired(f"is the same key as {places[_identity(key)]}, and was left out")
            continue
        if key.name in names:
            raise entry.error(f"has the name {key.name!r} of {names[key.name]}; give it its own")
        names[key.name] = places[_identity(key)] = entry.place
        keys.append(key)
    return tuple(keys)


def _identity(key: APIKey) -> tuple[Secret, str | None, str | None]:
    # One Azure key opens many deployments: those are not doubles.
    return key.secret, key.api_base, key.azure_deployment


def _read_key(entry: Field, default_name: str) -> APIKey:
    if isinstance(entry.value, APIKey):
        return entry.value
    if isinstance(entry.value, str):
        return APIKey(
            secret=Secret(entry.key(), default_name), name=default_name, group=default_name
        )
    if not isinstance(entry.value, dict):
        raise entry.expected("a key, or an object with the field key")
    return _read_object(entry, default_name)


def _read_object(entry: Field, default_name: str) -> APIKey:
    fields = entry.entries(_KEY_FIELDS)
    if "key" not in fields:
        raise entry.error("has no field key; put the key there")
    for synonym, short in _SYNONYMS.items():
        if synonym in fields and short in fields:
            raise fields[synonym].error(f"means the same as {short}; take one of them out")
        if synonym in fields:
            fields[short] = fields[synonym]
    secret = fields["key"].key()
    name = _label(fields, "name", secret) or default_name
    return APIKey(
        secret=Secret(secret, name),
        name=name,
        group=_label(fields, "group", secret) or name,
        rpm=_whole(fields, "rpm"),
        tpm=_whole(fields, "tpm"),
        api_base=fields["api_base"].api_base() if "api_base" in fields else None,
        azure_deployment=_label(fields, "azure_deployment", secret),
        api_version=_label(fields, "api_version", secret),
        max_concurrent_requests=_whole(fields, "max_concurrent_requests"),
        enqueued_tokens=_whole(fields, "enqueued_tokens"),
    )


def _whole(fields: dict[str, Field], name: str) -> int | None:
    return fields[name].whole_number() if name in fields else None


def _label(fields: dict[str, Field], name: str, secret: str) -> str | None:
    if name not in fields:
        return None
    label = fields[name].label()
    if secret in label:
        raise fields[name].error("holds the key itself; names are shown, so choose another")
    return label
