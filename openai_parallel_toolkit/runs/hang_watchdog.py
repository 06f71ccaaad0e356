"""Find hooks that hang, say where, and let the run go on without them."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

from ..core.clock import Clock
from ..core.errors import ToolkitError, UsageError
from ..core.records import FailureNote
from .file_task import FileRunner, Job
from .workers import Workers

logger = logging.getLogger(__name__)

_TRACE_FRAMES = 6
#: Seconds that may pass between two looks; more than the time between two that come in time.
_STEP_S = 0.25

#: A slot, and since when the hooks in it work on their own.
_Spell = tuple[int, float]


class HangWatchdog:
    """Gives up on hooks that work on their own for longer than `hook_timeout_s`.

    Time spent waiting in a call does not count, nor does time in which the whole process stands
    still: stopped by Ctrl-Z, say, or for want of a processor. So what counts is the time that this
    watch sees pass. None: hooks may take as long as they like.
    """

    def __init__(
        self,
        runner: FileRunner,
        workers: Workers,
        clock: Clock,
        hook_timeout_s: float | None,
        stop: Callable[[ToolkitError], None],
    ) -> None:
        """Take a look around; `stop` is told when nobody can go on."""
        self._runner = runner
        self._workers = workers
        self._clock = clock
        self._hook_timeout_s = hook_timeout_s
        self._stop = stop
        self._looked_s = clock.now_s()
        self._watched_s = 0.0
        #: When, in time watched, a spell was first seen.
        self._seen_s: dict[_Spell, float] = {}

    def look(self) -> None:
        """Give up on every hook that has hung for too long."""
        if self._hook_timeout_s is None:
            return
        now_s = self._clock.now_s()
        self._watched_s += min(now_s - self._looked_s, _STEP_S)
        self._looked_s = now_s
        idle = {spell: job for job in self._runner.jobs() if (spell := _spell_of(job)) is not None}
        self._seen_s = {spell: self._seen_s.get(spell, self._watched_s) for spell in idle}
        before_s = self._watched_s - self._hook_timeout_s
        hung = [job for spell, job in idle.items() if self._seen_s[spell] <= before_s]
        for job in self._workers.at_fault(hung):
            if _spell_of(job) in idle:
                self._give_up(job)

    def _give_up(self, job: Job) -> None:
        message = f"a hook did nothing that shows for {self._hook_timeout_s:g} s (hook_timeout_s)"
        note = FailureNote(kind="HookTimeout", message=message, trace=_stack_of(job))
        if not self._runner.abandon(job, note):
            return
        logger.warning(
            "%s: %s; going on without it. It hangs at:\n%s",
            job.path,
            message,
            note.trace,
            extra={"action": "hook_timeout"},
        )
        if not self._workers.replace(job):
            self._stop(
                UsageError(
                    f"the async hook of {job.path} blocks the event loop that all files share; "
                    "use what can be awaited there, such as asyncio.to_thread(...), or write the "
                    "hooks without async",
                    path=job.path,
                )
            )


def _spell_of(job: Job) -> _Spell | None:
    """Return the spell of its own work that a job is in; None: it waits in a call, or is over."""
    since_s = job.file_calls.idle_since_s
    return None if since_s is None or job.file_calls.is_abandoned else (job.slot, since_s)


def _stack_of(job: Job) -> str:
    frames = _awaiting(job.task)
    if not frames:
        frame = sys._current_frames().get(job.thread_id)
        frames = [found for found, _ in traceback.walk_stack(frame)][::-1] if frame else []
    lines = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames).format()
    return "".join(lines[-_TRACE_FRAMES:])


def _awaiting(task: asyncio.Task[Any] | None) -> list[FrameType]:
    """Return where a task waits, from its outermost frame inward; empty: it runs just now."""
    frames = []
    awaited: Any = task and task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None)
        if frame is not None:
            frames.append(frame)
        awaited = getattr(awaited, "cr_await", None)
    return frames if len(frames) > 1 else []
