"""Bring a batch to the provider exactly once, whatever dies or is lost on the way.

What was done is noted after every step. After a crash, or after a reply that was lost, it is not
known whether the last step took effect: then the provider is asked first, by the batch's token,
which is part of the file's name and of the batch's metadata. As its list may be late, a batch is
looked for during a while before it is made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from random import Random

from ..core.checkpoint import checkpoint
from ..core.filesystem import storage_error
from ..core.records import Lease, Outcome, OutcomeKind, canonical_json
from ..core.text import counted
from ..journal.batch_rows import BatchRecord, Stage
from ..journal.batch_store import BatchStore
from ..transport import SendFault
from .service import (
    MARK,
    BatchService,
    RemoteBatch,
    ServiceRefusal,
    find_batch,
    line_url,
    look_until_listed,
    request_line,
)

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 60.0
#: What a file is called that cannot be used yet, and how often to look, seconds.
_NOT_YET = frozenset({"pending", "running"})
_LOOK_S = 1.0
_WORTH_REPEATING = {OutcomeKind.BUSY, OutcomeKind.UNSENT, OutcomeKind.UNKNOWN}


class NotMade(Exception):
    """The provider refused, and does not have the batch."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Submitter:
    """Uploads and creates batches; `folder` is where their files are written meanwhile."""

    def __init__(
        self,
        book: BatchStore,
        folder: str,
        *,
        window: str,
        listed_within_s: float,
        chance: Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._book = book
        self._folder = folder
        self._window = window
        self._listed_within_s = listed_within_s
        #: Tokens of batches that are looked for.
        self._sought: set[str] = set()
        self._chance = chance
        self._sleep = sleep

    def words(self) -> str:
        """Say what is looked for; "": nothing is."""
        if not self._sought:
            return ""
        what = counted(len(self._sought), "batch", "batches")
        return f"looking whether {what} of before were made, up to {self._listed_within_s:g} s"

    def path_of(self, batch: BatchRecord, what: str) -> str:
        """Return where a file of a batch lies on this machine."""
        return os.path.join(self._folder, f"{batch.token}.{what}.jsonl")

    def clear(self, batch: BatchRecord) -> None:
        """Remove the files of a batch from this machine."""
        for what in ("input", "result"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path_of(batch, what))

    async def submit(
        self, batch: BatchRecord, service: BatchService, *, is_doubtful: bool
    ) -> BatchRecord:
        """Return the batch as it is once the provider has it.

        Args:
            is_doubtful: an earlier process may have come further than it could note.

        Raises:
            NotMade: the provider does not want it.
            ServiceRefusal: it could not be found out whether the provider has it.
        """
        longest_s = 1.0
        while True:
            try:
                return await self._next_steps(batch, service, is_doubtful)
            except ServiceRefusal as refusal:
                if refusal.outcome.kind not in _WORTH_REPEATING:
                    raise
                trouble: Exception = refusal
            except SendFault as fault:
                trouble = fault
            if longest_s == 1.0:
                logger.warning("batch %d is not accepted yet (%s); trying again", batch.id, trouble)
            await self._sleep(_FIRST_PAUSE_S + self._chance.random() * longest_s)
            longest_s = min(2 * longest_s, _LONGEST_PAUSE_S)
            batch, is_doubtful = self.as_noted(batch), True

    async def _next_steps(
        self, batch: BatchRecord, service: BatchService, is_doubtful: bool
    ) -> BatchRecord:
        found = await self._search(batch, service) if is_doubtful else None
        if found is not None:
            return self._created(batch, found)
        try:
            return await self._make(batch, service, is_doubtful)
        except ServiceRefusal as refusal:
            if refusal.outcome.kind in _WORTH_REPEATING:
                raise
            raise NotMade(refusal.outcome) from refusal

    async def find(self, batch: BatchRecord, service: BatchService) -> BatchRecord:
        """Return a batch that an earlier process may have made, as the provider has it.

        Raises:
            NotMade: the provider does not have it.
        """
        found = await self._search(batch, service)
        if found is None:
            raise NotMade(Outcome(kind=OutcomeKind.UNSENT, code="not_made"))
        return self._created(batch, found)

    def _created(self, batch: BatchRecord, remote: RemoteBatch) -> BatchRecord:
        checkpoint("batch.create_answered")
        file_id, remote_id = remote.input_file_id, remote.id
        self._book.move_on(batch, Stage.CREATED, input_file_id=file_id, remote_id=remote_id)
        self.clear(batch)
        return dataclasses.replace(
            batch, stage=Stage.CREATED, input_file_id=file_id, remote_id=remote_id
        )

    async def _search(self, batch: BatchRecord, service: BatchService) -> RemoteBatch | None:
        """Look for a batch that may have been made: for a while, if there was a file for it."""

        async def look() -> RemoteBatch | None:
            return await find_batch(
                service, batch.token, batch.input_file_id, since_wall_s=batch.formed_wall_s
            )

        within_s = 0.0 if batch.input_file_id is None else self._listed_within_s
        self._sought.add(batch.token)
        try:
            found = await look_until_listed(look, within_s=within_s, pause=self._sleep)
        finally:
            self._sought.discard(batch.token)
        if found is not None:
            logger.info("batch %d is there already: %s", batch.id, found.id)
        return found

    async def _make(
        self, batch: BatchRecord, service: BatchService, is_doubtful: bool
    ) -> BatchRecord:
        file_id = await self._upload(batch, service, is_doubtful)
        try:
            await self._until_processed(file_id, service)
        except asyncio.CancelledError:
            self._book.move_on(batch, Stage.FORMED)  # nobody has asked for it yet
            raise
        order = asyncio.ensure_future(self._order(batch, service, file_id))
        try:
            return await asyncio.shield(order)
        except asyncio.CancelledError:
            # It may be paid for, so what comes of it is noted before this ends.
            try:
                await order
            except ServiceRefusal as refusal:
                if refusal.outcome.kind not in _WORTH_REPEATING:
                    raise
            except SendFault as fault:
                logger.debug("batch %d is in doubt: %s", batch.id, fault)
            raise

    async def _order(self, batch: BatchRecord, service: BatchService, file_id: str) -> BatchRecord:
        url = line_url(service.lease, batch.path)
        metadata = {MARK: batch.token}
        made = await service.create(file_id, url, window=self._window, metadata=metadata)
        return self._created(batch, made)

    async def _upload(self, batch: BatchRecord, service: BatchService, is_doubtful: bool) -> str:
        name = f"{batch.token}.jsonl"
        twins = [f for f in await service.files() if f.name == name] if is_doubtful else []
        if twins:
            file_id = twins[0].id
        else:
            path = self.path_of(batch, "input")
            await asyncio.to_thread(_write, path, self._lines(batch, service.lease))
            checkpoint("batch.uploading")
            file_id = (await service.upload(name, path)).id
        checkpoint("batch.upload_answered")
        self._book.move_on(batch, Stage.UPLOADED, input_file_id=file_id)
        return file_id

    async def _until_processed(self, file_id: str, service: BatchService) -> None:
        """Wait until a file may be used: Azure looks through it first."""
        while (await service.file(file_id)).status in _NOT_YET:
            await self._sleep(_LOOK_S)

    def _lines(self, batch: BatchRecord, lease: Lease) -> Iterable[bytes]:
        url = line_url(lease, batch.path)
        deployment = lease.azure_deployment
        for attempt_id, body in self._book.bodies(batch):
            named = body
            if deployment is not None and deployment != batch.model:
                named = canonical_json({**json.loads(body), "model": deployment})
            yield request_line(custom_id(attempt_id), url, named)

    def as_noted(self, batch: BatchRecord) -> BatchRecord:
        """Return a batch as the journal has it."""
        return next(one for one in self._book.open_batches() if one.id == batch.id)


def custom_id(attempt_id: int) -> str:
    """Return what a line is called in its batch."""
    return f"attempt-{attempt_id}"


def attempt_of(custom_id: str) -> int | None:
    """Return the attempt that a line stands for; None: it is none of ours."""
    head, _, number = custom_id.partition("-")
    return int(number) if head == "attempt" and number.isdecimal() else None


def _write(path: str, lines: Iterable[bytes]) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            checkpoint("batch.writing")
            file.writelines(lines)
    except OSError as exc:
        raise storage_error(exc, path) from exc
