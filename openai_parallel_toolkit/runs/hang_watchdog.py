"""Find hooks that hang, say where, and let the run go on without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..core.clock import Clock
from ..core.errors import ToolkitError, UsageError
from ..core.logs import logger_of
from ..core.records import FailureNote
from .file_task import FileRunner
from .hook_runner import FileTask, stack_of
from .workers import Workers

logger = logger_of(__name__)

#: Seconds that may pass between two looks; more than the time between two that come in time.
_STEP_S = 0.25

#: The time in which hooks work on their own: their slot, and since when.
_BusyPeriod = tuple[int, float]


@dataclass(eq=False)
class HangWatchdog:
    """Gives up on hooks that work on their own for longer than `hook_timeout_s`.

    Time spent waiting in a call does not count, nor does time in which the whole process stands
    still: stopped by Ctrl-Z, say, or for want of a processor. So what counts is the time that this
    watchdog sees pass. None: hooks may take as long as they like.
    """

    runner: FileRunner
    workers: Workers
    clock: Clock
    hook_timeout_s: float | None
    #: Told when nobody can go on.
    stop: Callable[[ToolkitError], None]
    #: Returns where the hooks of a file are.
    stack_of: Callable[[FileTask], str] = stack_of

    def __post_init__(self) -> None:
        self._looked_s = self.clock.now_s()
        self._watched_s = 0.0
        #: When, in time watched, a period was first seen.
        self._seen_s: dict[_BusyPeriod, float] = {}

    def look(self) -> None:
        """Give up on every hook that has hung for too long."""
        if self.hook_timeout_s is None:
            return
        now_s = self.clock.now_s()
        self._watched_s += min(now_s - self._looked_s, _STEP_S)
        self._looked_s = now_s
        idle = {
            period: task
            for task in self.runner.tasks()
            if (period := _busy_period_of(task)) is not None
        }
        self._seen_s = {period: self._seen_s.get(period, self._watched_s) for period in idle}
        before_s = self._watched_s - self.hook_timeout_s
        hung = [task for period, task in idle.items() if self._seen_s[period] <= before_s]
        for task in self.workers.at_fault(hung):
            if _busy_period_of(task) in idle:
                self._give_up(task)

    def _give_up(self, task: FileTask) -> None:
        message = f"a hook did nothing that shows for {self.hook_timeout_s:g} s (hook_timeout_s)"
        note = FailureNote(kind="HookTimeout", message=message, trace=self.stack_of(task))
        if not self.runner.abandon(task, note):
            return
        logger.warning(
            "%s: %s; going on without it. It hangs at:\n%s",
            task.path,
            message,
            note.trace,
            extra={"action": "hook_timeout"},
        )
        if not self.workers.replace(task):
            self.stop(
                UsageError(
                    f"the async hook of {task.path} blocks the event loop that all files share; "
                    "use what can be awaited there, such as asyncio.to_thread(...), or write the "
                    "hooks without async",
                    path=task.path,
                )
            )


def _busy_period_of(task: FileTask) -> _BusyPeriod | None:
    """Return the busy period that a file is in; None: it waits in a call, or is over."""
    since_s = task.file_calls.idle_since_s
    return None if since_s is None or task.file_calls.is_abandoned else (task.slot, since_s)
