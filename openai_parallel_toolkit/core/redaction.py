"""Keep secrets out of everything that is shown or written."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import re
from collections.abc import Iterable, Iterator
from typing import NoReturn

_MASK = "[secret]"
#: Things that look like credentials, whoever they belong to.
_PATTERNS = (
    (re.compile(r"\bsk-[A-Za-z0-9_\-*]{6,}"), _MASK),
    (re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/\-]+=*"), rf"\1{_MASK}"),
    (re.compile(r"(?i)\b((?:x-)?api[-_]key['\"]?\s*[:=]\s*['\"]?)[^\s'\",;}]+"), rf"\1{_MASK}"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.\-]*://)[^\s/@:]*:[^\s/@]+@"), rf"\1{_MASK}@"),
)


class Secret:
    """A credential that does not show itself: not in repr, logs, tracebacks or pickles."""

    __slots__ = ("__value", "name")

    def __init__(self, value: str, name: str = "secret") -> None:
        self.__value = value
        self.name = name

    def reveal(self) -> str:
        """Return the value, for the header that carries it and nothing else."""
        return self.__value

    def mask(self, text: str) -> str:
        """Return `text` with this secret's value replaced."""
        return text.replace(self.__value, f"[{self.name}]") if self.__value else text

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
        self._secrets = tuple(secrets)

    def clean(self, text: str) -> str:
        for secret in self._secrets:
            text = secret.mask(text)
        for pattern, mask in _PATTERNS:
            text = pattern.sub(mask, text)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean a log record in place; always lets it pass."""
        record.msg = self.clean(record.getMessage())
        record.args = None
        if record.exc_info:
            record.exc_text = self.clean(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


_CARELESS_LOGGERS = ("openai", "httpx", "httpx2", "httpcore", "httpcore2")


@contextlib.contextmanager
def guarded_logs(redactor: Redactor, log_file: str | None) -> Iterator[None]:
    """Clean what this package and the HTTP libraries log, and append it to `log_file` if given."""
    package = logging.getLogger(__package__.partition(".")[0])
    names = [n for n in logging.root.manager.loggerDict if n.split(".")[0] in _CARELESS_LOGGERS]
    guarded = [logging.getLogger(name) for name in names]
    for logger in guarded:
        logger.addFilter(redactor)
    handler: logging.Handler = logging.NullHandler()
    level = package.level
    if log_file is not None:
        handler = logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        handler.addFilter(redactor)
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
