"""Keep secrets out of everything that is shown or written."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, NoReturn
from urllib.parse import unquote

from .escapes import is_escaped, readings
from .text import visible

_MASK = "[secret]"
#: Things that look like credentials, whoever they belong to; each only where its mark stands in
#: the text without case.
_PATTERNS = (
    ("sk-", re.compile(r"(?i)\bsk-[A-Za-z0-9_\-*]{6,}"), _MASK),
    ("bearer", re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/\-]+=*"), rf"\1{_MASK}"),
    (
        "key",
        re.compile(r"(?i)\b((?:x-)?api[-_]key['\"]?\s*[:=]\s*['\"]?)[^\s'\",;}]+"),
        rf"\1{_MASK}",
    ),
    ("://", re.compile(r"(?i)\b([a-z][a-z0-9+.\-]{0,30}://)[^\s/@:]*:[^\s/@]+@"), rf"\1{_MASK}@"),
)
#: One that is shorter than six characters is masked as a part of its URL only.
_PASSWORD_OF_URL = re.compile(r"(?i)[a-z][a-z0-9+.\-]*://[^/@:]*:([^/]{6,})@")
_URL_SAFE = str.maketrans("+/", "-_")
#: Base64 of fewer characters that are wholly a secret's could be anything.
_SHORTEST_BASE64 = 4
_LOWER = str.maketrans({chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)})
#: The longest spelling of a secret: that of which a cut may leave a part.
_LONGEST_SPELLING = 4_096
#: Characters of a log record, and of its traceback, that are written.
_MOST_LOGGED = 8_000


class _Spelling(NamedTuple):
    """A text that shows a secret wherever it stands."""

    text: str
    #: Characters before and after it that show a few bits more.
    before: int = 0
    after: int = 0


class Secret:
    """A credential that does not show itself: not in repr, logs, tracebacks or pickles."""

    __slots__ = ("__spellings", "__value", "name")

    def __init__(self, value: str, name: str = "secret") -> None:
        self.__value = value
        self.__spellings: tuple[_Spelling, ...] = ()
        self.name = name

    def reveal(self) -> str:
        """Return the value, for the header that carries it and nothing else."""
        return self.__value

    def named(self, name: str) -> Secret:
        """Return the same credential under another name."""
        return Secret(self.__value, name)

    def spelled_texts(self) -> Iterator[str]:
        """Yield what a text holds, in lower case, that shows it."""
        return (one.text for one in self._spelled())

    def places_in(self, text: str) -> list[tuple[int, int]]:
        """Return begin and end of each place where a text shows it, plainly or in Base64.

        Args:
            text: in lower case, as `_lower` makes it.
        """
        places = []
        for spelling, before, after in [one for one in self._spelled() if one.text in text]:
            at = text.find(spelling)
            while at >= 0:
                end = at + len(spelling)
                places.append((max(0, at - before), min(len(text), end + after)))
                at = text.find(spelling, end)
        return places

    def _spelled(self) -> tuple[_Spelling, ...]:
        self.__spellings = self.__spellings or tuple(
            one._replace(text=_lower(one.text)) for one in _spellings(self.__value)
        )
        return self.__spellings

    def fingerprint(self, salt: bytes) -> str:
        """Return 8 hex digits that recognise the value under `salt` and tell nothing of it."""
        return hmac.new(salt, self.__value.encode(), hashlib.sha256).hexdigest()[:8]

    def __repr__(self) -> str:
        return f"Secret({self.name})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.__value.encode())

    def __hash__(self) -> int:
        return hash(self.__value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled; load keys from the config by name instead")


class Redactor:
    """Replaces known secrets and whatever looks like one; also a filter for log records."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._secrets: tuple[Secret, ...] = ()
        #: What shows one of them, in lower case, and how long the shortest is.
        self._spelled: tuple[str, ...] = ()
        self._least_chars = 0
        self.add(*secrets)

    def add(self, *secrets: Secret) -> None:
        """Know more secrets, wherever this is in use already."""
        self._secrets += secrets
        self._spelled += tuple(text for one in secrets for text in one.spelled_texts())
        self._least_chars = min(map(len, self._spelled), default=0)

    def clean(self, text: str) -> str:
        """Return a text without secrets: also as URLs, JSON, HTML and Base64 spell them."""
        if len(text) >= self._least_chars and (places := self._places(text)):
            text = _masked(text, places)
        folded = text.casefold()
        for mark, pattern, mask in _PATTERNS:
            if mark in folded:
                text = pattern.sub(mask, text)
        return text

    def finds_in(self, text: str) -> bool:
        """Return whether a text shows a known secret, however it is spelled."""
        return len(text) >= self._least_chars and bool(self._places(text))

    def _places(self, text: str) -> list[tuple[int, int, str]]:
        """Return begin, end and name of each secret that a text shows, in their order."""
        if not (is_escaped(text) or self._shows(_lower(text))):
            return []
        places = [
            (*reading.origin(*place), secret.name)
            for reading in readings(text)
            for lower in (_lower(reading.text),)
            if self._shows(lower)
            for secret in self._secrets
            for place in secret.places_in(lower)
        ]
        return sorted(places, key=lambda place: (place[0], -place[1]))

    def _shows(self, lower: str) -> bool:
        return any(map(lower.__contains__, self._spelled))

    def filter(self, record: logging.LogRecord) -> bool:
        """Make a log record safe in place: cleaned, bounded, in one line; always lets it pass."""
        record.msg = safe_words(record.getMessage(), self.clean, _MOST_LOGGED)
        record.args = None
        if record.exc_info:
            trace = logging.Formatter().formatException(record.exc_info)
            record.exc_text = _below(safe_words(trace, self.clean, _MOST_LOGGED, keep="\n"))
            record.exc_info = None
        if record.stack_info:
            record.stack_info = _below(
                safe_words(record.stack_info, self.clean, _MOST_LOGGED, keep="\n")
            )
        return True


