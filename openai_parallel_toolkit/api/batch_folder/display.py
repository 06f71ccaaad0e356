"""Show how a BatchFolder goes: a bar for who looks, a line now and then for logs."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from ...core.clock import Clock
from ...core.text import counted, duration
from ...runs.progress import is_watched, open_bar

_LINE_EVERY_S = 60.0
_NAME = "BatchFolder"


class Display(Protocol):
    """Shows how far it is."""

    def show(self, finished: int, total: int, words: str) -> None:
        """Show the files that came to their end, all that are known of, and how it stands."""
        ...

    def close(self) -> None:
        """Leave it as it is."""
        ...


def make_display(clock: Clock, *, is_wanted: bool) -> Display:
    """Return what fits where the run is shown."""
    if not is_wanted or sys.stderr is None:
        return _Nothing()
    return _Bar() if is_watched() else _Lines(clock)


class _Nothing:
    def show(self, finished: int, total: int, words: str) -> None:
        pass

    def close(self) -> None:
        pass


class _Bar:
    def __init__(self) -> None:
        self._bar: Any = open_bar(_NAME, total=0, unit="file")

    def show(self, finished: int, total: int, words: str) -> None:
        self._bar.n, self._bar.total = finished, total
        self._bar.set_postfix_str(words, refresh=True)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_s = clock.now_s()
        self._next_s = self._since_s + _LINE_EVERY_S

    def show(self, finished: int, total: int, words: str) -> None:
        now_s = self._clock.now_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _LINE_EVERY_S
        passed = duration(now_s - self._since_s)
        line = f"{_NAME}: {finished:,} of {counted(total, 'file')} after {passed}, {words}"
        try:
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - the display is the purpose
        except OSError:  # nobody reads any more; the work goes on
            self._next_s = float("inf")

    def close(self) -> None:
        pass
