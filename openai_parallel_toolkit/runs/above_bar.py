"""What hooks print while a bar is drawn: it goes above the bar, line by line."""

from __future__ import annotations

import io
import sys
import threading
from typing import Any, TextIO, cast

_STREAMS = ("stdout", "stderr")


class AboveBar:
    """Stands for the terminal's streams until it is closed. One lock guards each unended line."""

    def __init__(self, bar: Any) -> None:
        """Take over the streams that are terminals; `bar` is one of tqdm's on standard error."""
        self._given: dict[str, TextIO] = {}
        self._taken: dict[str, _LinesAbove] = {}
        errors = sys.stderr
        for name in _STREAMS:
            stream = getattr(sys, name)
            if stream is not None and stream.isatty():
                self._given[name] = stream
                self._taken[name] = _LinesAbove(stream, type(bar), errors)
                setattr(sys, name, self._taken[name])

    def close(self) -> None:
        """Give the streams back, unless somebody has put others in their place since."""
        for name, lines in self._taken.items():
            lines.end()
            if getattr(sys, name) is lines:
                setattr(sys, name, self._given[name])


class _LinesAbove(io.TextIOBase):
    def __init__(self, stream: TextIO, bars: Any, errors: TextIO) -> None:
        self._stream, self._bars, self._errors = stream, bars, errors
        self._lock = threading.RLock()
        self._begun = ""
        self._is_ended = False

    def write(self, text: str) -> int:
        with self._lock:
            if self._is_ended:  # somebody has kept it
                return self._stream.write(text)
            lines, newline, rest = (self._begun + text).rpartition("\n")
            self._begun = rest
            self._put(lines + newline)
        return len(text)

    def end(self) -> None:
        """Write the line that was begun, and from now on all at once."""
        with self._lock:
            self._put(self._begun)
            self._begun, self._is_ended = "", True

    def _put(self, text: str) -> None:
        if text:
            with self._bars.external_write_mode(file=self._errors):
                self._stream.write(text)
                self._stream.flush()

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    @property
    def buffer(self) -> Any:
        return cast("Any", self._stream).buffer
