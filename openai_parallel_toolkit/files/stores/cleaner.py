"""Keep the credentials of storage services out of messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ...core.redaction import Redactor, Secret

#: Where the services' own tools look for credentials.
_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_SAS_TOKEN",
)
_SECRET_OPTION = re.compile(r"(?i)key|secret|token|password|credential|connection_string")
_PARTS = re.compile(r"(?i)\b(sig|accountkey|x-amz-signature|x-amz-credential)=[^&;\s'\"<>]+")
_FEWEST_CHARS = 6
_MOST_CHARS = 300


class Cleaner:
    """Makes one short line of a backend's error, without credentials."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Note what must not be shown: credentials among the options and in the environment."""
        known = [os.environ.get(name, "") for name in _VARIABLES]
        secret = (*known, *_secret_options(options))
        self._redactor = Redactor(Secret(text) for text in secret if len(text) >= _FEWEST_CHARS)

    def words(self, error: BaseException) -> str:
        """Return the kind of an error and its first line."""
        first = next(iter(str(error).splitlines()), "")
        clean = _PARTS.sub(r"\1=[secret]", self._redactor.clean(first))[:_MOST_CHARS]
        return f"{type(error).__name__}: {clean}" if clean else type(error).__name__


def _secret_options(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secret_options(value)
        elif isinstance(value, str) and _SECRET_OPTION.search(name):
            yield value
