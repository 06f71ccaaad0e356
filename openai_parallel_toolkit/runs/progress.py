"""Show how a run goes: a bar on a terminal or in a notebook, a line now and then in a log file."""

from __future__ import annotations

import math
import os
import shutil
import sys
import warnings
from collections import deque
from dataclasses import dataclass
from typing import Any

from ..core.clock import Clock
from ..core.text import counted, duration, visible
from ..costs.figures import Figures
from .above_bar import AboveBar

#: Rates are taken over this many seconds.
_WINDOW_S = 10.0
_DRAW_EVERY_S = 0.1
#: Of a terminal; what a bar takes besides its name; and what is left of that at least.
_USUAL_COLUMNS, _BAR_COLUMNS, _SHORTEST_NAME = 80, 50, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressFigures:
    """How a run stands, in words; "" is left out."""

    #: How many failed.
    failed: str = ""
    #: Why nothing moves, and until when.
    waiting: str = ""
    #: How keys stand, and how fast it goes.
    keys: str = ""
    #: What it costs: now, in the end as it looks now, and the cap.
    cost: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.waiting, self.failed, self.keys, self.cost)))


class Display:
    """Shows how far something is; this one shows nothing."""

    def show(self, finished: int, total: int, standing: ProgressFigures) -> None:
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
        kind = _TerminalBar if sys.stderr.isatty() else _Bar
        return kind(name, open_bar(name, total=0, unit=unit, already=already), clock)
    return _Lines(name, clock, unit, every_s)


def is_watched() -> bool:
    """Return whether a bar would be seen: on a terminal or in a notebook."""
    return sys.stderr is not None and (sys.stderr.isatty() or _is_notebook())


def open_bar(name: str, *, total: int, unit: str, already: int = 0) -> Any:
    """Return a tqdm bar."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm tells of a missing notebook widget
        from tqdm.auto import tqdm
    # A terminal that does not know its size would get no bar at all.
    width, height = (None, None) if _knows_size() else shutil.get_terminal_size()
    return tqdm(
        desc=visible(name),
        total=total,
        initial=already,
        unit=unit,
        ncols=width,
        nrows=height,
        dynamic_ncols=width is None,
    )


def _knows_size() -> bool:
    try:
        return sys.stderr is None or all(os.get_terminal_size(sys.stderr.fileno()))
    except (OSError, ValueError):  # no terminal, such as a notebook
        return True


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
    """A bar and all words behind it, drawn a few times a second."""

    def __init__(self, name: str, bar: Any, clock: Clock) -> None:
        self._name, self._bar, self._clock = visible(name), bar, clock
        self._drawn_s = -math.inf

    def close(self) -> None:
        self._bar.close()

    def show(self, finished: int, total: int, standing: ProgressFigures) -> None:
        self._bar.n, self._bar.total = finished, total
        now_s = self._clock.now_s()
        if now_s - self._drawn_s >= _DRAW_EVERY_S:
            self._drawn_s = now_s
            self._draw(standing)

    def _draw(self, standing: ProgressFigures) -> None:
        self._bar.set_postfix_str(visible(str(standing)), refresh=True)


class _TerminalBar(_Bar):
    """A bar with lines beneath: what matters is seen in a window of 80 columns."""

    def __init__(self, name: str, bar: Any, clock: Clock) -> None:
        super().__init__(name, bar, clock)
        self._lines: list[Any] = []
        self._above = AboveBar(bar)

    def close(self) -> None:
        self._above.close()
        for line in reversed(self._lines):
            line.close()
        super().close()

    def _draw(self, standing: ProgressFigures) -> None:
        width = self._bar.format_dict["ncols"] or _USUAL_COLUMNS
        failed = standing.failed and f", {standing.failed}"
        room = max(_SHORTEST_NAME, width - _BAR_COLUMNS - len(failed))
        self._bar.set_description_str(f"{_fitting(self._name, room)}{failed}: ", refresh=True)
        for place, words in enumerate((standing.keys, standing.cost, standing.waiting)):
            if place == len(self._lines):
                if not words:  # the line for waiting comes when it is needed
                    continue
                self._lines.append(self._line(place + 1))
            line = _fitting(visible(words), width - 1)
            if line != self._lines[place].desc:
                self._lines[place].set_description_str(line, refresh=True)

    def _line(self, position: int) -> Any:
        """Return a bar of tqdm's that shows nothing but its description."""
        fp = self._bar.fp
        return type(self._bar)(
            bar_format="{desc}", total=0, position=position, leave=False, file=fp
        )


def _fitting(text: str, width: int) -> str:
    """Return a text in at most so many columns, the end of what was longer marked."""
    from tqdm.utils import disp_len, disp_trim

    return text if disp_len(text) <= width else f"{disp_trim(text, width - 1)}…"


class _Lines(Display):
    """A plain line now and then, for log files."""

    def __init__(self, name: str, clock: Clock, unit: str, every_s: float) -> None:
        self._name, self._clock, self._unit, self._every_s = name, clock, unit, every_s
        self._since_s = clock.now_s()
        self._next_s = self._since_s + every_s

    def show(self, finished: int, total: int, standing: ProgressFigures) -> None:
        now_s = self._clock.now_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._every_s
        count = f"{finished:,} of {counted(total, self._unit)}"
        line = f"{self._name}: {count} after {duration(now_s - self._since_s)}, {standing}"
        try:
            print(visible(line), file=sys.stderr, flush=True)  # noqa: T201 - the display is the purpose
        except OSError:  # nobody reads any more; the work goes on
            self._next_s = float("inf")
