"""Bring a batch to the provider exactly once, whatever dies or is lost on the way.

What was done is noted after every step. After a crash, or after a reply that was lost, it is not
known whether the last step took effect: then the provider is asked first, by the batch's token,
which is part of the file's name and of the batch's metadata. As its list may be late, a batch is
looked for during a while before it is made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..core.checkpoint import checkpoint
from ..core.clock import backoff_s
from ..core.records import Lease, Outcome, OutcomeKind
from ..journal.batch_rows import BatchRecord, BatchStage
from ..journal.batch_store import BatchStore
from ..transport import SendFault
from .judgement import PASSING, BatchEnd, blame_of
from .options import Waiting
from .service import (
    BAD_ID,
    MARK,
    BatchService,
    RemoteBatch,
    RemoteFile,
    ServiceRefusal,
    Trouble,
    asked_pause_s,
    line_url,
)

logger = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 60.0
#: From one look into the list to the next, at first.
_FIRST_LOOK_S = 1.0
#: Clocks differ; a batch may seem older than what made it.
_CLOCK_SLACK_S = 86_400.0
#: What a file is called that cannot be used yet.
_NOT_YET = frozenset({"pending", "running", "notRunning"})
#: How often a file is sent that the service loses again.
_MOST_UPLOADS = 2
NOT_IMPORTED = (
    "Azure cannot read it from its storage, so it is sent from here; give the resource's managed "
    "identity the role Storage Blob Data Contributor"
)


class NotMade(Exception):
    """The provider refused, and does not have the batch."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Door(ABC):
    """Where batches' lines come from, and where what comes of them goes."""

    @abstractmethod
    def lines_path(self, batch: BatchRecord, lease: Lease) -> str:
        """Return the file of a batch's lines; blocking."""

    def import_url(self, batch: BatchRecord, lease: Lease) -> str | None:
        """Return where the service can read that file by itself; None: it has to be sent."""
        del batch, lease
        return None

    def cannot_import(self, batch: BatchRecord) -> None:  # noqa: B027
        """Note that the service could not."""

    def metadata(self, batch: BatchRecord) -> Mapping[str, str]:
        """Return what is kept with a batch besides its token."""
        del batch
        return {}

    def sent(self, batch: BatchRecord, lease: Lease) -> None:  # noqa: B027
        """Count the lines of a batch that was just made."""

    @abstractmethod
    def result_paths(self, batch: BatchRecord) -> tuple[str, str]:
        """Return where the answers and the errors of a batch are put on this machine."""

    @abstractmethod
    def count_answers(self, batch: BatchRecord, paths: Sequence[str]) -> int:
        """Return how many lines of results were answered; blocking."""

    @abstractmethod
    async def take_in(
        self, batch: BatchRecord, end: BatchEnd, lease: Lease, paths: Sequence[str]
    ) -> Outcome | None:
        """Keep what a batch brought, and end the lines of which its results say nothing.

        Args:
            paths: files of results; none where there are no results.

        Returns what a line was told that speaks against the batch's key; None: nothing.
        """

    def clear(self, batch: BatchRecord) -> None:  # noqa: B027
        """Remove what lies on this machine for a batch that is closed."""


