"""One run over a folder, from taking the lock to the summary."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack

from ..clock import Clock
from ..errors import FilesFailed, NoUsableKey, RunStopped, StorageError, ToolkitError
from ..gate import Gate
from ..live import LiveLane
from ..prices import PriceBook
from ..progress import Moment, NoProgress, make_progress
from ..records import FailureNote
from ..report import FailuresFile, RunSummary
from ..scope import Scope
from ..tally import Tally
from ..work import Plan
from .hooks import Hooks
from .one_file import FileRunner
from .options import RunOptions
from .place import Place
from .signals import StopSignals
from .watch import Watch
from .workers import AsyncWorkers, Queue, ThreadWorkers, Workers
from .workshop import Workshop

logger = logging.getLogger(__name__)

#: How often the display is drawn and hung hooks are looked for.
_TICK_S = 0.2


class Run:
    """Works a plan through and counts what comes of it.

    One lock guards the counts and the failures file.
    """

    def __init__(
        self, options: RunOptions, hooks: Hooks, workshop: Workshop, lane: LiveLane, clock: Clock
    ) -> None:
        self._options = options
        self._hooks = hooks
        self._workshop = workshop
        self._lane = lane
        self._clock = clock
        self._lock = threading.Lock()
        self._done = self._failed = 0
        self._failures = FailuresFile(workshop.failures_path)
        self._tick = threading.Event()
        self._since_s = clock.now_s()
        self.scope = Scope(
            journal=workshop.journal,
            policy=options.policy,
            prices=PriceBook(lane.keys.settings.prices),
            gate=Gate(),
            tally=Tally(),
        )

    def work(self, plan: Plan) -> RunSummary:
        """Run the hooks over every file that is due.

        Raises:
            RunStopped: a signal came.
            NoUsableKey, StorageError: nothing more can be sent or kept.
            FilesFailed: more failed than `fail_on_error` allows.
        """
        with StopSignals(self._on_signal) as signals, ExitStack() as stack:
            self._lane.runs_begin()
            stack.callback(self._lane.runs_end)
            publisher = self._workshop.publisher(
                hooks_version=self._hooks.version,
                on_done=self._on_done,
                on_failed=self._on_publish_failed,
            )
            runner = FileRunner(
                hooks=self._hooks,
                workshop=self._workshop,
                publisher=publisher,
                lane=self._lane,
                scope=self.scope,
                clock=self._clock,
                on_failed=self._on_failed,
                max_file_attempts=self._options.max_file_attempts,
            )
            stack.callback(publisher.close)
            self._drive(plan, runner)
            publisher.close()
            summary = self.summary(plan, signals)
        return self._conclude(summary, signals)

    def _drive(self, plan: Plan, runner: FileRunner) -> None:
        progress = NoProgress() if not self._options.progress else make_progress(
            self._options.name,
            total=plan.due + plan.skipped,
            already=plan.skipped,
            clock=self._clock,
        )
        allowed = self._options.failures_allowed(plan.due)
        try:
            if plan.suspects:
                alone = Queue(iter(plan.suspects), self._is_closed, is_alone=True)
                self._attend(self._workers(runner, 1), alone, runner, progress, allowed)
            queue = Queue(plan.paths(), self._is_closed)
            count = min(self._options.num_threads, max(plan.due, 1))
            self._attend(self._workers(runner, count), queue, runner, progress, allowed)
        finally:
            progress.close()