def _masked(text: str, places: Iterable[tuple[int, int, str]]) -> str:
    parts: list[str] = []
    clean_to = 0
    for begin, end, name in places:
        if begin >= clean_to:
            parts += text[clean_to:begin], f"[{name}]"
        clean_to = max(clean_to, end)
    return "".join([*parts, text[clean_to:]])


def safe_words(text: str, clean: Callable[[str], str], most: int, *, keep: str = "") -> str:
    """Return the beginning of what others said: without secrets and what steers a terminal.

    Args:
        clean: takes secrets out.
        most: characters.
        keep: characters that may steer it nevertheless.
    """
    return visible(safe_head(text, clean, most), keep=keep)[:most] if text else ""


def safe_head(text: str, clean: Callable[[str], str], most: int) -> str:
    """Return the beginning of a text, at most so many characters, without secrets."""
    head = text[: most + _LONGEST_SPELLING]
    shown = clean(head)
    if len(head) < len(text):  # its end may be a part of a secret
        shown = shown[:-_LONGEST_SPELLING]
    return shown[:most]


def _lower(text: str) -> str:
    """Return a text of the same length in which letters of ASCII are small ones."""
    return text.lower() if text.isascii() else text.translate(_LOWER)


def _below(lines: str) -> str:
    """Return lines that cannot be taken for records of their own."""
    return "    " + lines.replace("\n", "\n    ")


def _spellings(value: str) -> Iterator[_Spelling]:
    if not value:
        return
    yield _Spelling(value)
    if " " in value:
        yield _Spelling(value.replace(" ", "+"))  # as forms are sent
    password = _PASSWORD_OF_URL.match(value)
    if password:
        yield from _spellings(unquote(password[1]))
    data = value.encode(errors="surrogatepass")
    for offset in range(3):  # Base64 takes three bytes at a time
        coded = base64.b64encode(bytes(offset) + data).decode()
        begin, end = -(-8 * offset // 6), 8 * (offset + len(data)) // 6
        if end - begin >= _SHORTEST_BASE64:
            shown = _Spelling(coded[begin:end], offset > 0, 8 * (offset + len(data)) % 6 > 0)
            yield shown
            yield shown._replace(text=shown.text.translate(_URL_SAFE))


_PACKAGE = __package__.partition(".")[0]
_GUARDED_LOGGERS = (_PACKAGE, "openai", "httpx", "httpx2", "httpcore", "httpcore2")


@contextlib.contextmanager
def guarded_logs(redactor: Redactor, log_file: str | None) -> Iterator[None]:
    """Clean what this package and the HTTP libraries log, and append it to `log_file` if given."""
    package = logging.getLogger(_PACKAGE)
    names = [n for n in logging.root.manager.loggerDict if n.split(".")[0] in _GUARDED_LOGGERS]
    guarded = [logging.getLogger(name) for name in names]
    for logger in guarded:
        logger.addFilter(redactor)
    handler: logging.Handler = logging.NullHandler()
    level = package.level
    if log_file is not None:
        handler = logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        handler.addFilter(redactor)  # some loggers are made later
        package.setLevel(min(package.getEffectiveLevel(), logging.INFO))
        package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(level)
        handler.close()
        for logger in guarded:
            logger.removeFilter(redactor)
