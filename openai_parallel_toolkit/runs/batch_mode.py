"""What a run in batch mode has besides: the scheduler, and rounds until nothing waits."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from ..batch import BatchScheduler
from ..batch.live_fallback import LiveFallback
from ..calls.sender import Sender
from ..core.errors import ToolkitError
from ..files.plan import DueFile
from .folder_session import FolderSession
from .hooks import Hooks
from .options import RunOptions
from .suspension import BatchSuspension

_TICK_S = 0.2


class BatchMode:
    """Runs suspended files again when their answers are there, until none waits."""

    def __init__(
        self,
        options: RunOptions,
        hooks: Hooks,
        session: FolderSession,
        live: Sender,
    ) -> None:
        journal, context = session.journal, session.context
        finishes_live = options.finish == "live"
        self._journal = journal
        self._stop = session.stop
        self.scheduler = BatchScheduler(
            journal=journal,
            keys=live.keys,
            context=context,
            options=options.batch,
            folder=os.path.join(session.state_folder, "batches"),
            clock=session.clock,
            live_fallback=LiveFallback(journal.batches, live, context) if finishes_live else None,
        )
        self.suspender = BatchSuspension(
            hooks=hooks,
            session=session,
            scheduler=self.scheduler,
            live=live,
            max_rounds=options.max_batch_rounds,
            finishes_live=finishes_live,
        )

    def start(self) -> None:
        """Forget what was asked and not sent in earlier runs, and go on with their batches."""
        self._journal.batches.begin()
        self.scheduler.start()

    def work_off(
        self, run_files: Callable[[Sequence[DueFile]], None], look: Callable[[], None]
    ) -> None:
        """Wait for answers and run the files that get theirs, until no file waits or it stops.

        Args:
            run_files: runs the hooks of these files.
            look: called a few times a second.
        """
        try:
            self._leave()
            while not self._stop.is_closed():
                is_settled = self.scheduler.is_settled()
                if is_settled or self.scheduler.changed.is_set():
                    self.scheduler.changed.clear()
                    if self._run_ready(run_files):
                        self._leave()
                    elif is_settled:
                        return
                self.scheduler.changed.wait(_TICK_S)
                look()
        except ToolkitError as exc:  # the disk refused; told with the summary
            self._stop.close(exc)

    def _run_ready(self, run_files: Callable[[Sequence[DueFile]], None]) -> bool:
        """Run all files that wait for nothing more; return whether there was one."""
        has_run = False
        while not self._stop.is_closed() and (ready := self.suspender.ready()):
            self.scheduler.gather()
            run_files(ready)
            self._journal.flush()
            has_run = True
        return has_run

    def _leave(self) -> None:
        """Let all that was asked leave: no hook runs that could ask for more."""
        self._journal.flush()
        self.scheduler.flush()

    def close(self, grace_s: float) -> None:
        """Stop; what runs remotely runs on."""
        self.scheduler.close(grace_s=grace_s)