@dataclass(eq=False)
class Submitter:
    """Uploads and creates batches."""

    store: BatchStore
    lines: Door
    #: The time that the provider may take for a batch.
    window: str
    waiting: Waiting
    #: What each batch on its way waits for, in words, by its id.
    waits: dict[int, str] = field(default_factory=dict)

    async def submit(
        self, batch: BatchRecord, service: BatchService, *, is_doubtful: bool
    ) -> BatchRecord:
        """Return the batch as it is once the provider has it.

        Args:
            is_doubtful: an earlier process may have come further than it could note.

        Raises:
            NotMade: the provider does not want it.
            ServiceRefusal, SendFault: it was busy or away for too long, or could not tell whether
                it has the batch.
        """
        since_s, failures, uploads = self.waiting.clock.now_s(), 0, 0
        patience = self.waiting.patience
        limit_s = patience.patience_s if patience.gives_up else None
        while True:
            try:
                return await self._next_steps(batch, service, is_doubtful)
            except (ServiceRefusal, SendFault) as exc:
                batch = self.store.reload(batch)
                is_lost = _lost_file(exc, batch)
                uploads += is_lost
                if uploads == _MOST_UPLOADS or not (is_lost or _is_passing(exc)):
                    raise
                trouble = exc
            failures += 1
            spent_s = self.waiting.clock.now_s() - since_s
            pause_s = asked_pause_s(trouble) or self._pause_s(failures)
            if limit_s is not None and spent_s + pause_s > limit_s:
                raise trouble
            if failures == 1:
                logger.warning("batch %d is not accepted yet (%s); trying again", batch.id, trouble)
            self.waits[batch.id] = service.waits_until(
                trouble, None if limit_s is None else limit_s - spent_s
            )
            try:
                await self.waiting.pause(pause_s)
            finally:
                del self.waits[batch.id]
            is_doubtful = not is_lost and (is_doubtful or _may_have_happened(trouble))
            if is_lost:
                batch = self.store.move_on(batch, BatchStage.FORMED, input_file_id=None)

    def _pause_s(self, failures: int) -> float:
        cap_s, first_s = _LONGEST_PAUSE_S, min(2.0, self.waiting.patience.first_poll_s)
        chance = self.waiting.chance.random()
        return first_s + backoff_s(failures, chance, base_s=first_s, cap_s=cap_s)

    async def _next_steps(
        self, batch: BatchRecord, service: BatchService, is_doubtful: bool
    ) -> BatchRecord:
        found = await self._find(batch, service) if is_doubtful else None
        if found is not None:
            return found
        try:
            return await self._make(batch, service, is_doubtful)
        except ServiceRefusal as refusal:
            is_last = refusal.outcome.kind not in PASSING or refusal.outcome.code == BAD_ID
            if not _lost_file(refusal, self.store.reload(batch)) and (
                is_last or blame_of(refusal.outcome) is not None
            ):
                raise NotMade(refusal.outcome) from refusal
            raise

    async def _find(self, batch: BatchRecord, service: BatchService) -> BatchRecord | None:
        within_s = self.waiting.patience.listed_within_s
        self.waits[batch.id] = f"looking whether its batch was made before, up to {within_s:g} s"
        try:
            return await find_made(self.store, batch, service, self.waiting)
        finally:
            del self.waits[batch.id]

    async def _make(
        self, batch: BatchRecord, service: BatchService, is_doubtful: bool
    ) -> BatchRecord:
        file = await self._upload(batch, service, is_doubtful)
        checkpoint("batch.upload_answered")
        batch = self.store.move_on(batch, BatchStage.UPLOADED, input_file_id=file.id)
        try:
            is_usable = await self._is_processed(batch, service)
        except asyncio.CancelledError:
            self.store.move_on(batch, BatchStage.FORMED)  # nobody has asked for it yet
            raise
        if not is_usable:
            return await self._make(await self._not_read(batch, service), service, False)
        creation = asyncio.ensure_future(self._create(batch, service))
        try:
            return await asyncio.shield(creation)
        except asyncio.CancelledError:
            # It may be paid for, so what comes of it is noted before this ends.
            try:
                await creation
            except (ServiceRefusal, SendFault) as exc:
                logger.debug("batch %d is in doubt: %s", batch.id, exc)
            raise

    async def _create(self, batch: BatchRecord, service: BatchService) -> BatchRecord:
        made = await service.create(
            batch.input_file_id or "",
            line_url(service.lease, batch.path),
            window=self.window,
            metadata={MARK: batch.token, **self.lines.metadata(batch)},
        )
        return note_created(self.store, batch, made)

    async def _upload(
        self, batch: BatchRecord, service: BatchService, is_doubtful: bool
    ) -> RemoteFile:
        name = f"{batch.token}.jsonl"
        for file in await service.files() if is_doubtful else ():
            if file.name == name and file.status != "error":
                return file
        url = self.lines.import_url(batch, service.lease)
        if url is not None:
            try:
                return await service.import_file(name, url)
            except ServiceRefusal as refusal:
                if refusal.outcome.kind not in {OutcomeKind.REJECTED, OutcomeKind.NOT_HERE}:
                    raise
                logger.warning("%s: %s (%s)", name, NOT_IMPORTED, refusal)
                self.lines.cannot_import(batch)
        path = await asyncio.to_thread(self.lines.lines_path, batch, service.lease)
        checkpoint("batch.uploading")
        return await service.upload(name, path)

    async def _is_processed(self, batch: BatchRecord, service: BatchService) -> bool:
        """Wait until a file may be used, which Azure looks through first; False: it cannot be."""
        looks = 0
        self.waits[batch.id] = "the service reads the file"
        try:
            while (file := await service.file(batch.input_file_id or "")).status in _NOT_YET:
                looks += 1
                await self.waiting.pause(min(self.waiting.patience.longest_poll_s, 0.5 * looks))
        except ServiceRefusal as refusal:
            if refusal.outcome.kind is not OutcomeKind.NOT_HERE:
                raise
            return True  # the one that shall make a batch of it knows better
        finally:
            del self.waits[batch.id]
        return file.status != "error"

    async def _not_read(self, batch: BatchRecord, service: BatchService) -> BatchRecord:
        """Go back to send a file that the service could not read from its storage.

        Raises:
            NotMade: it was sent.
        """
        await service.delete(batch.input_file_id or "")
        if self.lines.import_url(batch, service.lease) is None:
            told = "the service could not read the uploaded file"
            raise NotMade(Outcome(kind=OutcomeKind.REJECTED, code="file", message=told))
        logger.warning("%s: %s", batch.token, NOT_IMPORTED)
        self.lines.cannot_import(batch)
        return self.store.move_on(batch, BatchStage.FORMED, input_file_id=None)


