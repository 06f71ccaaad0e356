"""Send later, at half price: one thread forms batches and sees them through."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid

from ..calls.run_context import RunContext
from ..core.clock import Clock
from ..core.errors import ToolkitError
from ..core.logs import logger_of
from ..core.own_files import private_folder
from ..core.text import counted
from ..core.threads import start_thread
from ..journal import Journal
from ..journal.batch_rows import BatchCounts, BatchRecord, BatchStage, Queued
from ..keys import APIKeyManager
from ..transport import SendFault, new_event_loop
from .batch_budget import BatchBudget
from .cancel import cancel_batch
from .collect import CallLines
from .live_fallback import LiveFallback
from .options import BatchOptions, Waiting
from .planner import BatchPlanner
from .service import MARK, BatchService, ServiceRefusal
from .tracker import BatchTracker, OutOfReach

logger = logger_of(__name__)

#: How often to look whether enough has gathered for a batch.
_LOOK_S = 1.0


class BatchScheduler:
    """Carries the calls of suspended files through the Batch API.

    Everything but `start`, `flush`, `batch_counts`, `words` and `close` happens on its own thread.
    A key owns its batches: each is followed under the key that made it.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        keys: APIKeyManager,
        context: RunContext,
        options: BatchOptions,
        folder: str,
        clock: Clock,
        live_fallback: LiveFallback | None = None,
        cancels: bool = False,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            folder: for files on their way, private.
            live_fallback: sends lines live that came back without an answer; None: they go into
                further batches.
            cancels: cancel what earlier runs left, keep what it brought, and form nothing.
        """
        self._store = journal.batches
        self._context = context
        self._live_fallback = live_fallback
        self._cancels = cancels
        self._budget = BatchBudget(context.budget)
        self._lines = CallLines(
            self._store,
            context,
            self._budget,
            private_folder(folder),
            clock,
            keys.redactor.clean,
        )
        self._tracker = BatchTracker(
            journal,
            keys,
            self._lines,
            window=options.window,
            waiting=Waiting(patience=options.patience, clock=clock),
        )
        self._clients = self._tracker.clients
        self._planner = BatchPlanner(
            store=self._store,
            clients=self._clients,
            quota=self._tracker.quota,
            budget=self._budget,
            options=options,
            clock=clock,
            is_fresh=live_fallback is not None,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        #: Something has come back or been given up; cleared by who looks for ready files.
        self.changed = threading.Event()
        self._is_gathering = True
        self._asked = 0
        self._settled = 0
        self._loop = new_event_loop()
        self._wake = asyncio.Event()
        self._thread: threading.Thread | None = None

    # -- from other threads --------------------------------------------------------------------

    def start(self) -> None:
        """Begin, with the batches that earlier runs left."""
        self._thread = start_thread(self._run, name="batch-scheduler")

    def gather(self) -> None:
        """Let only full batches leave: hooks run, and may ask for more."""
        self._is_gathering = True

    def flush(self) -> None:
        """Let what is queued leave now: nothing is to be added for the time being."""
        self._asked += 1
        self._is_gathering = False
        self._call_up()

    def is_settled(self) -> bool:
        """Return whether all that was queued before the last `flush` has come to its end."""
        return self._settled >= self._asked

    def batch_counts(self) -> BatchCounts:
        """Return what waits, here and remotely."""
        return self._store.batch_counts()

    def words(self) -> str:
        """Say what is waited for; "": nothing is."""
        return "; ".join(part for part in (self._tracker.words(), self._planner.waiting) if part)

    def close(self, *, grace_s: float) -> None:
        """Stop; what runs remotely runs on. A request on its way gets `grace_s` seconds."""
        if self._thread is None:
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(timeout=grace_s)

    # -- the scheduler's thread --------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._main_task = self._loop.create_task(self._main())
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._main_task)
        except BaseException as exc:  # noqa: BLE001 - told to the run, which stops
            self._context.stop.close(exc)
        finally:
            self._loop.run_until_complete(self._shut_down())
            self._loop.close()
            self.changed.set()

    def _stop(self) -> None:
        self._main_task.cancel()

    async def _shut_down(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._clients.close()

    async def _main(self) -> None:
        for batch in self._store.open_batches():
            self._adopt(batch)
        while self._context.stop.reason is None:
            self._wake.clear()
            asked = self._asked
            left = self._form_all(is_flush=not self._is_gathering)
            is_busy = self._live_fallback is not None and self._live_fallback.is_busy()
            if not left and not self._tasks and not is_busy:
                self._settled = asked
                self.changed.set()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _LOOK_S)

    # Forming

    def _form_all(self, *, is_flush: bool) -> bool:
        """Form what can leave; return whether anything is still queued."""
        if self._cancels:
            return False
        self._planner.waiting = ""
        is_left = False
        if any([self._planner.set_aside(one) for one in self._planner.queued()]):  # noqa: C419
            self.changed.set()
        if self._live_fallback is not None:
            is_left = self._live_fallback.send(self._on_live_answer)
        while any([self._form(one, is_flush=is_flush) for one in self._planner.queued()]):  # noqa: C419
            pass
        return is_left or bool(self._planner.queued())

    def _form(self, queued: Queued, *, is_flush: bool) -> bool:
        """Form one batch of what is queued for a model; False: none can leave now."""
        try:
            chosen = self._planner.choose(queued, is_flush=is_flush)
        except ToolkitError as exc:
            self._context.stop.close(exc)
            return False
        if chosen is None:
            return False
        lease, lines = chosen
        batch = self._store.form(
            lines,
            key_name=lease.key_name,
            fingerprint=self._clients.fingerprint(lease.key_name),
            path=queued.path,
            model=queued.model,
            token=f"{MARK}-{uuid.uuid4().hex}",
        )
        self._budget.hold(batch.id, lines)
        self._begin(batch, self._clients.service(lease), is_doubtful=False)
        return True

    # Seeing a batch through

    def _adopt(self, batch: BatchRecord) -> None:
        """Go on with a batch of an earlier run, under the key that made it."""
        service = self._clients.owner(batch)
        if service is not None:
            self._begin(batch, service, is_doubtful=True)
        elif batch.stage is BatchStage.FORMED:  # nothing is ordered yet
            self._put_back(batch)
        else:
            logger.warning(
                "batch %d with %s belongs to the key %s, which is not there or is dropped: "
                "it cannot be looked after; add the key and run again",
                batch.id,
                counted(batch.lines, "call"),
                batch.key_name,
                extra={"action": "batch_without_key"},
            )

    def _put_back(self, batch: BatchRecord) -> None:
        self._lines.put_back(batch)
        self._tracker.dissolve(batch)

    def _begin(self, batch: BatchRecord, service: BatchService, *, is_doubtful: bool) -> None:
        self._tracker.enter(batch)
        task = self._loop.create_task(self._follow(batch, service, is_doubtful=is_doubtful))
        self._tasks.add(task)
        task.add_done_callback(self._over)

    async def _follow(
        self, batch: BatchRecord, service: BatchService, *, is_doubtful: bool
    ) -> None:
        try:
            if self._cancels and batch.stage is not BatchStage.COLLECTED:
                waiting = self._tracker.waiting
                found = await cancel_batch(self._store, batch, service, waiting)
                if found is None:
                    self._put_back(batch)
                    return
                batch = found
            batch = await self._tracker.see_through(batch, service, is_doubtful=is_doubtful)
            if batch.stage is BatchStage.COLLECTED:
                await self._tracker.tidy(batch, service)
        except (OutOfReach, ServiceRefusal, SendFault) as why:
            logger.warning(
                "batch %d cannot be looked after: %s; the next run comes back to it",
                batch.id,
                why,
                extra={"action": "batch_out_of_reach"},
            )

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()
        self.changed.set()
        if not task.cancelled() and task.exception() is not None:
            self._context.stop.close(task.exception() or RuntimeError())

    # LiveFallback

    def _on_live_answer(self) -> None:
        """A line that was sent live got its answer; called from another thread."""
        self._call_up()
        self.changed.set()

    def _call_up(self) -> None:
        """Have the scheduler look what there is to do; called from other threads."""
        with contextlib.suppress(RuntimeError):  # it has stopped, which closes its loop
            self._loop.call_soon_threadsafe(self._wake.set)
