"""Read one field of a configuration, or say precisely what is wrong with it.

Messages name the source and the field and never show a value: it may be a secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ...core.errors import ConfigError

_ENV = "env:"
_MAX_NAME_CHARS = 100
_MAX_USD_PER_MILLION = 1_000_000
_KINDS = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    Decimal: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
#: What examples and templates put where a key belongs.
_PLACEHOLDER = re.compile(
    r"<[^<>]*>|\.\.\.|…|not-a-key|^(?:sk-)?[x*]{3,}$|^(?:sk-)?your[-_ ]?|^(?:api[-_ ]?)?key$",
    re.IGNORECASE,
)


#: So few characters are no key, nor Base64 of one.
_NO_KEY_CHARS = 15
#: Keys of OpenAI's have more.
_OPENAI_KEY_CHARS = 20
#: Pieces such as "8x22b" or "v3p1" are at most so long in names of models.
_PIECE_CHARS = 8
_MOST_TOLD = 20
_Value = TypeVar("_Value")


class Mistakes:
    """Collects what is wrong, so that all of it is told at once."""

    def __init__(self) -> None:
        self.found: list[ConfigError] = []

    def read(self, read: Callable[[], _Value], otherwise: _Value) -> _Value:
        """Return what is read, or what stands for it when that is wrong."""
        try:
            return read()
        except ConfigError as exc:
            self.found.append(exc)
            return otherwise

    def tell(self) -> None:
        """Raise what was found, one line each, if anything was."""
        if not self.found:
            return
        first, rest = self.found[0], len(self.found) - _MOST_TOLD
        if len(self.found) == 1:
            raise first.with_traceback(None)
        told = [str(one) for one in self.found[:_MOST_TOLD]]
        told += [f"and {rest:,} more"] if rest > 0 else []
        error = ConfigError("\n".join(told), source=first.source, field=first.field)
        error.args = (error.message,)
        raise error


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a configuration comes from."""

    #: For messages: "config.json", "the environment".
    name: str
    #: What "env:NAME" refers to.
    env: Mapping[str, str] = field(repr=False)
    #: What was put right in passing; collected for one warning.
    repairs: list[str] = field(default_factory=list)


