"""Load the keys, and the addresses and prices they work at, from config.json or the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from ...core.command_line import program
from ...core.errors import ConfigError, UsageError
from ...core.file_kinds import is_file
from ...core.logs import logger_of
from ...core.records import AZURE_API_VERSION, MAX_REPLY_BYTES
from ...core.redaction import Secret
from ...costs.model_price import ModelPrice
from .fields import Field, Mistakes, Origin
from .file import Stamp, Variables, read_json, stamp_of, warn_if_others_can_read
from .keys import APIKey, GivenKey, read_keys

logger = logger_of(__name__)

_Value = TypeVar("_Value")
_FIELDS = ("api_keys", "api_base", "proxy", "max_reply_bytes", "prices")
_OPENAI_KEYS = ("OPENAI_API_KEYS", "OPENAI_API_KEY")
_AZURE_NAMES = ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT")
_BASE_URL = "OPENAI_BASE_URL"
_PROGRAM = "the program"
#: Set to its own id in a process that may not have keys: a run lends it those of another.
KEYS_ELSEWHERE = "OPENAI_PARALLEL_TOOLKIT_WORKER"
DEFAULT_API_BASE = "https://api.openai.com/v1"
#: USD per million tokens of a model, or of one of its service tiers.
_PRICE_FIELDS = ("input", "output", "cached", "cache_write", "audio_input", "audio_output")
_NO_KEY = (
    "no API key was found; set OPENAI_API_KEY (or OPENAI_API_KEYS, with commas between; or"
    " AZURE_OPENAI_API_KEY with AZURE_OPENAI_ENDPOINT) in the environment"
    ' or in .env, or give a config.json with "api_keys"; without a key all can be tried on a server'
    " on this machine, as `{program} simulate` starts it, or with `{program} demo`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A configuration that was checked."""

    api_keys: tuple[APIKey, ...]
    #: Base URL without a trailing slash, for keys that have none of their own.
    api_base: str = DEFAULT_API_BASE
    #: URL of a proxy, perhaps with a password; None: none is configured here.
    proxy: Secret | None = None
    #: The largest reply that is taken, unpacked.
    max_reply_bytes: int = MAX_REPLY_BYTES
    #: By model.
    prices: Mapping[str, ModelPrice] = field(default_factory=dict)
    #: Where it comes from, for messages.
    source: str = _PROGRAM
    #: The file that lists the keys, and how it looked when it was read; None: no file does.
    file: str | None = None
    stamp: Stamp | None = None


def load_settings(
    config_path: str | os.PathLike[str] | None = None,
    *,
    api_keys: Sequence[GivenKey] | None = None,
    azure_first: bool = False,
    env: Mapping[str, str] = os.environ,
    cwd: str | os.PathLike[str] = ".",
) -> Settings:
    """Load and check the configuration.

    Args:
        config_path: a JSON file; None: the environment, and when that has no key, `config.json`
            in `cwd` if it is there.
        api_keys: taken instead of all keys configured elsewhere; None: those.
        azure_first: when the environment has keys for Azure and for OpenAI, take Azure's.
        env: environment variables; `.env` beside the config and in `cwd` fill its gaps.
        cwd: the folder that a relative `config_path` starts from.

    Raises:
        ConfigError: something is missing or wrong; names the file and the field, never a value.
    """
    if os.environ.get(KEYS_ELSEWHERE) == str(os.getpid()):
        raise UsageError(
            "hooks that run in a worker process have no keys of their own (engine); leave keys, "
            "config_path and APIKeyManager out of them: what they ask goes out under the keys of "
            "the toolkit, which takes them as config_path or key_manager"
        )
    folder = os.fspath(cwd)
    variables = Variables(env, [folder])
    if config_path is None and api_keys is None:
        found = _from_env(variables, azure_first=azure_first)
        if found is not None:
            return found
        if not is_file(os.path.join(folder, "config.json")):
            raise ConfigError(_NO_KEY.format(program=program()))
        config_path = "config.json"
    if config_path is not None:
        return _from_file(os.fspath(config_path), api_keys, env, folder)
    settings = Settings(api_keys=(), api_base=_env_base(variables))
    settings = replace(settings, api_keys=more_keys(settings, api_keys or (), env=variables))
    _tell_where_keys_go(settings, settings.source, variables.home(_BASE_URL), _BASE_URL)
    return settings


