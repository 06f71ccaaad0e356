"""Read values of a BatchFolder's configuration; templates' `<...>` are told as not filled in."""

from __future__ import annotations

import re

from ...keys.config.fields import Field

_PLACEHOLDER = re.compile(r"<[^<>]*>")
_FLAGS = {"true": True, "false": False}


def filled(field: Field) -> str:
    """Return a text.

    Raises:
        ConfigError: it is empty, no text, or still a placeholder.
    """
    text = field.text().strip()
    if _PLACEHOLDER.search(text):
        raise field.error("is a placeholder; fill it in")
    return text


def flag(field: Field) -> bool:
    """Return true or false, also where it is written as a text.

    Raises:
        ConfigError: it is neither.
    """
    value = field.value
    if isinstance(value, str):
        value = _FLAGS.get(filled(field).lower())
    if not isinstance(value, bool):
        raise field.expected("true or false")
    return value


def whole_number(field: Field) -> int:
    """Return a whole number above zero, also where it is written as a text.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(field.value, str) and filled(field).isdecimal():
        return Field(int(filled(field)[:9]), field.place, field.origin).whole_number()
    return field.whole_number()
