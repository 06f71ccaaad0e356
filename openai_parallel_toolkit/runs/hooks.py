"""Call the user's three hooks the way they were written."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from ..core.errors import UsageError
from ..files.input_file import open_input, open_text

_NAMES = ("process_input", "process_data", "process_output")


class Hooks:
    """The three hooks of a subclass, checked and ready to be called."""

    def __init__(self, toolkit: object, base: type, *, binary: bool, encoding: str) -> None:
        """Take the hooks from `toolkit`.

        Raises:
            UsageError: a hook is missing, or one that may not be async is.
        """
        owner = type(toolkit)
        missing = [name for name in _NAMES if getattr(owner, name) is getattr(base, name)]
        if missing:
            raise UsageError(f"{owner.__name__} does not define {' and '.join(missing)}")
        self.process_input: Callable[[IO[Any]], Any] = getattr(toolkit, _NAMES[0])
        self.process_data: Callable[[Any], Any] = getattr(toolkit, _NAMES[1])
        self.process_output: Callable[[Any, str], Any] = getattr(toolkit, _NAMES[2])
        for name in ("process_input", "process_output"):
            if inspect.iscoroutinefunction(getattr(toolkit, name)):
                raise UsageError(f"{owner.__name__}.{name} may not be async; process_data may")
        self.is_async = inspect.iscoroutinefunction(self.process_data)
        self.version = _version(owner)
        self._binary = binary
        self._encoding = encoding

    def finish(self, result: Any) -> Any:
        """Return what process_data gave, running it to its end when it is async."""
        if not self.is_async:
            return result
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:  # this thread may run a loop, as in a notebook
            return pool.submit(context.run, asyncio.run, result).result()

    def open_input(self, path: str) -> IO[Any]:
        """Open an input the way process_input expects it."""
        return open_input(path) if self._binary else open_text(path, self._encoding)


def _version(owner: type) -> str:
    """Return a short hash that changes when one of the hooks is edited."""
    digest = hashlib.sha256()
    for name in _NAMES:
        function = inspect.unwrap(getattr(owner, name))
        try:
            digest.update(inspect.getsource(function).encode())
        except (OSError, TypeError):
            code = getattr(function, "__code__", None)
            digest.update(repr(code and (code.co_code, code.co_names)).encode())
    return digest.hexdigest()[:16]