def more_keys(
    settings: Settings, given: Sequence[GivenKey], *, env: Mapping[str, str] = os.environ
) -> tuple[APIKey, ...]:
    """Check keys that a program gives besides those in `settings`; return those that are new.

    Raises:
        ConfigError: a key cannot be used, or its name is taken.
    """
    origin = Origin(name=_PROGRAM, env=env)
    listed = list(given) if isinstance(given, list | tuple) else given
    keys = read_keys(Field(listed, "api_keys", origin), taken=settings.api_keys)
    _check_azure(replace(settings, api_keys=keys), origin)
    _tell_repairs(origin)
    return keys


def _from_file(
    shown: str, api_keys: Sequence[GivenKey] | None, env: Mapping[str, str], folder: str
) -> Settings:
    path = os.path.join(folder, shown)
    stamp = stamp_of(path)
    variables = Variables(env, [os.path.dirname(path), folder])
    origin = Origin(name=shown, env=variables)
    whole, mistakes = read_json(path, origin), Mistakes()
    fields = whole.entries()
    mistakes.read(lambda: whole.entries(_FIELDS), fields)
    if api_keys is None and "api_keys" not in fields:
        told = "is missing; give a list of at least one key"
        mistakes.found.append(Field(None, "api_keys", origin).error(told))

    def read(name: str, reader: Callable[[Field], _Value], otherwise: _Value) -> _Value:
        if name not in fields:
            return otherwise
        return mistakes.read(lambda: reader(fields[name]), otherwise)

    prices: dict[str, Field] = read("prices", lambda field: field.entries(), {})
    keys: tuple[APIKey, ...] = ()
    proxy: Secret | None = None
    settings = Settings(
        api_keys=read("api_keys", read_keys, keys) if api_keys is None else keys,
        api_base=read("api_base", Field.api_base, "")
        or mistakes.read(partial(_env_base, variables), ""),
        proxy=read("proxy", lambda field: Secret(field.proxy(), "proxy"), proxy),
        max_reply_bytes=read("max_reply_bytes", Field.whole_number, MAX_REPLY_BYTES),
        prices={
            model: mistakes.read(partial(_read_price, price), _FREE)
            for model, price in prices.items()
        },
        source=shown,
    )
    mistakes.tell()
    if api_keys is not None:
        settings = replace(settings, api_keys=more_keys(settings, api_keys, env=variables))
    else:
        settings = replace(settings, file=os.path.abspath(path), stamp=stamp)
    _check_azure(settings, origin)
    _tell_repairs(origin)
    secrets = _secrets_of(fields)
    if not all(secret.is_from_env for secret in secrets):
        warn_if_others_can_read(path, shown)
    variables.warn_of_readers(secret.variable for secret in secrets)
    has_base = "api_base" in fields
    base_home, base_name = (
        (shown, "api_base") if has_base else (variables.home(_BASE_URL), _BASE_URL)
    )
    key_home = shown if api_keys is None else _PROGRAM
    _tell_where_keys_go(settings, key_home, base_home, base_name)
    return settings


_FREE = ModelPrice(input_usd=Decimal(0), output_usd=Decimal(0))


def _read_price(entry: Field) -> ModelPrice:
    fields = entry.entries((*_PRICE_FIELDS, "tiers"))
    if "input" not in fields:
        raise entry.error("has no field input; give USD per million tokens")
    tiers = fields.pop("tiers").entries() if "tiers" in fields else {}
    price: dict[str, Any] = {f"{name}_usd": field.usd() for name, field in fields.items()}
    price["tiers"] = {name.lower(): _read_price(tier) for name, tier in tiers.items()}
    return ModelPrice(**{"output_usd": Decimal(0), **price})


