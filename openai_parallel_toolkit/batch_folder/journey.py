"""Lead one input through its stages, each durable before the next is begun.

    TAKEN ── check ── READY ── choose a key ── SENDING ── upload ── SENT ── create ── RUNNING
                        │                         (look first, when it may have happened)   │
                        └──────────── lines that are still open ──────────── COLLECTED ─────┘
                                                                                 │
    GONE ── delete what is left over ── PUBLISHED ── put into place ── SETTLED ──┘

A key that dies on the way back to SENT sends the input back to READY. An input that cannot be used
goes from any stage to SETTLED, with what was found.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import TypeVar

from ..batches import BatchService, RemoteBatch, RemoteFile, ServiceRefusal
from ..batches.check import Finding
from ..clock import Clock
from ..errors import NoUsableKey, ToolkitError
from ..files import storage_error
from ..records import Outcome, OutcomeKind
from ..transport import SendFault
from .desk import Desks
from .job import Job, Round, Stage
from .maker import OURS, Doubt, Maker, find_batch, find_file
from .pace import Backoff, Pace, Stop
from .paperwork import Paperwork
from .shelf import Shelf

logger = logging.getLogger(__name__)

_Made = TypeVar("_Made")
#: What Azure calls a file that it has not taken in yet.
_NOT_YET = {"pending", "running", "notRunning", "uploaded"}
#: About three hours at the usual pace.
_MOST_REFUSED = 20
_TOO_MUCH_ENQUEUED = "token_limit_exceeded"
_METADATA_CHARS = 512
_NAME_CHARS = 60
_FINAL = {OutcomeKind.REJECTED, OutcomeKind.NOT_HERE}
_TOO_LARGE = 413
_NOT_IMPORTED = (
    "Azure cannot read it from its storage, so it is sent from here; give the resource's managed "
    "identity the role Storage Blob Data Contributor"
)


class Journey:
    """One input's way; `job` is what is known of it, and on disk."""

    def __init__(
        self,
        job: Job,
        *,
        is_resumed: bool,
        shelf: Shelf,
        desks: Desks,
        maker: Maker,
        paperwork: Paperwork,
        pace: Pace,
        stop: Stop,
        clock: Clock,
        chance: Random,
        window: str,
    ) -> None:
        """`is_resumed`: an earlier process may have begun its next step."""
        self.job = job
        #: The batch as it was seen last; None: not seen yet.
        self.seen: RemoteBatch | None = None
        #: What it waits for, in words; "": for nothing but its batch.
        self.waits = ""
        self._doubt = Doubt(is_resumed)
        self._shelf = shelf
        self._desks = desks
        self._maker = maker
        self._paperwork = paperwork
        self._pace = pace
        self._stop = stop
        self._clock = clock
        self._limits = Backoff(pace.first_limit_s, pace.longest_limit_s, chance)
        self._polls = Backoff(pace.first_poll_s, pace.longest_poll_s, chance)
        self._chance = chance
        self._window = window
        self._steps: dict[Stage, Callable[[Job], Awaitable[Job]]] = {
            Stage.TAKEN: self._check,
            Stage.READY: self._choose,
            Stage.SENDING: self._send,
            Stage.SENT: self._create,
            Stage.RUNNING: self._watch,
            Stage.COLLECTED: self._judge,
            Stage.SETTLED: self._publish,
            Stage.PUBLISHED: self._clean,
        }

    async def go(self) -> None:
        """Go on to the end.

        Raises:
            ToolkitError: it cannot go on now; a later run can.
            RunStopping: the run is to stop.
        """
        counted = self._count_load(None)
        try:
            while self.job.stage is not Stage.GONE:
                self.job = await self._step(self.job)
                counted = self._count_load(counted)
                if self.job.stage is not Stage.GONE:
                    await in_thread(self._shelf.save, self.job)
                    self._doubt = Doubt(is_open=False)
        finally:
            if counted is not None:
                self._desks.count(counted, -1)

    def _count_load(self, counted: str | None) -> str | None:
        name = self.job.last.key_name if self.job.rounds else None
        if name != counted:
            if counted is not None:
                self._desks.count(counted, -1)
            if name is not None:
                self._desks.count(name, +1)
        return name

    async def _step(self, job: Job) -> Job:
        try:
            return await self._steps[job.stage](job)
        except SendFault as fault:
            raise _held_up(job, str(fault)) from fault
        except ServiceRefusal as refusal:
            kind = refusal.outcome.kind
            if kind is OutcomeKind.KEY_DEAD:
                self._desks.give_up(job.last.key_name, refusal.outcome)
                return self._without_key(job)
            if kind not in _FINAL or job.stage is Stage.SENDING:
                raise _held_up(job, str(refusal)) from refusal
            return _failed(job, refusal.outcome)

    def _without_key(self, job: Job) -> Job:
        """Return a job whose key cannot be used to where it can take another key.

        Raises:
            NoUsableKey: something of it is, or may be, paid for under that key.
        """
        is_free = job.stage is Stage.SENDING or not self._doubt.is_open
        if job.stage in {Stage.SENDING, Stage.SENT} and is_free:
            return replace(job, rounds=job.rounds[:-1], stage=Stage.READY)
        name = job.last.key_name
        raise NoUsableKey(
            f"{job.path}: its batch belongs to {name}, which cannot be used now; restore that key, "
            "then run again",
            key_name=name,
        )

    def _desk(self, job: Job) -> BatchService | None:
        return self._desks.owner(job.last.fingerprint)

    # -- there ---------------------------------------------------------------------------------

    async def _check(self, job: Job) -> Job:
        return await in_thread(self._paperwork.check, job)

    async def _choose(self, job: Job) -> Job:
        self._stop.check()
        desk = self._desks.choose(job.model)
        fresh = Round(key_name=desk.lease.key_name, fingerprint=self._desks.fingerprint(desk))
        return replace(job, rounds=(*job.rounds, fresh), stage=Stage.SENDING)

    async def _send(self, job: Job) -> Job:
        desk = self._desk(job)
        if desk is None:
            return self._without_key(job)
        name = _remote_name(job)

        async def find() -> RemoteFile | None:
            return await find_file(desk, name)

        async def attempt() -> RemoteFile:
            url = self._paperwork.import_url(job, desk.lease)
            file = None if url is None else await _import(desk, name, url)
            if file is not None:
                return file
            return await desk.upload(name, await in_thread(self._paperwork.lines_path, job))

        try:
            file = await self._maker.make(attempt, find, self._doubt)
        except ServiceRefusal as refusal:
            if refusal.outcome.status != _TOO_LARGE:
                raise
            return _failed(job, refusal.outcome)
        return job.with_round(input_file_id=file.id).at(Stage.SENT)

    async def _create(self, job: Job) -> Job:
        desk = self._desk(job)
        if desk is None:
            return self._without_key(job)
        token, file_id = token_of(job), job.last.input_file_id or ""
        if not await self._is_taken_in(desk, file_id):
            return await self._send_instead(job, desk, file_id)

        async def find() -> RemoteBatch | None:
            return await find_batch(desk, token, file_id, since_wall_s=job.taken_wall_s)

        async def attempt() -> RemoteBatch:
            path = job.path.encode("utf-8", "replace").decode()
            told = {OURS: token, "input": path[-_METADATA_CHARS:]}
            return await desk.create(file_id, job.url, window=self._window, metadata=told)

        batch = await self._maker.make(attempt, find, self._doubt)
        return job.with_round(batch_id=batch.id).at(Stage.RUNNING)

    async def _is_taken_in(self, desk: BatchService, file_id: str) -> bool:
        """Wait until the service has read a file; False: it could not."""
        waits = Backoff(self._pace.first_poll_s, self._pace.longest_poll_s, self._chance)
        while (file := await desk.file(file_id)).status in _NOT_YET:
            await self._stop.pause(waits.next_s())
        return file.status != "error"

    async def _send_instead(self, job: Job, desk: BatchService, file_id: str) -> Job:
        """Go back to send an input that the service could not read from its storage."""
        await desk.delete(file_id)
        if self._paperwork.import_url(job, desk.lease) is None:
            told = "the service could not read the uploaded file"
            return _failed(job, Outcome(kind=OutcomeKind.REJECTED, code="file", message=told))
        logger.warning("%s: %s", job.path, _NOT_IMPORTED)
        job = replace(job, is_import_refused=True)
        return job.with_round(input_file_id=None).at(Stage.SENDING)

    # -- and back ------------------------------------------------------------------------------

    async def _watch(self, job: Job) -> Job:
        desk = self._desk(job)
        if desk is None:
            return self._without_key(job)
        batch = await desk.batch(job.last.batch_id or "")
        while not batch.is_over:
            self.seen = batch
            await self._stop.pause(self._polls.next_s())
            batch = await desk.batch(batch.id)
        self.seen = None
        if any(issue.code == _TOO_MUCH_ENQUEUED for issue in batch.errors):
            return await self._wait_for_room(job)
        for file_id, path in (
            (batch.output_file_id, self._paperwork.output_path(job)),
            (batch.error_file_id, self._paperwork.error_path(job)),
        ):
            if file_id is not None:
                await desk.download(file_id, path)
        findings = tuple(
            Finding(code=issue.code, message=issue.message, line=issue.line)
            for issue in batch.errors
        )
        job = replace(job, findings=findings, findings_count=len(findings))
        return job.with_round(
            status=batch.status,
            output_file_id=batch.output_file_id,
            error_file_id=batch.error_file_id,
            total=batch.total,
            completed=batch.completed,
            failed=batch.failed,
            created_wall_s=batch.created_wall_s,
            ended_wall_s=batch.ended_wall_s,
        ).at(Stage.COLLECTED)

    async def _wait_for_room(self, job: Job) -> Job:
        """Go back to create the batch again, once others are over.

        Raises:
            ToolkitError: it was refused too often.
        """
        if job.last.refused + 1 >= _MOST_REFUSED:
            raise _held_up(job, "too much is enqueued at the provider; split it if it stands alone")
        self.waits = "too much is enqueued at the provider"
        await self._stop.pause(self._limits.next_s())
        self.waits = ""
        return job.with_round(batch_id=None, refused=job.last.refused + 1).at(Stage.SENT)

    async def _judge(self, job: Job) -> Job:
        return await in_thread(self._paperwork.judge, job)

    async def _publish(self, job: Job) -> Job:
        await in_thread(self._paperwork.publish, job)
        return job.at(Stage.PUBLISHED)

    async def _clean(self, job: Job) -> Job:
        await in_thread(self._paperwork.take_input_away, job)
        for one in job.rounds:
            desk = self._desks.owner(one.fingerprint)
            for file_id in (one.input_file_id, one.output_file_id, one.error_file_id):
                if file_id is not None:
                    await self._delete(desk, one, file_id)
        await in_thread(self._shelf.forget, job)
        return job.at(Stage.GONE)

    async def _delete(self, desk: BatchService | None, one: Round, file_id: str) -> None:
        try:
            if desk is not None:
                await desk.delete(file_id)
                return
            why = "its key cannot be used"
        except (ServiceRefusal, SendFault) as exc:
            why = str(exc)
        logger.warning(
            "the remote file %s of key %s was not deleted: %s", file_id, one.key_name, why
        )


