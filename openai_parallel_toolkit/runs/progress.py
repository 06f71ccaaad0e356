"""Show how a run goes: a bar on a terminal or in a notebook, a line now and then in a log file."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from ..core.clock import Clock
from ..core.text import counted
from ..costs.budget import Funds
from ..costs.tally import CallFigures
from .report import duration, funds_words, money

_LINE_EVERY_S = 30.0
#: Rates are taken over this many seconds.
_WINDOW_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How a run stands at one moment."""

    files_done: int
    files_failed: int
    calls: CallFigures
    #: For example "3 alive, 1 cooling, 1 dropped".
    keys: str
    #: Why nothing moves and until when; "" when it does.
    waiting: str = ""
    #: How max_cost stands; None: there is no cap.
    funds: Funds | None = None


class Progress(Protocol):
    """Shows a run's moments."""

    def show(self, moment: Moment) -> None:
        """Show how it stands now."""
        ...

    def close(self) -> None:
        """Leave the display as it is."""
        ...


class NoProgress:
    """Shows nothing."""

    def show(self, moment: Moment) -> None:
        pass

    def close(self) -> None:
        pass


def make_progress(
    name: str, *, total: int, already: int, clock: Clock, unit: str = "file"
) -> Progress:
    """Return what fits where the run is shown: a bar, or lines where nobody looks."""
    if sys.stderr is None:
        return NoProgress()
    kind = _Bar if is_watched() else _Lines
    return kind(name, total=total, already=already, clock=clock, unit=unit)


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
        desc=name,
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


class _Rates:
    """Calls and tokens per second over the last seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int, int]] = deque()

    def words(self, calls: CallFigures) -> str:
        now_s = self._clock.now_s()
        self._seen.append((now_s, calls.answered, calls.tokens))
        while now_s - self._seen[0][0] > _WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()
        then_s, answered, tokens = self._seen[0]
        passed_s = max(now_s - then_s, 0.001)
        call_rate, token_rate = (calls.answered - answered), (calls.tokens - tokens)
        return f"{call_rate / passed_s:.1f} calls/s, {token_rate / passed_s:,.0f} tokens/s"


def _words(moment: Moment, rates: _Rates) -> str:
    """Say how it stands; first what a narrow window must not cut off."""
    parts = [rates.words(moment.calls), money(moment.calls), f"keys: {moment.keys}"]
    if moment.funds is not None:
        parts.insert(2, funds_words(moment.funds))
    if moment.files_failed:
        parts.insert(0, f"{moment.files_failed:,} failed")
    if moment.waiting:
        parts.insert(0, f"waiting: {moment.waiting}")
    return ", ".join(parts)


class _Bar:
    """A tqdm bar of files, or of what else is counted."""

    def __init__(self, name: str, *, total: int, already: int, clock: Clock, unit: str) -> None:
        self._rates = _Rates(clock)
        self._already = already
        self._bar = open_bar(name, total=total, unit=unit, already=already)

    def show(self, moment: Moment) -> None:
        self._bar.n = self._already + moment.files_done + moment.files_failed
        self._bar.set_postfix_str(_words(moment, self._rates), refresh=True)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    """A plain line now and then, for log files."""

    def __init__(self, name: str, *, total: int, already: int, clock: Clock, unit: str) -> None:
        self._name, self._total, self._already, self._unit = name, total, already, unit
        self._clock = clock
        self._rates = _Rates(clock)
        self._next_s = clock.now_s() + _LINE_EVERY_S
        self._since_s = clock.now_s()

    def show(self, moment: Moment) -> None:
        now_s = self._clock.now_s()
        words = _words(moment, self._rates)
        if now_s < self._next_s:
            return
        self._next_s = now_s + _LINE_EVERY_S
        finished = self._already + moment.files_done + moment.files_failed
        passed = duration(now_s - self._since_s)
        count = f"{finished:,} of {counted(self._total, self._unit)}"
        line = f"{self._name}: {count} after {passed}, {words}"
        try:
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - the display is the purpose
        except OSError:  # nobody reads any more; the work goes on
            self._next_s = float("inf")

    def close(self) -> None:
        pass