def _secrets_of(fields: Mapping[str, Field]) -> list[Field]:
    """Return the keys, and the proxy if there is one."""
    keys = fields["api_keys"].items() if "api_keys" in fields else ()
    found = [key.entries()["key"] if isinstance(key.value, dict) else key for key in keys]
    if "proxy" in fields:
        found.append(fields["proxy"])
    return found


def _tell_where_keys_go(settings: Settings, key_home: str, base_home: str, base_name: str) -> None:
    """Say to which address keys go that do not come from where the address comes from."""
    is_elsewhere = key_home != base_home and settings.api_base != DEFAULT_API_BASE
    if is_elsewhere and not all(key.api_base for key in settings.api_keys):
        logger.warning(
            "keys from %s go to %s, which %s says (%s); if this is not meant, give both in one "
            "place",
            key_home,
            settings.api_base,
            base_home,
            base_name,
            extra={"action": "keys_go_elsewhere"},
        )


def _from_env(variables: Variables, *, azure_first: bool) -> Settings | None:
    origin = Origin(name="the environment", env=variables)
    readers = {_openai_from_env: (*_OPENAI_KEYS, _BASE_URL), _azure_from_env: _AZURE_NAMES}
    for read in reversed(readers) if azure_first else readers:
        settings = read(origin)
        if settings is not None:
            *key_names, base_name = readers[read]
            used = next(name for name in key_names if variables.get(name, "").strip(" ,\n\t\r"))
            _tell_repairs(origin)
            variables.warn_of_readers([used])
            homes = variables.home(used), variables.home(base_name)
            _tell_where_keys_go(settings, *homes, base_name)
            return settings
    return None


def _openai_from_env(origin: Origin) -> Settings | None:
    for name in _OPENAI_KEYS:
        parts = re.split(r"[,\n]", origin.env.get(name, ""))
        listed = [part.strip() for part in parts if part.strip()]
        if listed:
            keys = read_keys(Field(listed, name, origin))
            return Settings(api_keys=keys, api_base=_env_base(origin.env), source=origin.name)
    return None


def _azure_from_env(origin: Origin) -> Settings | None:
    if not origin.env.get("AZURE_OPENAI_API_KEY", "").strip():
        return None
    key, endpoint = (Field(f"env:{name}", name, origin) for name in _AZURE_NAMES)
    if not origin.env.get("AZURE_OPENAI_ENDPOINT", "").strip():
        raise endpoint.error(
            "is missing beside AZURE_OPENAI_API_KEY; set it to https://<resource>.openai.azure.com"
            f", in the environment or in .env (OPENAI_API_VERSION is {AZURE_API_VERSION} unless it "
            "is set)"
        )
    (entry,) = read_keys(Field([key.key()], key.place, origin))
    given = origin.env.get("OPENAI_API_VERSION", "").strip() or AZURE_API_VERSION
    version = Field(given, "OPENAI_API_VERSION", origin)
    entry = replace(entry, api_version=version.label())
    return Settings(api_keys=(entry,), api_base=endpoint.api_base(), source=origin.name)


def _env_base(variables: Mapping[str, str]) -> str:
    url = variables.get(_BASE_URL, "")
    if not url.strip():
        return DEFAULT_API_BASE
    return Field(url, _BASE_URL, Origin(name="the environment", env=variables)).api_base()


def _check_azure(settings: Settings, origin: Origin) -> None:
    for key in settings.api_keys:
        place = Field(None, f"api_keys ({key.name})", origin)
        if key.azure_deployment and not key.api_version:
            raise place.error("has an azure_deployment; give its api_version too")
        if key.api_version and (key.api_base or settings.api_base) == DEFAULT_API_BASE:
            raise place.error(
                "is for Azure; give its api_base, https://<resource>.openai.azure.com"
            )


def _tell_repairs(origin: Origin) -> None:
    if origin.repairs:
        logger.warning(
            "%s was repaired in passing; please mend it: %s",
            origin.name,
            "; ".join(origin.repairs),
            extra={"action": "config_repaired"},
        )