class Field:
    """One value of a configuration together with its place."""

    __slots__ = ("origin", "place", "value")

    def __init__(self, value: Any, place: str, origin: Origin) -> None:
        self.value = value
        self.place = place
        self.origin = origin

    def error(self, what: str) -> ConfigError:
        """Return the error that says `what` is wrong here."""
        where = f"{self.origin.name}: {self.place}" if self.place else self.origin.name
        return ConfigError(f"{where}: {what}", source=self.origin.name, field=self.place)

    def expected(self, what: str) -> ConfigError:
        """Return the error for a value of another kind than `what`."""
        return self.error(f"expected {what}, got {_KINDS.get(type(self.value), 'something else')}")

    def repaired(self, what: str) -> None:
        """Note that something was put right."""
        self.origin.repairs.append(f"{self.place}: {what}")

    @property
    def is_from_env(self) -> bool:
        return isinstance(self.value, str) and self.value.startswith(_ENV)

    @property
    def variable(self) -> str:
        """The variable of the environment that it is read from; "": none."""
        return self.value[len(_ENV) :].strip() if self.is_from_env else ""

    def items(self) -> Iterator[Field]:
        """Yield the items of a list."""
        if not isinstance(self.value, list):
            raise self.expected("a list")
        for index, item in enumerate(self.value):
            yield Field(item, f"{self.place}[{index}]", self.origin)

    def entries(self, known: Collection[str] | None = None) -> dict[str, Field]:
        """Return the fields of an object, without those that are null.

        Args:
            known: the names that may occur; None: any.
        """
        if not isinstance(self.value, dict):
            raise self.expected("an object")
        if known is not None:
            unknown = [_unknown(name, known) for name in self.value if name not in known]
            if unknown:
                raise self.error("; ".join(unknown))
        prefix = f"{self.place}." if self.place else ""
        return {
            name: Field(value, f"{prefix}{_shown(name)}", self.origin)
            for name, value in self.value.items()
            if value is not None
        }

    def text(self) -> str:
        """Return a text that is not empty, read from the environment where it says "env:NAME"."""
        if not isinstance(self.value, str):
            raise self.expected("a text")
        text = self._from_env() if self.is_from_env else self.value
        if not text.strip():
            raise self.error("is empty; fill it in or take it out")
        return text

    def _from_env(self) -> str:
        if self.variable in self.origin.env:
            return self.origin.env[self.variable]
        raise self.error(self._unset())

    def unfilled(self) -> str:
        """Return why no key stands here yet, as in an example or a template; "": one does."""
        if self.is_from_env and self.variable not in self.origin.env:
            return self._unset()
        text = self.text() if isinstance(self.value, str) and self.value.strip() else ""
        return "is a placeholder; put your own key there" if _PLACEHOLDER.search(text) else ""

    def _unset(self) -> str:
        name = self.variable
        shown = name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else "this name"
        return f"the environment has no {shown}; set it, or write it into .env"

    def label(self) -> str:
        """Return a name for people: one short printable line."""
        text = self.text().strip()
        if not text.isprintable() or len(text) > _MAX_NAME_CHARS:
            raise self.error(f"expected one printable line of at most {_MAX_NAME_CHARS} characters")
        return text

    def key(self) -> str:
        """Return an API key, without the white space around it."""
        given = self.text()
        key = given.strip()
        if _PLACEHOLDER.search(key):
            raise self.error("is a placeholder; put your own key there")
        if not key.isascii():
            raise self.error("has a character that is not ASCII; copy the key again")
        if any(character.isspace() for character in key):
            raise self.error("has white space inside; give one key, and nothing else")
        if not key.isprintable():
            raise self.error("has a control character; copy the key again")
        if key != given:
            self.repaired("white space around the key was taken off")
        return key

    def whole_number(self) -> int:
        """Return a whole number above zero."""
        value = self.value
        if self.is_from_env and self.text().strip().isdecimal():
            value = int(self.text().strip()[:18])
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.expected("a positive whole number")
        if value < 1:
            raise self.error("expected a positive whole number; leave it out for no limit")
        return value

    def usd(self) -> Decimal:
        """Return a price in USD."""
        if not isinstance(self.value, int | Decimal) or isinstance(self.value, bool):
            raise self.expected("a number (USD per million tokens)")
        price = Decimal(self.value)
        if not price.is_finite() or not 0 <= price <= _MAX_USD_PER_MILLION:
            raise self.error(f"expected USD per million tokens, 0 to {_MAX_USD_PER_MILLION:,}")
        return price

    def api_base(self) -> str:
        """Return a base URL without a trailing slash."""
        url = self._url("https://api.openai.com/v1")
        if "@" in urlsplit(url).netloc:
            raise self.error("holds a user name or password; keys belong into api_keys")
        if "?" in url or "#" in url:
            raise self.error("holds a query; give the part before it (api_version has its field)")
        return url.rstrip("/")

    def proxy(self) -> str:
        """Return the URL of a proxy; it may hold a password."""
        return self._url("http://proxy.example:3128")

    def _url(self, example: str) -> str:
        url = self.text().strip()
        if "<" in url or ">" in url:
            raise self.error("is a placeholder; put your own URL there")
        if not _is_url(url):
            raise self.error(f"expected a URL such as {example}")
        return url


def _is_url(url: str) -> bool:
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a broken IPv6 address, a port that is no number
        return False


def _unknown(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"unknown field {_shown(name)!r}; {hint}"


def _shown(name: str) -> str:
    """Return the name of a field, unless it may be a key that slipped into its place, or coded."""
    is_plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:/ -]*", name) and len(name) <= 60
    is_safe = len(name) <= _NO_KEY_CHARS or all(map(_is_word, re.split(r"[_.:/ -]", name)))
    return name if is_plain and is_safe and not name.startswith("sk-") else "(a name not shown)"


def _is_word(piece: str) -> bool:
    """Return whether this is a word, in camelCase perhaps, a number, or short."""
    is_camel = piece.isalpha() and not re.search(r"[A-Z][A-Z]", piece)
    return len(piece) <= _PIECE_CHARS or piece.isdecimal() or is_camel


def is_like_key(text: str) -> bool:
    """Return whether a text begins as OpenAI's keys do, and is as long."""
    return len(text) > _OPENAI_KEY_CHARS and text.lower().startswith("sk-")
