"""Send later, at half price: one thread forms batches and sees them through."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import threading
import uuid
from collections.abc import Coroutine
from random import Random
from typing import Any

from ..batches import BatchService, RemoteBatch, ServiceRefusal
from ..classify import DEAD_CODES, NOT_HERE_CODES
from ..clock import Clock
from ..errors import ConfigError, ToolkitError
from ..files import private_folder
from ..journal import Journal
from ..journal.batch_rows import BatchRecord, Queued, Stage, Standing
from ..keys import APIKeyManager
from ..records import Lease, Need, Outcome, OutcomeKind
from ..scope import Scope
from ..transport import SendFault, new_event_loop
from ..transport.http import HttpTransport
from .allowance import Allowance
from .collect import Collector
from .options import BatchOptions
from .purse import Purse
from .stragglers import Stragglers
from .submit import MARK, NotMade, Submitter

logger = logging.getLogger(__name__)

#: How often to look whether enough has gathered for a batch.
_LOOK_S = 1.0
#: A line's frame in its file: id, method and URL.
_FRAME_BYTES = 160
#: What providers say when a batch is one too many for the tokens that may wait.
_TOO_MANY = frozenset({"token_limit_exceeded", "TokenLimitExceeded"})
#: What they say when it is the key that cannot have the batch.
_KINDS_OF_CODES = {
    **dict.fromkeys(DEAD_CODES, OutcomeKind.KEY_DEAD),
    **dict.fromkeys(NOT_HERE_CODES, OutcomeKind.NOT_HERE),
}


class BatchLane:
    """Carries the calls of suspended files through the Batch API.

    Everything but `start`, `flush`, `standing`, `words` and `close` happens on its own thread.
    A key owns its batches: each is followed under the key that made it.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        keys: APIKeyManager,
        scope: Scope,
        options: BatchOptions,
        folder: str,
        clock: Clock,
        stragglers: Stragglers | None = None,
        cancels: bool = False,
        chance: Random | None = None,
    ) -> None:
        """Stand ready.

        Args:
            folder: for files on their way, private.
            stragglers: what sends such lines live; None: they go into further batches.
            cancels: cancel what earlier runs left, keep what it brought, and form nothing.
        """
        self._journal = journal
        self._book = journal.batches
        self._salt = journal.salt
        self._keys = keys
        self._scope = scope
        self._options = options
        self._clock = clock
        self._chance = chance or Random()
        self._stragglers = stragglers
        self._cancels = cancels
        self._purse = Purse(scope.budget)
        self._allowance = Allowance(keys.settings.api_keys)
        self._submitter = Submitter(
            self._book, private_folder(folder), window=options.window, chance=self._chance
        )
        self._collector = Collector(
            self._book,
            scope,
            self._purse,
            clock=clock,
            clean=keys.redactor.clean,
            policy=scope.policy,
        )
        self._transport = HttpTransport(proxy=keys.settings.proxy)
        self._tasks: set[asyncio.Task[None]] = set()
        #: Keys that have no Batch API for a model, by (key, model).
        self._without: set[tuple[str, str]] = set()
        #: How each batch under way stood when it was last looked at.
        self._seen: dict[int, RemoteBatch | None] = {}
        self._waiting = ""
        #: Something has come back or been given up; cleared by who looks for ready files.
        self.changed = threading.Event()
        self._is_gathering = True
        self._asked = 0
        self._settled = 0
        self._loop = new_event_loop()
        self._wake = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="batch-lane", daemon=True)

    # -- from other threads --------------------------------------------------------------------

    def start(self) -> None:
        """Begin, with the batches that earlier runs left."""
        self._thread.start()

    def gather(self) -> None:
        """Let only full batches leave: hooks run, and may ask for more."""
        self._is_gathering = True

    def flush(self) -> None:
        """Let what is queued leave now: nothing is to be added for the time being."""
        self._asked += 1
        self._is_gathering = False
        self._loop.call_soon_threadsafe(self._wake.set)

    def is_settled(self) -> bool:
        """Return whether all that was queued before the last `flush` has come to its end."""
        return self._settled >= self._asked

    def standing(self) -> Standing:
        """Return what waits, here and remotely."""
        return self._book.standing()

    def words(self) -> str:
        """Say what is waited for; "": nothing is."""
        seen = list(self._seen.values())
        known = [one for one in seen if one is not None]
        parts = []
        if seen:
            ended = sum(one.completed + one.failed for one in known)
            total = sum(one.total for one in known)
            parts.append(f"{len(seen)} batches at work, {ended:,} of {total:,} calls answered")
        if self._waiting:
            parts.append(self._waiting)
        return "; ".join(parts)

    def close(self, *, grace_s: float) -> None:
        """Stop; what runs remotely runs on. A request on its way gets `grace_s` seconds."""
        if not self._thread.ident:
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(timeout=grace_s)

    # -- the lane's thread ---------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._main_task = self._loop.create_task(self._main())
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._main_task)
        except BaseException as exc:  # noqa: BLE001 - told to the run, which stops
            self._scope.gate.close(exc)
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
        await self._transport.close()

    async def _main(self) -> None:
        for batch in self._book.open_batches():
            self._adopt(batch)
        while self._scope.gate.reason is None:
            self._wake.clear()
            asked = self._asked
            left = self._form_all(is_flush=not self._is_gathering)
            if not left and not self._tasks and not self._is_busy_live():
                self._settled = asked
                self.changed.set()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _LOOK_S)

    def _is_busy_live(self) -> bool:
        return self._stragglers is not None and self._stragglers.is_busy()

    # Forming

    def _form_all(self, *, is_flush: bool) -> bool:
        """Form what can leave; return whether anything is still queued."""
        if self._cancels:
            return False
        self._waiting = ""
        is_left = False
        if self._stragglers is not None:
            is_left = self._stragglers.send(self._came_live)
        for queued in self._book.queued(is_fresh=self._stragglers is not None):
            while self._form(queued, is_flush=is_flush):
                pass
        rest = self._book.queued(is_fresh=self._stragglers is not None)
        return is_left or bool(rest)

    def _form(self, queued: Queued, *, is_flush: bool) -> bool:
        """Form one batch of what is queued for a model; False: none can leave now."""
        options = self._options
        passes = [
            lease
            for lease in self._keys.passes(queued.model)
            if (lease.key_name, queued.model) not in self._without
        ]
        if not passes:
            self._scope.gate.close(self._nobody(queued.model))
            return False
        now_s = self._clock.now_s()
        lease, room = self._allowance.choose(passes, queued.model, now_s)
        lines = self._book.lines(
            queued.path,
            queued.model,
            options.max_lines,
            is_fresh=self._stragglers is not None,
        )
        size_bytes = tokens = count = 0
        for line in lines:
            size_bytes += line.size_bytes + _FRAME_BYTES
            tokens += line.tokens
            if count and size_bytes > options.max_bytes:
                break
            if tokens > room and (count or tokens <= self._most(lease, queued.model)):
                break
            count += 1
        is_full = count < len(lines) or len(lines) == options.max_lines
        is_old = bool(lines) and (self._clock.wall_s() - queued.oldest_wall_s >= options.max_age_s)
        if not count or not room:
            if lines:
                self._waiting = f"no room for more tokens in batches of {queued.model}"
            return False
        if not (is_full or is_flush or is_old):
            return False
        try:
            chosen = self._purse.affordable(lines[:count], queued.model)
        except ToolkitError as exc:
            self._scope.gate.close(exc)
            return False
        if not chosen:
            self._waiting = "max_cost: batches at work may give money back"
            return False
        batch = self._book.form(
            chosen,
            key_name=lease.key_name,
            fingerprint=self._keys.fingerprints(self._salt)[lease.key_name],
            path=queued.path,
            model=queued.model,
            token=f"{MARK}-{uuid.uuid4().hex}",
        )
        self._purse.hold(batch.id, chosen)
        self._begin(batch, lease, is_doubtful=False)
        return True

    def _most(self, lease: Lease, model: str) -> float:
        return self._allowance.most(lease.key_name, model)

    def _nobody(self, model: str) -> ToolkitError:
        if self._without:
            return ConfigError(
                f"no key has a Batch API for {model}: the server does not know the address or the "
                'model; use mode="live", or keys of a provider that has both',
                model=model,
            )
        ticket = self._keys.request(Need(model=model, tokens=0), lambda: None)
        ticket.withdraw(ConfigError())
        return ticket.error if isinstance(ticket.error, ToolkitError) else ConfigError()

    # Seeing a batch through

    def _adopt(self, batch: BatchRecord) -> None:
        """Go on with a batch of an earlier run, under the key that made it."""
        fingerprints = self._keys.fingerprints(self._salt)
        owners = [name for name, mark in fingerprints.items() if mark == batch.fingerprint]
        passes = {lease.key_name: lease for lease in self._keys.passes(batch.model)}
        lease = next((passes[name] for name in owners if name in passes), None)
        if lease is None:
            logger.warning(
                "batch %d with %d calls belongs to the key %s, which is not there or is dropped: "
                "it cannot be looked after; add the key and run again",
                batch.id,
                batch.lines,
                batch.key_name,
                extra={"action": "batch_without_key"},
            )
            return
        self._begin(batch, lease, is_doubtful=True)

    def _begin(self, batch: BatchRecord, lease: Lease, *, is_doubtful: bool) -> None:
        service = BatchService(self._transport, lease, clock=self._clock, chance=self._chance)
        if batch.stage is not Stage.COLLECTED:
            self._allowance.enter(batch)
            self._seen[batch.id] = None
        self._spawn(self._see_through(batch, service, is_doubtful), batch)

    def _spawn(self, work: Coroutine[Any, Any, None], batch: BatchRecord) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)

        def over(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if self._seen.pop(batch.id, False) is not False:
                self._allowance.leave(batch)
            self._wake.set()
            self.changed.set()
            if not task.cancelled() and task.exception() is not None:
                self._scope.gate.close(task.exception() or RuntimeError())

        task.add_done_callback(over)

    async def _see_through(
        self, batch: BatchRecord, service: BatchService, is_doubtful: bool
    ) -> None:
        try:
            if batch.remote_id is None:
                batch = await self._submit(batch, service, is_doubtful)
            if batch.stage is Stage.CREATED:
                if self._cancels:
                    await service.cancel(batch.remote_id or "")
                remote = await self._follow(batch, service)
                is_counted = not is_doubtful
                if not self._is_put_back(batch, remote, service, is_counted=is_counted):
                    path = self._submitter.path_of(batch, "result")
                    blame = await self._collector.collect(batch, remote, service, path)
                    if blame is not None:
                        self._blame(batch, service, blame)
                    elif remote.completed:
                        self._forgive(service.lease.key_name)
                self.changed.set()
                self._count_out(batch)
            await self._tidy(batch, service)
        except NotMade as refusal:
            await self._not_made(batch, service, refusal.outcome)
        except ServiceRefusal as refusal:
            self._out_of_reach(batch, service, refusal.outcome)
        except SendFault as fault:
            logger.warning(
                "batch %d cannot be looked after now (%s); it goes on remotely, and the next run "
                "comes back to it",
                batch.id,
                fault,
                extra={"action": "batch_unreachable"},
            )

    async def _submit(
        self, batch: BatchRecord, service: BatchService, is_doubtful: bool
    ) -> BatchRecord:
        if self._cancels:
            return await self._submitter.find(batch, service)
        batch = await self._submitter.submit(batch, service, is_doubtful=is_doubtful)
        if not is_doubtful:
            for _ in range(batch.lines):
                self._scope.tally.sent(service.lease)
        logger.info(
            "batch %d: %d calls to %s as %s",
            batch.id,
            batch.lines,
            batch.model,
            batch.remote_id,
            extra={"action": "batch_created"},
        )
        return batch

    async def _follow(self, batch: BatchRecord, service: BatchService) -> RemoteBatch:
        """Wait until a batch is over."""
        assert batch.remote_id is not None
        pause_s = self._options.poll_s
        while True:
            remote = await service.batch(batch.remote_id)
            self._seen[batch.id] = remote
            if remote.is_over:
                return remote
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, max(self._options.longest_poll_s, pause_s))

    def _is_put_back(
        self, batch: BatchRecord, remote: RemoteBatch, service: BatchService, *, is_counted: bool
    ) -> bool:
        """Queue its lines anew if the provider found that the key cannot have such a batch."""
        for issue in remote.errors:
            if issue.code in _TOO_MANY:
                self._one_too_many(batch, service, is_counted=is_counted)
                return True
            kind = _KINDS_OF_CODES.get(issue.code)
            if kind is not None:
                outcome = Outcome(kind=kind, code=issue.code, message=issue.message)
                self._blame(batch, service, outcome)
                self._collector.put_back(batch, service.lease, is_counted=is_counted)
                self._book.move_on(batch, Stage.COLLECTED)
                return True
        return False

    def _blame(self, batch: BatchRecord, service: BatchService, outcome: Outcome) -> None:
        """Let a key alone that is dead, or for the model that it does not have."""
        name = service.lease.key_name
        if outcome.kind is OutcomeKind.KEY_DEAD:
            self._keys.drop(name, outcome)
        elif outcome.kind is OutcomeKind.NOT_HERE:
            self._without.add((name, batch.model))

    def _forgive(self, name: str) -> None:
        """Take a key off trial that has brought answers, and forget that it was dropped."""
        if any(key.name == name and key.state == "on trial" for key in self._keys.status()):
            self._keys.restore(name)
            self._journal.key_restored(self._keys.fingerprints(self._salt)[name])

    def _one_too_many(self, batch: BatchRecord, service: BatchService, *, is_counted: bool) -> None:
        """The provider has no room for it: it goes again, in a smaller batch or later."""
        self._collector.put_back(batch, service.lease, is_counted=is_counted)
        self._book.move_on(batch, Stage.COLLECTED)
        self._count_out(batch)
        self._allowance.refused(batch, self._clock.now_s())

    def _count_out(self, batch: BatchRecord) -> None:
        if self._seen.pop(batch.id, False) is not False:
            self._allowance.leave(batch)

    async def _tidy(self, batch: BatchRecord, service: BatchService) -> None:
        """Delete what the batch has left at the provider, now that its answers are kept."""
        assert batch.remote_id is not None
        try:
            remote = await service.batch(batch.remote_id)
            for file_id in (batch.input_file_id, remote.output_file_id, remote.error_file_id):
                if file_id is not None:
                    await service.delete(file_id)
        except (ServiceRefusal, SendFault) as exc:
            logger.warning("files of batch %d could not be deleted: %s", batch.id, exc)
        self._submitter.clear(batch)
        self._book.move_on(batch, Stage.CLOSED)

    async def _not_made(self, batch: BatchRecord, service: BatchService, outcome: Outcome) -> None:
        """Draw the consequence of a refusal: for the key, the model or the lines."""
        if outcome.code in _TOO_MANY:
            self._one_too_many(batch, service, is_counted=False)
        elif outcome.kind in {OutcomeKind.KEY_DEAD, OutcomeKind.NOT_HERE, OutcomeKind.UNSENT}:
            self._blame(batch, service, outcome)
            self._collector.put_back(batch, service.lease, is_counted=False)
        else:
            self._collector.give_up(batch, outcome, service.lease)
        noted = self._submitter.as_noted(batch)
        if noted.input_file_id is not None:
            with contextlib.suppress(ServiceRefusal, SendFault):
                await service.delete(noted.input_file_id)
        self._submitter.clear(batch)
        self._book.move_on(batch, Stage.CLOSED)

    def _out_of_reach(self, batch: BatchRecord, service: BatchService, outcome: Outcome) -> None:
        """It is there, or may be, and its key cannot ask for it any more."""
        if outcome.kind is OutcomeKind.KEY_DEAD:
            self._keys.drop(service.lease.key_name, outcome)
        if outcome.kind is OutcomeKind.NOT_HERE and batch.remote_id is not None:
            lost = dataclasses.replace(outcome, kind=OutcomeKind.UNKNOWN)
            self._collector.give_up(batch, lost, service.lease)
            self._book.move_on(batch, Stage.CLOSED)
        else:
            logger.warning(
                "batch %d cannot be looked after: %s; the next run comes back to it",
                batch.id,
                outcome.message,
                extra={"action": "batch_out_of_reach"},
            )

    # Stragglers

    def _came_live(self) -> None:
        """A straggler got its answer; called from another thread."""
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._loop.call_soon_threadsafe(self._wake.set)
        self.changed.set()