async def find_made(
    store: BatchStore, batch: BatchRecord, service: BatchService, waiting: Waiting
) -> BatchRecord | None:
    """Return a batch that may have been made, as the provider has it; None: it is not there.

    If there was a file for it, it is looked for again while it may not be listed yet.
    """
    left_s = 0.0 if batch.input_file_id is None else waiting.patience.listed_within_s
    pause_s = _FIRST_LOOK_S
    while (found := await _listed(batch, service)) is None and left_s > 0:
        pause_s = min(pause_s, left_s)
        await waiting.pause(pause_s)
        left_s -= pause_s
        pause_s *= 2
    if found is None:
        return None
    logger.info("batch %d is there already: %s", batch.id, found.id)
    return note_created(store, batch, found)


async def _listed(batch: BatchRecord, service: BatchService) -> RemoteBatch | None:
    """Return the batch that carries a batch's token; None: none is listed.

    Where the service keeps no metadata, it is known by its file, unless it has failed.
    """
    async with contextlib.aclosing(service.batches()) as batches:
        async for remote in batches:
            if 0 < remote.created_wall_s < batch.formed_wall_s - _CLOCK_SLACK_S:
                return None
            if remote.metadata.get(MARK) == batch.token:
                return remote
            is_nameless = MARK not in remote.metadata and remote.status != "failed"
            if is_nameless and remote.input_file_id == batch.input_file_id:
                return remote
    return None


def note_created(store: BatchStore, batch: BatchRecord, remote: RemoteBatch) -> BatchRecord:
    """Note that the provider has a batch, and return it so."""
    checkpoint("batch.create_answered")
    file_id = remote.input_file_id or batch.input_file_id
    return store.move_on(batch, BatchStage.CREATED, remote_id=remote.id, input_file_id=file_id)


def _lost_file(trouble: Trouble, batch: BatchRecord) -> bool:
    """Return whether the service says that it does not have a file that it took."""
    file_id = batch.input_file_id
    return file_id is not None and isinstance(trouble, ServiceRefusal) and trouble.misses(file_id)


def _is_passing(trouble: Trouble) -> bool:
    return isinstance(trouble, SendFault) or trouble.outcome.kind in PASSING


def _may_have_happened(trouble: Trouble) -> bool:
    if isinstance(trouble, SendFault):
        return trouble.kind == "unknown"
    return not trouble.outcome.is_limit
