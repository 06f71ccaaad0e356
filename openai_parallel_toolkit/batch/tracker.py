"""See a batch through: to its provider, until it is over, and what it brought to where it belongs.

    FORMED ── upload ── UPLOADED ── create ── CREATED ── take in ── COLLECTED ── tidy ── CLOSED

Each stage is durable before the next step is begun. A batch that was refused as a whole is CLOSED.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from ..core.checkpoint import checkpoint
from ..core.logs import logger_of
from ..core.records import Outcome, OutcomeKind
from ..core.redaction import safe_words
from ..core.text import counted
from ..journal import Journal
from ..journal.batch_rows import BatchRecord, BatchStage
from ..keys import APIKeyManager
from ..transport import SendFault
from .judgement import OF_THE_KEY, PASSING, BatchEnd, ended_batch, refused_batch
from .key_clients import KeyClients
from .options import Waiting
from .service import BatchService, RemoteBatch, ServiceRefusal
from .submit import Door, NotMade, Submitter
from .token_quota import EnqueuedTokenQuota

logger = logger_of(__name__)

#: What is kept of a batch as it stood at its end.
_KEPT = (
    *("status", "output_file_id", "error_file_id", "total", "completed", "failed"),
    *("created_wall_s", "ended_wall_s"),
)
_LONGEST_STATUS = 100
#: Status of a batch that its provider does not have any more; it may be billed.
VANISHED = "vanished"


class OutOfReach(Exception):
    """A batch is there, or may be, and cannot be looked after now; a later run comes back to it."""


class BatchTracker:
    """Sees batches through, each under the key that owns it; belongs to one event loop."""

    def __init__(
        self,
        journal: Journal,
        keys: APIKeyManager,
        door: Door,
        *,
        window: str,
        waiting: Waiting,
    ) -> None:
        """Prepare; `window` is the time that the provider may take for a batch."""
        self.store = journal.batches
        self.waiting = waiting
        self.clients = KeyClients(journal, keys, waiting)
        self.quota = EnqueuedTokenQuota(
            keys.settings.api_keys,
            pause_s=waiting.patience.first_limit_s,
            longest_pause_s=waiting.patience.longest_limit_s,
        )
        self._submitter = Submitter(self.store, door, window, waiting)
        self._door = door
        self._patience, self._clock = waiting.patience, waiting.clock
        self._clean = keys.redactor.clean
        #: How each batch under way stood when it was last looked at, by its id.
        self.seen: dict[int, RemoteBatch | None] = {}
        #: Why batches cannot be looked at, by their ids.
        self._away: dict[int, str] = {}

    # -- what is shown -------------------------------------------------------------------------

    def words(self) -> str:
        """Say what is at work, and why it waits; "": nothing is."""
        seen = list(self.seen.values())
        known = [one for one in seen if one is not None]
        ended = sum(one.completed + one.failed for one in known)
        total = sum(one.total for one in known)
        what = f"{counted(len(seen), 'batch', 'batches')} at work" if seen else ""
        if total:
            what += f", {ended:,} of {counted(total, 'call')} answered"
        return "; ".join(filter(None, (self.waits, what)))

    @property
    def waits(self) -> str:
        """What is waited for besides batches at work; "": nothing is."""
        waits = (*self._submitter.waits.values(), self.clients.waits, *self._away.values())
        return next(filter(None, waits), "")

    # -- one batch -----------------------------------------------------------------------------

    def enter(self, batch: BatchRecord) -> None:
        """Count a batch that is about to be seen through."""
        if batch.stage in {BatchStage.FORMED, BatchStage.UPLOADED, BatchStage.CREATED}:
            self.quota.enter(batch)
            self.seen[batch.id] = None

    async def see_through(
        self, batch: BatchRecord, service: BatchService, *, is_doubtful: bool
    ) -> BatchRecord:
        """Follow a batch, which was entered, until it is COLLECTED or CLOSED, and return it so.

        Args:
            is_doubtful: an earlier process may have brought it further than is noted.

        Raises:
            OutOfReach: it cannot be followed now.
        """
        try:
            if batch.stage in {BatchStage.FORMED, BatchStage.UPLOADED}:
                batch = await self._submit(batch, service, is_doubtful=is_doubtful)
            if batch.stage is BatchStage.CREATED:
                batch = await self._wait_and_collect(batch, service)
        except NotMade as refusal:
            batch = self.store.reload(batch)
            end = refused_batch(refusal.outcome)
            return await self._end(batch, end, service, is_made=False)
        except ServiceRefusal as refusal:
            if refusal.outcome.kind is OutcomeKind.KEY_DEAD:
                self.clients.blame(service.lease.key_name, batch.model, refusal.outcome)
            raise OutOfReach(str(refusal)) from refusal
        except SendFault as fault:
            raise OutOfReach(str(fault)) from fault
        finally:
            self._count_out(batch)
        return batch

    def _count_out(self, batch: BatchRecord) -> None:
        if self.seen.pop(batch.id, False) is not False:
            self.quota.leave(batch)
        self._away.pop(batch.id, None)

    async def _submit(
        self, batch: BatchRecord, service: BatchService, *, is_doubtful: bool
    ) -> BatchRecord:
        batch = await self._submitter.submit(batch, service, is_doubtful=is_doubtful)
        if not is_doubtful:
            self._door.sent(batch, service.lease)
        logger.info(
            "batch %d: %s to %s as %s",
            batch.id,
            counted(batch.lines, "call"),
            batch.model,
            batch.remote_id,
            extra={"action": "batch_created"},
        )
        return batch

    async def _wait_and_collect(self, batch: BatchRecord, service: BatchService) -> BatchRecord:
        """Wait until a batch is over and take in what it brought, however long it takes."""
        looks, is_told = 0, False
        while True:
            try:
                remote = await service.batch(batch.remote_id or "")
                self.seen[batch.id] = remote
                self._away.pop(batch.id, None)
                checkpoint("batch.polled")
                if remote.is_over:
                    checkpoint("batch.over")
                    return await self._take_in(batch, await service.whole_batch(remote), service)
            except (SendFault, ServiceRefusal) as trouble:
                if isinstance(trouble, ServiceRefusal):
                    if trouble.outcome.kind is OutcomeKind.NOT_HERE:
                        return await self._vanished(batch, service, trouble.outcome)
                    if trouble.outcome.kind not in PASSING:
                        raise
                self._away[batch.id] = service.waits_until(trouble, None)
                if not is_told:
                    logger.warning(
                        "batch %d cannot be asked for (%s); it goes on remotely, and is asked for "
                        "again",
                        batch.id,
                        trouble,
                        extra={"action": "batch_unreachable"},
                    )
                is_told = True
            first_s, longest_s = self._patience.first_poll_s, self._patience.longest_poll_s
            pause_s = min(max(longest_s, first_s), first_s * 1.5 ** min(looks, 50))
            await self.waiting.pause(pause_s * (0.8 + 0.2 * self.waiting.chance.random()))
            looks += 1

    async def _vanished(
        self, batch: BatchRecord, service: BatchService, outcome: Outcome
    ) -> BatchRecord:
        """End a batch that the provider does not have any more, and which may be billed whole."""
        lost = replace(outcome, kind=OutcomeKind.UNKNOWN)
        batch = replace(batch, told=replace(batch.told, status=VANISHED))
        return await self._end(batch, BatchEnd(rest=lost, is_last=True), service, is_made=True)

    async def _take_in(
        self, batch: BatchRecord, remote: RemoteBatch, service: BatchService
    ) -> BatchRecord:
        paths = []
        ids = (remote.output_file_id, remote.error_file_id)
        for file_id, path in zip(ids, self._door.result_paths(batch), strict=True):
            if file_id is not None:
                await service.download(file_id, path)
                checkpoint("batch.downloaded")
                paths.append(path)
        answers = await asyncio.to_thread(self._door.count_answers, batch, paths)
        end = ended_batch(remote, answers, clean=self._clean)
        told = {name: getattr(remote, name) for name in _KEPT}
        told["status"] = safe_words(remote.status, self._clean, _LONGEST_STATUS)
        batch = replace(batch, told=replace(batch.told, **told))
        batch = await self._end(batch, end, service, is_made=True, paths=paths)
        if remote.completed and not batch.told.is_blamed:
            self.clients.forgive(service.lease.key_name)
        return batch

    async def _end(
        self,
        batch: BatchRecord,
        end: BatchEnd,
        service: BatchService,
        *,
        is_made: bool,
        paths: Sequence[str] = (),
    ) -> BatchRecord:
        """Take in what came of a batch, note it, and draw the consequences for its key."""
        is_full = end.blame is not None and end.blame.kind is OutcomeKind.BUSY
        is_alone = is_full and batch.lines == 1 and await _is_idle(service)
        blame = await self._door.take_in(batch, end, service.lease, paths) or end.blame
        checkpoint("batch.results_kept")
        told = replace(
            batch.told,
            rest=end.rest.kind.value,
            code=end.rest.code,
            message=end.rest.message,
            is_blamed=blame is not None,
        )
        batch = self.store.move_on(batch, BatchStage.COLLECTED, told=told)
        if blame is not None and blame.kind in OF_THE_KEY:
            self.clients.blame(service.lease.key_name, batch.model, blame)
        if is_full:
            self._count_out(batch)
            message = self._clean(end.rest.message)
            self.quota.refused(batch, self._clock.now_s(), message=message, is_alone=is_alone)
        elif end.rest.kind is OutcomeKind.BUSY and batch.told.status == "failed":
            self.quota.failed(batch, self._clock.now_s(), self._patience.first_poll_s)
        elif batch.told.completed:
            self.quota.taken(batch)
        return batch if is_made else await self.tidy(batch, service, level=logging.DEBUG)

    def dissolve(self, batch: BatchRecord) -> BatchRecord:
        """Close a batch of which nothing is ordered yet; its lines go again."""
        told = replace(batch.told, rest=OutcomeKind.UNSENT.value, is_blamed=True)
        return self._close(replace(batch, told=told))

    async def tidy(
        self, batch: BatchRecord, service: BatchService | None, *, level: int = logging.WARNING
    ) -> BatchRecord:
        """Close a batch whose results are safe, and delete what it has left at the provider."""
        told = batch.told
        for file_id in filter(None, (batch.input_file_id, told.output_file_id, told.error_file_id)):
            why: object = "its key cannot be used"
            try:
                if service is not None:
                    await service.delete(file_id)
                    continue
            except (ServiceRefusal, SendFault) as exc:
                why = exc
            said = (file_id, batch.key_name, why)
            logger.log(level, "the remote file %s of key %s was not deleted: %s", *said)
        return self._close(batch)

    def _close(self, batch: BatchRecord) -> BatchRecord:
        self._door.clear(batch)
        return self.store.move_on(batch, BatchStage.CLOSED)


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
