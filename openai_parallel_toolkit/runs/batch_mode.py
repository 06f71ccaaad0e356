"""What a run in batch mode has besides: the lane, and rounds until nothing waits."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from ..batch import BatchLane
from ..batch.live_fallback import Stragglers
from ..calls.run_context import Scope
from ..calls.sender import LiveLane
from ..core.clock import Clock
from ..core.errors import ToolkitError
from ..files.plan import DueFile
from ..journal.batch_rows import Standing
from .hooks import Hooks
from .options import RunOptions
from .session import Workshop
from .suspension import Suspender

_TICK_S = 0.2


class BatchMode:
    """Runs suspended files again when their answers are there, until none waits."""

    def __init__(
        self,
        options: RunOptions,
        hooks: Hooks,
        workshop: Workshop,
        live: LiveLane,
        scope: Scope,
        clock: Clock,
    ) -> None:
        journal = workshop.journal
        finishes_live = options.finish == "live"
        self._journal = journal
        self._scope = scope
        self.lane = BatchLane(
            journal=journal,
            keys=live.keys,
            scope=scope,
            options=options.batch,
            folder=os.path.join(workshop.state_folder, "batches"),
            clock=clock,
            stragglers=Stragglers(journal.batches, live, scope) if finishes_live else None,
        )
        self.suspender = Suspender(
            hooks=hooks,
            workshop=workshop,
            lane=self.lane,
            live=live,
            prices=scope.prices,
            max_rounds=options.max_batch_rounds,
            finishes_live=finishes_live,
        )

    def start(self) -> None:
        """Forget what was asked and not sent in earlier runs, and go on with their batches."""
        self._journal.batches.begin()
        self.lane.start()

    def work_off(
        self,
        run_files: Callable[[Sequence[DueFile]], None],
        look: Callable[[], None],
        is_closed: Callable[[], bool],
    ) -> None:
        """Wait for answers and run the files that get theirs, until no file waits.

        Args:
            run_files: runs the hooks of these files.
            look: called a few times a second.
            is_closed: whether the run is told to stop.
        """
        try:
            self._work_off(run_files, look, is_closed)
        except ToolkitError as exc:  # the disk refused; told with the summary
            self._scope.gate.close(exc)

    def _work_off(
        self,
        run_files: Callable[[Sequence[DueFile]], None],
        look: Callable[[], None],
        is_closed: Callable[[], bool],
    ) -> None:
        self._leave()
        while not is_closed():
            is_settled = self.lane.is_settled()
            if is_settled or self.lane.changed.is_set():
                self.lane.changed.clear()
                if self._run_ready(run_files, is_closed):
                    self._leave()
                elif is_settled:
                    return
            self.lane.changed.wait(_TICK_S)
            look()

    def _run_ready(
        self, run_files: Callable[[Sequence[DueFile]], None], is_closed: Callable[[], bool]
    ) -> bool:
        """Run all files that wait for nothing more; return whether there was one."""
        has_run = False
        while not is_closed() and (ready := self.suspender.ready()):
            self.lane.gather()
            run_files(ready)
            self._journal.flush()
            has_run = True
        return has_run

    def _leave(self) -> None:
        """Let all that was asked leave: no hook runs that could ask for more."""
        self._journal.flush()
        self.lane.flush()

    def standing(self) -> Standing:
        """Return what waits, here and remotely."""
        return self.lane.standing()

    def close(self, grace_s: float) -> None:
        """Stop; what runs remotely runs on."""
        self.lane.close(grace_s=grace_s)
