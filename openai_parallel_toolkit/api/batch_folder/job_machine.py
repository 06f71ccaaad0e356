"""Lead one input through its stages, each durable before the next is begun.

    TAKEN ── check ── READY ── choose a key ── RUNNING ── the batch's own stages ── COLLECTED
                        │                                                               │
                        └──────────────── lines that are still open ────────────────────┤
                                                                                        │
    GONE ── delete what is left over ── PUBLISHED ── put into place ── SETTLED ─────────┘

An input that cannot be used goes on to SETTLED with what was found, and keeps the answers of
earlier rounds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from ...batch.judgement import is_no_room
from ...batch.tracker import BatchTracker, OutOfReach
from ...core.errors import NoUsableKey, RunStopping, ToolkitError
from ...core.filesystem import storage_error
from ...core.records import Lease
from ...core.text import brief
from ...journal.batch_rows import BatchRecord, BatchStage
from .job import Job, JobStage, job_to_json
from .job_files import JobFiles, with_finding

logger = logging.getLogger(__name__)

_Made = TypeVar("_Made")

#: About three hours at the usual pace.
_MOST_REFUSED = 20
_NAME_CHARS = 60


class Stop:
    """Ends the waits of one event loop when the run is to stop."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    @property
    def is_asked(self) -> bool:
        """Whether the run is to stop."""
        return self._asked.is_set()

    def ask(self) -> None:
        """End all waits, now and from now on; call it on the loop."""
        self._asked.set()

    async def wait(self) -> None:
        """Wait until the run is to stop."""
        await self._asked.wait()

    def check(self) -> None:
        """Raise RunStopping when the run is to stop."""
        if self.is_asked:
            raise RunStopping

    async def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            RunStopping: the run is to stop.
        """
        try:
            await asyncio.wait_for(self._asked.wait(), seconds)
        except asyncio.TimeoutError:
            return
        raise RunStopping


@dataclass(eq=False)
class JobStateMachine:
    """One input's way; `job` is what is known of it, and in the journal."""

    job: Job
    tracker: BatchTracker
    files: JobFiles
    stop: Stop
    #: Whether an earlier process may have begun its next step.
    is_doubtful: bool
    #: What it waits for, in words; "": for nothing but its batch.
    waits: str = ""
    #: Whether a run that the journal does not know has finished it.
    was_in_place: bool = False

    def __post_init__(self) -> None:
        tracker = self.tracker
        self._store, self._clients, self._quota = tracker.store, tracker.clients, tracker.quota
        self._patience, self._clock = tracker.waiting.patience, tracker.waiting.clock
        self._refusals = 0
        self._steps: dict[JobStage, Callable[[Job], Awaitable[Job]]] = {
            JobStage.TAKEN: self._check,
            JobStage.READY: self._begin_round,
            JobStage.RUNNING: self._run_batch,
            JobStage.COLLECTED: self._judge,
            JobStage.SETTLED: self._publish,
            JobStage.PUBLISHED: self._clean,
        }

    async def go(self) -> None:
        """Go on to the end.

        Raises:
            ToolkitError: it cannot go on now; a later run can.
            RunStopping: the run is to stop.
        """
        self.files.jobs[self.job.id] = self.job
        if self.is_doubtful and await in_thread(self.files.is_published, self.job):
            logger.warning(
                "%s: its results are in place, and the journal, perhaps an old copy, does not know "
                "it; they count",
                self.job.path,
                extra={"action": "output_found", "file": self.job.path},
            )
            self.was_in_place = True
            self.job = self.job.at(JobStage.PUBLISHED)
        while self.job.stage is not JobStage.GONE:
            job = await self._steps[self.job.stage](self.job)
            if job.stage is JobStage.GONE:
                await in_thread(self.files.forget, job)
                self._store.forget_job(job.id)
                self.files.jobs.pop(job.id, None)
            else:
                self._store.save_job(job.id, job_to_json(job))
                self.files.jobs[job.id] = job
            self.job = job

    async def _check(self, job: Job) -> Job:
        return await in_thread(self.files.check, job)

    async def _begin_round(self, job: Job) -> Job:
        tokens = job.likely_tokens
        lease = await self._key_for(job, tokens)
        if lease is None:
            barred = self._clients.barred(job.model)
            return with_finding(job, barred).at(JobStage.COLLECTED) if barred else job
        self.stop.check()
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", os.path.splitext(os.path.basename(job.path))[0])
        number = len(job.lines_files) + 1
        job = replace(job, stage=JobStage.RUNNING, lines_files=(*job.lines_files, job.lines_file))
        self._store.form_round(
            job.id,
            job_to_json(job),
            lines=job.lines,
            tokens=tokens,
            key_name=lease.key_name,
            fingerprint=self._clients.fingerprint(lease.key_name),
            path=job.url.removeprefix("/v1"),
            model=job.model,
            token=f"{job.token}-{number}-{stem[:_NAME_CHARS]}",
        )
        self.is_doubtful = False
        return job

    async def _key_for(self, job: Job, tokens: int) -> Lease | None:
        """Return the key with the most room, a while later if none has any; None: all are barred.

        A key for another deployment than the model of the lines comes last.

        Raises:
            NoUsableKey: no key can be used.
        """
        while leases := self._clients.leases(job.model):
            fitting = [lease for lease in leases if lease.azure_deployment in {None, job.model}]
            now_s = self._clock.now_s()
            lease, room = self._quota.choose(fitting or leases, job.model, now_s)
            if room >= tokens or (room > 0 and self._quota.is_free(lease.key_name, job.model)):
                return lease
            self.waits = "too much is enqueued at the provider"
            try:
                await self.stop.pause(self._patience.first_poll_s)
            finally:
                self.waits = ""
        if self._clients.barred(job.model) is not None:
            return None
        dropped = self._clients.keys.dropped().items()
        told = "; ".join(f"{name}: {brief(why)}" for name, why in dropped)
        raise NoUsableKey(
            f"no key can take a batch of {job.model!r} ({told}); add a key or top one up, then "
            "run again"
        )

    async def _run_batch(self, job: Job) -> Job:
        batch = self._store.rounds_of(job.id)[-1]
        if batch.stage not in {BatchStage.COLLECTED, BatchStage.CLOSED}:
            batch = await self._see_through(job, batch)
        if is_no_room(batch.told.code) and batch.told.is_blamed:
            self._refusals += 1
            if self._refusals == _MOST_REFUSED:
                raise _held_up(
                    job, "too much is enqueued at the provider; split it if it stands alone"
                )
        return self.files.jobs[job.id].at(JobStage.COLLECTED)

    async def _see_through(self, job: Job, batch: BatchRecord) -> BatchRecord:
        service = self._clients.owner(batch)
        is_unordered = batch.stage is BatchStage.FORMED or (
            batch.stage is BatchStage.UPLOADED and not self.is_doubtful
        )
        if service is None and is_unordered:
            return self.tracker.dissolve(batch)
        if service is None:
            raise _without_key(job, batch)
        self.tracker.enter(batch)
        try:
            batch = await self.tracker.see_through(batch, service, is_doubtful=self.is_doubtful)
            if batch.told.is_blamed and batch.stage is BatchStage.COLLECTED:
                await self.tracker.tidy(batch, service)  # its key may be of no use later
        except OutOfReach as why:
            if self._clients.owner(batch) is None:
                raise _without_key(job, batch) from why
            raise _held_up(job, str(why)) from why
        finally:
            self.is_doubtful = True
        return batch

    async def _judge(self, job: Job) -> Job:
        return await in_thread(self.files.judge, job, self._store.rounds_of(job.id))

    async def _publish(self, job: Job) -> Job:
        await in_thread(self.files.publish, job, self._store.rounds_of(job.id))
        return job.at(JobStage.PUBLISHED)

    async def _clean(self, job: Job) -> Job:
        await in_thread(self.files.take_input_away, job)
        for batch in self._store.rounds_of(job.id):
            if batch.stage is not BatchStage.CLOSED:
                await self.tracker.tidy(batch, self._clients.owner(batch))
        return job.at(JobStage.GONE)


def _without_key(job: Job, batch: BatchRecord) -> NoUsableKey:
    return NoUsableKey(
        f"{job.path}: its batch belongs to {batch.key_name}, which cannot be used now; restore "
        "that key, then run again",
        key_name=batch.key_name,
    )


def _held_up(job: Job, why: str) -> ToolkitError:
    return ToolkitError(f"{job.path}: {why}; run again to go on with it")


async def in_thread(act: Callable[..., _Made], *arguments: object) -> _Made:
    """Do blocking work beside the loop.

    Raises:
        StorageError: the disk refused.
    """
    try:
        return await asyncio.to_thread(act, *arguments)
    except OSError as exc:
        raise storage_error(exc, str(exc.filename or "")) from exc
