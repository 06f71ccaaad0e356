"""A setting is told once: the metadata of its dataclass field makes its check and its option."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from decimal import Decimal
from typing import Any, TypeVar

from .errors import ConfigError

_OptionsT = TypeVar("_OptionsT")


@dataclass(frozen=True, slots=True)
class SettingKind:
    """What a setting may be."""

    #: Ends the sentence "expected ...".
    wanted: str = ""
    fits: Callable[[Any], bool] = lambda _: True
    #: How argparse reads its option.
    argparse: Mapping[str, Any] = field(default_factory=dict)
    #: Makes the value of what may be given in its place; raises ValueError, TypeError or
    #: ArithmeticError.
    read: Callable[[Any], Any] = lambda given: given


def _number(
    wanted: str, kind: type, is_right: Callable[[Any], bool], metavar: str = "N"
) -> SettingKind:
    def fits(value: object) -> bool:
        return isinstance(value, (int, kind)) and not isinstance(value, bool) and is_right(value)

    return SettingKind(wanted, fits, {"type": kind, "metavar": metavar})


def choice(*words: str) -> SettingKind:
    """Return the kind of a setting that is one of a few words."""
    wanted = " or ".join(f'"{word}"' for word in words)
    return SettingKind(wanted, words.__contains__, {"choices": words})


#: A claim; its option turns the default round.
FLAG = SettingKind()
COUNT = _number("a positive whole number", int, lambda value: value > 0)
WHOLE = _number("a whole number, 0 or more", int, lambda value: value >= 0)
RATE = _number("a number above 0", float, lambda value: value > 0)
SECONDS = _number("a number of seconds, 0 or more", float, lambda value: value >= 0, "S")
USD = SettingKind(
    "an amount of USD, 0 or more",
    lambda value: value.is_finite() and value >= 0,
    {"metavar": "USD"},
    lambda given: Decimal(str(given)),
)
PATH = SettingKind("a path", read=os.fspath)
GLOBS = SettingKind(
    argparse={"action": "append", "metavar": "GLOB"},
    read=lambda given: (given,) if isinstance(given, str) else tuple(given),
)
ANY = SettingKind()


def setting(
    kind: SettingKind,
    default: Any = MISSING,
    help: str = "",
    *,
    group: str = "how",
    **argparse: Any,
) -> Any:
    """Return a dataclass field for a setting.

    Args:
        kind: what it may be; and None, where that is the default.
        default: stands for what is not given; if it is called to make that, also for None.
        help: of its option on the command line; "": it has none.
        group: the title over its option.
        argparse: how its option differs from its kind's; `option` is its name, which is otherwise
            the field's without "_s".
    """
    told = {"kind": kind, "help": help, "group": group, "argparse": {**kind.argparse, **argparse}}
    if callable(default):
        return field(default_factory=default, metadata=told)
    return field(default=default, metadata=told)


def check_settings(options: Any) -> None:
    """Read and check the settings of a frozen dataclass that is being made."""
    for one in fields(options):
        given = getattr(options, one.name)
        if "kind" not in one.metadata or (given is None and one.default is None):
            continue
        if given is None and one.default_factory is not MISSING:
            given = one.default_factory()
        object.__setattr__(options, one.name, read_setting(one, given))


def read_setting(one: Field[Any], given: object) -> Any:
    """Return what a setting's field makes of what is given.

    Raises:
        ConfigError: it may not be that.
    """
    kind: SettingKind = one.metadata["kind"]
    try:
        value = kind.read(given)
        fits = kind.fits(value)
    except (ValueError, TypeError, ArithmeticError):
        fits = False
    if not fits:
        raise ConfigError(f"{one.name}: expected {kind.wanted}, got {given!r}")
    return value


def settings_told(options: Any) -> dict[str, Any]:
    """Return the settings of a dataclass as JSON values, for people."""
    told: dict[str, Any] = {}
    for one in fields(options):
        value = getattr(options, one.name)
        if is_dataclass(value):
            told |= {f"{one.name}.{name}": of for name, of in settings_told(value).items()}
        elif value is None or isinstance(value, bool | int | float | str):
            told[one.name] = value
        elif isinstance(value, tuple | list):
            told[one.name] = [str(item) for item in value]
        else:
            told[one.name] = str(value)
    return told


def options_of(kind: type[_OptionsT], given: Mapping[str, Any]) -> _OptionsT:
    """Return options with those of the given values that have a setting's name."""
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in given.items() if name in names})
