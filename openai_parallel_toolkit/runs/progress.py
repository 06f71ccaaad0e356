"""Show how a run goes: a bar on a terminal or in a notebook, a line now and then in a log file."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections import deque
from typing import Any

from ..core.clock import Clock
from ..core.text import counted, duration, visible
from ..costs.figures import Figures

#: Rates are taken over this many seconds.
_WINDOW_S = 10.0


class Display:
    """Shows how far something is; this one shows nothing."""

    def show(self, finished: int, total: int, words: str) -> None:
        """Show what came to its end, all that is known of, and how it stands."""

    def close(self) -> None:
        """Leave it as it is."""


def make_display(
    name: str,
    *,
    clock: Clock,
    unit: str = "file",
    already: int = 0,
    every_s: float = 30.0,
    is_wanted: bool = True,
) -> Display:
    """Return what fits where it is shown: a bar, or lines where nobody looks.

    Args:
        unit: what is counted.
        already: what had come to its end before.
        every_s: seconds from line to line.
    """
    if not is_wanted or sys.stderr is None:
        return Display()
    if is_watched():
        return _Bar(open_bar(name, total=0, unit=unit, already=already))
    return _Lines(name, clock, unit, every_s)


def is_watched() -> bool:
    """Return whether a bar would be seen: on a terminal or in a notebook."""
    return sys.stderr is not None and (sys.stderr.isatty() or _is_notebook())


def open_bar(name: str, *, total: int, unit: str, already: int = 0) -> Any:
    """Return a tqdm bar."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm tells of a missing notebook widget
        from tqdm.auto import tqdm
    # A terminal that does not know its width would get no bar at all.
    knows_width = shutil.get_terminal_size((0, 0)).columns > 0
    return tqdm(
        desc=visible(name),
        total=total,
        initial=already,
        unit=unit,
        ncols=None if knows_width else 120,
        dynamic_ncols=knows_width,
    )


def _is_notebook() -> bool:
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return type(running).__name__ == "ZMQInteractiveShell"


class Rates:
    """Calls and tokens per second over the last seconds, in words."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int, int]] = deque()

    def words(self, calls: Figures) -> str:
        """Take in how it stands now, and return the rates."""
        now_s = self._clock.now_s()
        self._seen.append((now_s, calls.answered, calls.tokens))
        while now_s - self._seen[0][0] > _WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()
        then_s, answered, tokens = self._seen[0]
        passed_s = max(now_s - then_s, 0.001)
        call_rate, token_rate = (calls.answered - answered), (calls.tokens - tokens)
        return f"{call_rate / passed_s:.1f} calls/s, {token_rate / passed_s:,.0f} tokens/s"


class _Bar(Display):
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def close(self) -> None:
        self._bar.close()

    def show(self, finished: int, total: int, words: str) -> None:
        self._bar.n, self._bar.total = finished, total
        self._bar.set_postfix_str(visible(words), refresh=True)


class _Lines(Display):
    """A plain line now and then, for log files."""

    def __init__(self, name: str, clock: Clock, unit: str, every_s: float) -> None:
        self._name, self._clock, self._unit, self._every_s = name, clock, unit, every_s
        self._since_s = clock.now_s()
        self._next_s = self._since_s + every_s

    def show(self, finished: int, total: int, words: str) -> None:
        now_s = self._clock.now_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._every_s
        count = f"{finished:,} of {counted(total, self._unit)}"
        line = f"{self._name}: {count} after {duration(now_s - self._since_s)}, {words}"
        try:
            print(visible(line), file=sys.stderr, flush=True)  # noqa: T201 - the display is the purpose
        except OSError:  # nobody reads any more; the work goes on
            self._next_s = float("inf")
