"""Call the user's three hooks the way they were written."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO, Any

from ..core.errors import UsageError
from ..files.input_file import open_input, open_text
from ..transport import new_event_loop

_NAMES = ("process_input", "process_data", "process_output")
#: Behind why an input cannot be decoded.
_NO_TEXT = (
    " (is it {encoding} text? pattern or exclude leaves such files out, binary=True gives the hook "
    "bytes, encoding= names another encoding)"
)


class Hooks:
    """The three hooks of a subclass, checked and ready to be called.

    One lock guards which event loop `finish` may use.
    """

    def __init__(self, toolkit: object, base: type, *, binary: bool, encoding: str) -> None:
        """Take the hooks from `toolkit`.

        Raises:
            UsageError: a hook is missing, or one that may not be async is.
        """
        self.toolkit = toolkit
        self._given = (toolkit, base, binary, encoding)
        owner = type(toolkit)
        missing = [name for name in _NAMES if getattr(owner, name) is getattr(base, name)]
        if missing:
            raise UsageError(f"{owner.__name__} does not define {' and '.join(missing)}")
        self._process_input: Callable[[IO[Any]], Any] = getattr(toolkit, _NAMES[0])
        self.process_data: Callable[[Any], Any] = getattr(toolkit, _NAMES[1])
        self.process_output: Callable[[Any, str], Any] = getattr(toolkit, _NAMES[2])
        for name in ("process_input", "process_output", "finished"):
            if inspect.iscoroutinefunction(getattr(toolkit, name, None)):
                raise UsageError(f"{owner.__name__}.{name} may not be async; process_data may")
        self.is_async = inspect.iscoroutinefunction(self.process_data)
        self.version = _version(owner)
        self._lock = threading.Lock()
        self._idle_loop: asyncio.AbstractEventLoop | None = None
        self._is_taken = False
        self._binary = binary
        self._encoding = encoding

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as what they were made of."""
        return _hooks_of, self._given

    def finish(self, result: Any) -> Any:
        """Return what process_data gave, running it to its end when it is async."""
        if not self.is_async:
            return result
        with self._lock:
            loop, self._idle_loop = self._idle_loop, None
        loop = loop or new_event_loop()
        try:
            if not _is_in_loop():
                return loop.run_until_complete(result)
            run = partial(contextvars.copy_context().run, loop.run_until_complete, result)
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(run).result()
        finally:
            self._give_back(loop)

    def take_loop(self) -> asyncio.AbstractEventLoop:
        """Return an event loop for async hooks, which is the caller's from now on.

        It is the one that `finish` used, if it did: what hooks keep may belong to it.
        """
        with self._lock:
            loop, self._idle_loop, self._is_taken = self._idle_loop, None, True
        return loop or new_event_loop()

    def _give_back(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            is_kept = not self._is_taken and self._idle_loop is None
            if is_kept:
                self._idle_loop = loop
        if not is_kept:
            _shut(loop)

    def close(self) -> None:
        """Let go of the event loop that nobody took."""
        with self._lock:
            loop, self._idle_loop, self._is_taken = self._idle_loop, None, False
        if loop is not None:
            _shut(loop)

    def process_input(self, file: IO[Any]) -> Any:
        """Run the hook; an error says what to do where the input is no text."""
        try:
            return self._process_input(file)
        except UnicodeDecodeError as exc:
            if not self._binary:
                exc.reason += _NO_TEXT.format(encoding=self._encoding)
            raise

    def open_input(self, path: str) -> IO[Any]:
        """Open an input the way process_input expects it."""
        return open_input(path) if self._binary else open_text(path, self._encoding)


def _hooks_of(toolkit: object, base: type, binary: bool, encoding: str) -> Hooks:
    return Hooks(toolkit, base, binary=binary, encoding=encoding)


def _is_in_loop() -> bool:
    """Whether this thread runs an event loop, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _shut(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:  # of none, gather asks for the loop of a thread that may have no more
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()


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
