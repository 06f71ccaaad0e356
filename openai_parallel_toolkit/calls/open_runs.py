"""Which runs are on in this process: what is sent outside their files counts as theirs."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, ClassVar

from ..core.errors import UsageError
from ..core.logs import logger_of
from ..core.records import CallId, Outcome
from ..journal.writer import Done
from .file_calls import FileCalls
from .run_context import AttemptJournal, RunContext
from .submitter import CallSubmitter

logger = logger_of(__name__)


@dataclass(eq=False)
class OpenRun:
    """A run that is on. Those of the process are a tuple that is replaced as a whole."""

    sender: CallSubmitter
    context: RunContext
    #: Whether it cannot have calls outside its files.
    refuses_untracked: bool = False
    #: Of the file whose hooks run alone: what is asked outside is theirs. None: there is none.
    only_file: FileCalls | None = None
    has_warned: bool = False
    pid: int = field(default_factory=os.getpid)
    _all: ClassVar[tuple[OpenRun, ...]] = ()
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def newest(cls, sender: CallSubmitter | None = None) -> OpenRun | None:
        """Return the last one that was opened, of those under the same keys if there are any."""
        runs = [run for run in cls._all if run.pid == os.getpid()]
        same = [run for run in runs if sender is not None and run.sender.keys is sender.keys]
        return next(reversed(same or runs), None)

    @classmethod
    @contextlib.contextmanager
    def opened(cls, run: OpenRun) -> Iterator[None]:
        """Have a run on within the block."""
        run.sender.begin_run()
        with cls._lock:
            cls._all = (*cls._all, run)
        try:
            yield
        finally:
            with cls._lock:
                cls._all = tuple(other for other in cls._all if other is not run)

    def admit_untracked(self) -> None:
        """Say once that a call belongs to no file although this run is on; or refuse it."""
        if self.refuses_untracked:
            raise UsageError(
                'a call was made outside the hooks\' own threads, which mode="batch" cannot '
                "answer; start threads that ask with openai_parallel_toolkit.CarryingPool"
            )
        if not self.has_warned:
            self.has_warned = True
            logger.warning(
                "a call was made outside the hooks' own threads: it is sent and counted, but its "
                "answer is not kept for the file. Start threads that ask with "
                "openai_parallel_toolkit.CarryingPool.",
                extra={"action": "loose_call"},
            )


def outside_files(context: RunContext, sender: CallSubmitter) -> RunContext:
    """Return what a call shares that belongs to no file: money, count and stop of the run, if any.

    Its attempts are in the run's journal, unless it has one of its own, so that later runs count
    them too; its answer is not.
    """
    run = OpenRun.newest(sender)
    if run is None:
        return context
    ours = run.context
    journal = context.journal or (None if ours.journal is None else UnkeptCalls(ours.journal))
    return replace(context, journal=journal, tally=ours.tally, budget=ours.budget, stop=ours.stop)


class UnkeptCalls:
    """Puts attempts into a run's journal without their answers; once that is closed, nowhere."""

    def __init__(self, journal: AttemptJournal) -> None:
        self._journal = journal

    def claim(self, call: CallId, *, done: Done | None = None, **told: Any) -> int:
        told |= {"reply_bytes": 0, "body": None}  # the answer takes no room
        try:
            return self._journal.claim(call, done=done, **told)
        except UsageError:  # closed
            _tell(done)
            return 0

    def answered(
        self,
        attempt_id: int,
        call: CallId,
        outcome: Outcome,
        body: bytes,
        cost_usd: Decimal | None,
        done: Done | None = None,
        service_s: float | None = None,
        **told: Any,
    ) -> None:
        del call, body, told
        self.ended(attempt_id, outcome, cost_usd, done, service_s=service_s)

    def ended(
        self,
        attempt_id: int,
        outcome: Outcome,
        cost_usd: Decimal | None = None,
        done: Done | None = None,
        *,
        service_s: float | None = None,
    ) -> None:
        with contextlib.suppress(UsageError):
            if attempt_id:
                self._journal.ended(attempt_id, outcome, cost_usd, done, service_s=service_s)
                return
        _tell(done)


def _tell(done: Done | None) -> None:
    if done is not None:
        done(None)
