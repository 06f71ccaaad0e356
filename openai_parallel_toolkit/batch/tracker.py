"""See a batch through: to its provider, until it is over, and its answers into the journal."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable

from ..calls.classify import DEAD_CODES, NOT_HERE_CODES
from ..calls.run_context import RunContext
from ..core.checkpoint import checkpoint
from ..core.clock import Clock
from ..core.records import Outcome, OutcomeKind
from ..core.text import counted
from ..journal import Journal
from ..journal.batch_rows import BatchRecord, Stage
from ..keys import APIKeyManager
from ..transport import SendFault
from .collect import Collector
from .options import BatchOptions
from .service import BatchService, RemoteBatch, ServiceRefusal
from .submit import NotMade, Submitter
from .token_quota import EnqueuedTokenQuota

logger = logging.getLogger(__name__)

#: What providers say when a batch is one too many for the tokens that may wait.
_TOO_MANY = frozenset({"token_limit_exceeded", "TokenLimitExceeded"})
#: What they say when it is the key that cannot have the batch.
_KINDS_OF_CODES = {
    **dict.fromkeys(DEAD_CODES, OutcomeKind.KEY_DEAD),
    **dict.fromkeys(NOT_HERE_CODES, OutcomeKind.NOT_HERE),
}
#: Failures of a service that pass.
_PASSING = frozenset({OutcomeKind.BUSY, OutcomeKind.UNSENT, OutcomeKind.UNKNOWN})


class BatchTracker:
    """Sees batches through, each under the key that owns it."""

    def __init__(
        self,
        *,
        journal: Journal,
        keys: APIKeyManager,
        context: RunContext,
        submitter: Submitter,
        collector: Collector,
        allowance: EnqueuedTokenQuota,
        avoid: Callable[[str, str], None],
        options: BatchOptions,
        clock: Clock,
        cancels: bool,
    ) -> None:
        """Stand ready.

        Args:
            avoid: told of a key and a model for which it has no Batch API.
            cancels: batches are cancelled, and none is made.
        """
        self._journal = journal
        self._book = journal.batches
        self._keys = keys
        self._context = context
        self._submitter = submitter
        self._collector = collector
        self._allowance = allowance
        self._avoid = avoid
        self._options = options
        self._clock = clock
        self._cancels = cancels
        #: How each batch under way stood when it was last looked at.
        self._seen: dict[int, RemoteBatch | None] = {}

    def enter(self, batch: BatchRecord) -> None:
        """Count a batch that is about to be seen through."""
        if batch.stage is not Stage.COLLECTED:
            self._allowance.enter(batch)
            self._seen[batch.id] = None

    def dissolve(self, batch: BatchRecord) -> None:
        """Queue the lines of a batch again whose file is not up, so that nothing is ordered yet."""
        self._collector.put_back(batch)
        self._submitter.clear(batch)
        self._book.move_on(batch, Stage.CLOSED)

    async def see_through(
        self, batch: BatchRecord, service: BatchService, *, is_doubtful: bool
    ) -> None:
        """Follow a batch, which was entered, to its end.

        Args:
            is_doubtful: an earlier process may have brought it further than is noted.
        """
        try:
            if batch.remote_id is None:
                batch = await self._submit(batch, service, is_doubtful)
            if batch.stage is Stage.CREATED:
                await self._wait_and_collect(batch, service, is_counted=not is_doubtful)
            self._count_out(batch)
            await self._tidy(batch, service)
        except NotMade as refusal:
            await self._not_made(batch, service, refusal.outcome)
        except ServiceRefusal as refusal:
            self._out_of_reach(batch, service, refusal.outcome)
        except SendFault as fault:
            self._leave(batch, str(fault))
        finally:
            self._count_out(batch)

    def words(self) -> str:
        """Say what is at work; "": nothing is."""
        sought = self._submitter.words()
        seen = list(self._seen.values())
        if sought or not seen:
            return sought
        known = [one for one in seen if one is not None]
        ended = sum(one.completed + one.failed for one in known)
        total = sum(one.total for one in known)
        what = f"{counted(len(seen), 'batch', 'batches')} at work"
        return f"{what}, {ended:,} of {counted(total, 'call')} answered" if total else what

    def _count_out(self, batch: BatchRecord) -> None:
        if self._seen.pop(batch.id, False) is not False:
            self._allowance.leave(batch)

    async def _submit(
        self, batch: BatchRecord, service: BatchService, is_doubtful: bool
    ) -> BatchRecord:
        if self._cancels:
            return await self._submitter.find(batch, service)
        batch = await self._submitter.submit(batch, service, is_doubtful=is_doubtful)
        if not is_doubtful:
            for _ in range(batch.lines):
                self._context.tally.sent(service.lease)
        logger.info(
            "batch %d: %s to %s as %s",
            batch.id,
            counted(batch.lines, "call"),
            batch.model,
            batch.remote_id,
            extra={"action": "batch_created"},
        )
        return batch

    async def _wait_and_collect(
        self, batch: BatchRecord, service: BatchService, *, is_counted: bool
    ) -> None:
        """Wait until a batch is over and take in what it brought, however long it takes."""
        assert batch.remote_id is not None
        if self._cancels:
            await service.cancel(batch.remote_id)
        pause_s, is_told = self._options.poll_s, False
        while True:
            try:
                remote = await service.batch(batch.remote_id)
                self._seen[batch.id] = remote
                checkpoint("batch.polled")
                if remote.is_over:
                    checkpoint("batch.over")
                    await self._take_in(batch, remote, service, is_counted=is_counted)
                    return
            except (SendFault, ServiceRefusal) as trouble:
                if isinstance(trouble, ServiceRefusal) and trouble.outcome.kind not in _PASSING:
                    raise
                if not is_told:
                    logger.warning(
                        "batch %d cannot be asked for (%s); it goes on remotely, and is asked for "
                        "again",
                        batch.id,
                        trouble,
                        extra={"action": "batch_unreachable"},
                    )
                is_told = True
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, max(self._options.longest_poll_s, pause_s))

    async def _take_in(
        self, batch: BatchRecord, remote: RemoteBatch, service: BatchService, *, is_counted: bool
    ) -> None:
        if await self._is_put_back(batch, remote, service, is_counted=is_counted):
            return
        path = self._submitter.path_of(batch, "result")
        blame = await self._collector.collect(batch, remote, service, path)
        if blame is not None:
            self._blame(batch, service, blame)
        elif remote.completed:
            self._forgive(service.lease.key_name)

    async def _is_put_back(
        self, batch: BatchRecord, remote: RemoteBatch, service: BatchService, *, is_counted: bool
    ) -> bool:
        """Queue its lines anew if the provider found that the key cannot have such a batch."""
        for issue in remote.errors:
            if issue.code in _TOO_MANY:
                await self._one_too_many(batch, service, issue.message, is_counted=is_counted)
                return True
            kind = _KINDS_OF_CODES.get(issue.code)
            if kind is not None:
                outcome = Outcome(kind=kind, code=issue.code, message=issue.message)
                self._blame(batch, service, outcome)
                self._collector.put_back(batch, service.lease if is_counted else None)
                self._book.move_on(batch, Stage.COLLECTED)
                return True
        return False

    async def _one_too_many(
        self, batch: BatchRecord, service: BatchService, told: str, *, is_counted: bool
    ) -> None:
        """The provider has no room for it: it goes again, in a smaller batch or later."""
        is_alone = batch.lines == 1 and await _is_idle(service)
        self._collector.put_back(batch, service.lease if is_counted else None)
        self._book.move_on(batch, Stage.COLLECTED)
        self._count_out(batch)
        message = self._keys.redactor.clean(told)
        self._allowance.refused(batch, self._clock.now_s(), message=message, is_alone=is_alone)

    def _blame(self, batch: BatchRecord, service: BatchService, outcome: Outcome) -> None:
        """Let a key alone that is dead, or for the model that it does not have."""
        name = service.lease.key_name
        if outcome.kind is OutcomeKind.KEY_DEAD:
            self._keys.drop(name, outcome)
        elif outcome.kind is OutcomeKind.NOT_HERE:
            self._avoid(name, batch.model)

    def _forgive(self, name: str) -> None:
        """Take a key off trial that has brought answers, and forget that it was dropped."""
        if any(key.name == name and key.state == "on trial" for key in self._keys.status()):
            self._keys.restore(name)
            self._journal.key_restored(self._keys.fingerprints(self._journal.salt)[name])

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
            await self._one_too_many(batch, service, outcome.message, is_counted=False)
        elif outcome.kind in {OutcomeKind.KEY_DEAD, OutcomeKind.NOT_HERE, OutcomeKind.UNSENT}:
            self._blame(batch, service, outcome)
            self._collector.put_back(batch)
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
            self._leave(batch, outcome.message)

    def _leave(self, batch: BatchRecord, why: str) -> None:
        logger.warning(
            "batch %d cannot be looked after: %s; the next run comes back to it",
            batch.id,
            why,
            extra={"action": "batch_out_of_reach"},
        )


async def _is_idle(service: BatchService) -> bool:
    """Return whether a key has no batch at work; False: it has, or that cannot be found out."""
    try:
        async for remote in service.batches():
            if not remote.is_over:
                return False
    except (ServiceRefusal, SendFault) as exc:
        logger.info("it cannot be found out which batches are at work: %s", exc)
        return False
    return True
