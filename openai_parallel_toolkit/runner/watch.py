"""Find hooks that hang, say where, and let the run go on without them."""

from __future__ import annotations

import logging
import sys
import traceback

from ..clock import Clock
from ..records import FailureNote
from .one_file import FileRunner, Job
from .workers import Workers

logger = logging.getLogger(__name__)


class Watch:
    """Gives up on hooks that work on their own for longer than `hook_timeout_s`.

    Time spent waiting in a call does not count. None: hooks may take as long as they like.
    """

    def __init__(
        self, runner: FileRunner, workers: Workers, clock: Clock, hook_timeout_s: float | None
    ) -> None:
        self._runner = runner
        self._workers = workers
        self._clock = clock
        self._hook_timeout_s = hook_timeout_s

    def look(self) -> None:
        """Give up on every hook that has hung for too long."""
        if self._hook_timeout_s is None:
            return
        now_s = self._clock.now_s()
        for job in self._runner.jobs():
            idle_since_s = job.execution.idle_since_s
            if idle_since_s is None or now_s - idle_since_s < self._hook_timeout_s:
                continue
            if not job.execution.is_fenced:
                self._give_up(job)

    def _give_up(self, job: Job) -> None:
        message = f"a hook did nothing that shows for {self._hook_timeout_s:g} s (hook_timeout_s)"
        note = FailureNote(kind="HookTimeout", message=message, trace=_stack_of(job))
        logger.warning(
            "%s: %s; going on without it. It hangs at:\n%s",
            job.path,
            message,
            note.trace,
            extra={"action": "hook_timeout"},
        )
        self._runner.fence(job, note)
        self._workers.replace(job)


def _stack_of(job: Job) -> str:
    frame = sys._current_frames().get(job.thread_id)
    return "".join(traceback.format_stack(frame)[-6:]) if frame is not None else ""
