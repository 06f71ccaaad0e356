"""Tell what of a BatchFolder is under way, and cancel what it has at the provider."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ...batch.cancel import cancel_batch
from ...batch.key_clients import KeyClients
from ...batch.options import Patience, Waiting
from ...batch.service import ServiceRefusal
from ...core.clock import Clock
from ...core.file_kinds import exists, is_folder
from ...journal import JournalReader
from ...journal.batch_rows import BatchRecord, BatchStage
from ...journal.schema import FILE_NAME
from ...keys import APIKeyManager, close_unless_default
from ...keys.config import Settings
from ...runs.session import RunSession
from ...transport import SendFault
from .job import Job, JobStage, job_from_json
from .job_files import work_folder

#: Somebody waits for the command's end.
_PATIENCE = Patience(patience_s=60.0)
#: What a job is called while its batch comes so far.
_BATCH_STAGES = {BatchStage.FORMED: "sending", BatchStage.UPLOADED: "sent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """One input that is under way."""

    path: str
    #: "taken", "ready", "sending", "sent", "running", "collected", "settled" or "published"; of a
    #: batch that was cancelled and waits for the next run, as its service said last: "cancelling",
    #: "cancelled", or how it had ended before.
    stage: str
    #: Name of the key that it is, or was last, sent under; "" when none was chosen.
    key: str
    #: None: it has none yet.
    batch_id: str | None
    lines: int
    #: Seconds since 1970 when it was taken.
    taken_wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderCancelled:
    """What cancelling came to."""

    #: Batches that were told to stop.
    cancelled: int
    #: Why others were not, one sentence each.
    refused: tuple[str, ...]


def has_folder(state_folder: str) -> bool:
    """Whether a BatchFolder has worked with a state folder."""
    return is_folder(work_folder(state_folder))


def job_statuses(state_folder: str) -> list[JobStatus]:
    """Return what is under way, oldest first; may be asked while a run is on.

    Raises:
        JournalError: what is known of one cannot be read.
    """
    if not exists(os.path.join(state_folder, FILE_NAME)):
        return []
    with JournalReader(state_folder) as journal:
        found = [
            (job_from_json(id, facts), batch) for id, facts, batch in journal.jobs_and_batches()
        ]
    return [
        JobStatus(
            path=job.path,
            stage=_stage_of(job, batch),
            key=batch.key_name if batch else "",
            batch_id=batch.remote_id if batch else None,
            lines=job.lines,
            taken_wall_s=job.taken_wall_s,
        )
        for job, batch in sorted(found, key=lambda one: (one[0].taken_wall_s, one[0].path))
    ]


def _stage_of(job: Job, batch: BatchRecord | None) -> str:
    if job.stage is not JobStage.RUNNING or batch is None:
        return job.stage.value
    if batch.told.is_cancelled:
        return batch.told.status
    return _BATCH_STAGES.get(batch.stage, "running")


def cancel_folder(state_folder: str, settings: Settings, *, clock: Clock) -> FolderCancelled:
    """Tell the provider to stop all batches of a BatchFolder, and ask nothing of theirs again.

    The next run puts what was answered until then into place, and the rest to the errors.

    Raises:
        RunLocked: a run is on.
    """
    keys = APIKeyManager(settings=settings, clock=clock)
    try:
        with RunSession(state_folder, keys, clock=clock) as session, ThreadPoolExecutor(1) as pool:
            # The caller's thread may have a loop of its own.
            return pool.submit(asyncio.run, _cancel(session)).result()
    finally:
        close_unless_default(keys)


async def _cancel(session: RunSession) -> FolderCancelled:
    count, refused, store = 0, list[str](), session.journal.batches
    waiting = Waiting(patience=_PATIENCE, clock=session.clock)
    clients = KeyClients(session.journal, session.keys, waiting)
    try:
        for job_id, facts in store.jobs():
            job, rounds = job_from_json(job_id, facts), store.rounds_of(job_id)
            if not rounds or rounds[-1].stage not in {BatchStage.UPLOADED, BatchStage.CREATED}:
                continue
            service = clients.owner(rounds[-1])
            if service is None:
                refused.append(f"{job.path}: its key {rounds[-1].key_name} cannot be used")
                continue
            try:
                count += await cancel_batch(store, rounds[-1], service, waiting) is not None
            except (ServiceRefusal, SendFault) as exc:
                refused.append(f"{job.path}: {exc}")
    finally:
        await clients.close()
    return FolderCancelled(cancelled=count, refused=tuple(refused))