async def _import(desk: BatchService, name: str, url: str) -> RemoteFile | None:
    """Have the service read an input from its storage; None: it will not."""
    try:
        return await desk.import_file(name, url)
    except ServiceRefusal as refusal:
        if refusal.outcome.kind not in _FINAL:
            raise
        logger.warning("%s: %s (%s)", name, _NOT_IMPORTED, refusal)
        return None


async def in_thread(act: Callable[..., _Made], *arguments: object) -> _Made:
    """Do blocking work beside the loop.

    Raises:
        StorageError: the disk refused.
    """
    try:
        return await asyncio.to_thread(act, *arguments)
    except OSError as exc:
        raise storage_error(exc, str(exc.filename or "")) from exc


def token_of(job: Job) -> str:
    """Return what tells a job's next batch from all others."""
    return f"{job.id}-{len(job.rounds)}-{job.last.refused}"


def _remote_name(job: Job) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", os.path.splitext(os.path.basename(job.path))[0])
    return f"{job.id}-{len(job.rounds)}-{stem[:_NAME_CHARS]}.jsonl"


def _failed(job: Job, outcome: Outcome) -> Job:
    finding = Finding(code=outcome.code, message=outcome.message)
    return replace(job, findings=(finding,), findings_count=1, stage=Stage.SETTLED)


def _held_up(job: Job, why: str) -> ToolkitError:
    return ToolkitError(f"{job.path}: {why}; run again to go on with it")
