"""Lead one input through its stages, each durable before the next is begun.

    TAKEN ── check ── READY ── choose a key ── SENDING ── upload ── SENT ── create ── RUNNING
                        │                         (look first, when it may have happened)   │
                        └──────────── lines that are still open ──────────── COLLECTED ─────┘
                                                                                 │
    GONE ── delete what is left over ── PUBLISHED ── put into place ── SETTLED ──┘

A key that dies on the way back to SENT sends the input back to READY. An input that cannot be used
goes from any stage to COLLECTED, with what was found, and keeps the answers of earlier rounds.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from random import Random

from ...batch.service import (
    MARK,
    BatchService,
    RemoteBatch,
    RemoteFile,
    ServiceRefusal,
    find_batch,
    look_until_listed,
)
from ...batch.service.check import Finding
from ...core.errors import NoUsableKey, ToolkitError
from ...core.records import Outcome, OutcomeKind
from ...transport import SendFault
from .beside import in_thread
from .desk import Desks
from .job import Job, Round, Stage
from .maker import (
    FINAL,
    NOT_IMPORTED,
    Doubt,
    Maker,
    find_file,
    import_file,
    is_passing,
    remote_name,
    token_of,
)
from .pace import Backoff, Pace, Stop
from .paperwork import Paperwork
from .shelf import Shelf

logger = logging.getLogger(__name__)

#: What Azure calls a file that it has not taken in yet.
_NOT_YET = {"pending", "running", "notRunning"}
#: About three hours at the usual pace.
_MOST_REFUSED = 20
_TOO_MUCH_ENQUEUED = "token_limit_exceeded"
_METADATA_CHARS = 512
_TOO_LARGE = 413


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What all journeys of a run share."""

    shelf: Shelf
    desks: Desks
    maker: Maker
    paperwork: Paperwork
    pace: Pace
    stop: Stop
    chance: Random
    #: The time that the service may take for a batch.
    window: str


class Journey:
    """One input's way; `job` is what is known of it, and on disk."""

    def __init__(self, job: Job, tools: Tools, *, is_resumed: bool) -> None:
        """`is_resumed`: an earlier process may have begun its next step."""
        self.job = job
        #: The batch as it was seen last; None: not seen yet.
        self.seen: RemoteBatch | None = None
        #: What it waits for, in words; "": for nothing but its batch.
        self.waits = ""
        self._doubt = Doubt(is_resumed)
        self._shelf, self._desks = tools.shelf, tools.desks
        self._paperwork, self._maker = tools.paperwork, tools.maker
        self._pace, self._stop, self._window = tools.pace, tools.stop, tools.window
        self._limits = Backoff(tools.pace.first_limit_s, tools.pace.longest_limit_s, tools.chance)
        self._chance = tools.chance
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
            if kind not in FINAL or job.stage is Stage.SENDING:
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
        name = remote_name(job)

        async def find() -> RemoteFile | None:
            return await find_file(desk, name)

        async def attempt() -> RemoteFile:
            url = self._paperwork.import_url(job, desk.lease)
            file = None if url is None else await import_file(desk, name, url)
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

        async def look() -> RemoteBatch | None:
            return await find_batch(desk, token, file_id, since_wall_s=job.taken_wall_s)

        async def find() -> RemoteBatch | None:
            within_s, pause = self._pace.listed_within_s, self._stop.pause
            self.waits = f"looking whether its batch was made before, up to {within_s:g} s"
            found = await look_until_listed(look, within_s=within_s, pause=pause)
            self.waits = ""
            return found

        found = await find() if self._doubt.is_open else None
        if found is not None:
            return job.with_round(batch_id=found.id).at(Stage.RUNNING)
        self._doubt = Doubt(is_open=False)
        try:
            is_taken_in = await self._is_taken_in(desk, file_id)
        except ServiceRefusal as refusal:
            if refusal.outcome.kind is not OutcomeKind.NOT_HERE:
                raise
            return job.with_round(input_file_id=None).at(Stage.SENDING)  # it has expired
        if not is_taken_in:
            return await self._send_instead(job, desk, file_id)

        async def attempt() -> RemoteBatch:
            path = job.path.encode("utf-8", "replace").decode()
            told = {MARK: token, "input": path[-_METADATA_CHARS:]}
            return await desk.create(file_id, job.url, window=self._window, metadata=told)

        batch = await self._maker.make(attempt, find, self._doubt)
        return job.with_round(batch_id=batch.id).at(Stage.RUNNING)

    async def _is_taken_in(self, desk: BatchService, file_id: str) -> bool:
        """Wait until the service has read a file; False: it could not."""
        waits = self._polls()
        self.waits = "the service reads the file"
        while (file := await desk.file(file_id)).status in _NOT_YET:
            await self._stop.pause(waits.next_s())
        self.waits = ""
        return file.status != "error"

    async def _send_instead(self, job: Job, desk: BatchService, file_id: str) -> Job:
        """Go back to send an input that the service could not read from its storage."""
        await desk.delete(file_id)
        if self._paperwork.import_url(job, desk.lease) is None:
            told = "the service could not read the uploaded file"
            return _failed(job, Outcome(kind=OutcomeKind.REJECTED, code="file", message=told))
        logger.warning("%s: %s", job.path, NOT_IMPORTED)
        job = replace(job, is_import_refused=True)
        return job.with_round(input_file_id=None).at(Stage.SENDING)

    # -- and back ------------------------------------------------------------------------------

    async def _watch(self, job: Job) -> Job:
        desk = self._desk(job)
        if desk is None:
            return self._without_key(job)
        batch = await self._end_of(desk, job.last.batch_id or "")
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

    async def _end_of(self, desk: BatchService, batch_id: str) -> RemoteBatch:
        """Return a batch once it is over; while the provider cannot be asked, it is waited for."""
        waits = self._polls()
        try:
            while True:
                try:
                    self.seen = await desk.batch(batch_id)
                    self.waits = ""
                except (SendFault, ServiceRefusal) as exc:
                    if not is_passing(exc):
                        raise
                    self.waits = f"the provider cannot be asked ({exc})"
                if self.seen is not None and self.seen.is_over:
                    return self.seen
                await self._stop.pause(waits.next_s())
        finally:
            self.seen, self.waits = None, ""

    def _polls(self) -> Backoff:
        return Backoff(self._pace.first_poll_s, self._pace.longest_poll_s, self._chance)

    async def _wait_for_room(self, job: Job) -> Job:
        """Go back to create the batch again, once others are over.

        Raises:
            ToolkitError: it was refused too often.
        """
        job = job.with_round(batch_id=None, refused=job.last.refused + 1).at(Stage.SENT)
        if job.last.refused % _MOST_REFUSED == 0:
            await in_thread(self._shelf.save, job)
            self.job = job
            raise _held_up(job, "too much is enqueued at the provider; split it if it stands alone")
        self.waits = "too much is enqueued at the provider"
        await self._stop.pause(self._limits.next_s())
        self.waits = ""
        return job

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


def _failed(job: Job, outcome: Outcome) -> Job:
    """Return a job of which nothing more will be asked; answers of earlier rounds are kept."""
    finding = Finding(code=outcome.code, message=outcome.message)
    return replace(job, findings=(finding,), findings_count=1, stage=Stage.COLLECTED)


def _held_up(job: Job, why: str) -> ToolkitError:
    return ToolkitError(f"{job.path}: {why}; run again to go on with it")
