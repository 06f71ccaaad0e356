"""Tell what of a BatchFolder is under way, and cancel what it has at the provider."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from ...batch.service import BatchService, ServiceRefusal, find_batch
from ...core.clock import Clock
from ...core.records import OutcomeKind
from ...files.run_lock import RunLock
from ...keys import APIKeyManager, close_unless_default
from ...keys.config import Settings
from ...transport import SendFault
from ...transport.http import HttpTransport
from .desk import Desks
from .job import Job, Stage
from .maker import token_of
from .shelf import Shelf, shelf_folder

#: Somebody waits for the command's end.
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
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

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderCancelled:
    """What cancelling came to."""

    #: Batches that were told to stop.
    cancelled: int
    #: Why others were not, one sentence each.
    refused: tuple[str, ...]


def has_folder(state_folder: str) -> bool:
    """Whether a BatchFolder has worked with a state folder."""
    return os.path.isdir(shelf_folder(state_folder))


def standings(state_folder: str) -> list[Standing]:
    """Return what is under way, oldest first; may be asked while a run is on.

    Raises:
        JournalError: what is known of one cannot be read.
    """
    return [
        Standing(
            path=job.path,
            stage=_stage_of(job),
            key=job.last.key_name if job.rounds else "",
            batch_id=job.last.batch_id if job.rounds else None,
            lines=job.lines,
            taken_wall_s=job.taken_wall_s,
        )
        for job in Shelf(state_folder).load()
    ]


def _stage_of(job: Job) -> str:
    is_cancelled = job.is_cancelled and job.stage is Stage.RUNNING
    return (job.last.status or "cancelling") if is_cancelled else job.stage.value


def cancel_folder(state_folder: str, settings: Settings, *, clock: Clock) -> FolderCancelled:
    """Tell the provider to stop all batches of a BatchFolder, and ask nothing of theirs again.

    The next run puts what was answered until then into place, and the rest to the errors.

    Raises:
        RunLocked: a run is on.
    """
    lock = RunLock(state_folder, clock=clock)
    lock.acquire()
    keys = APIKeyManager(settings=settings, clock=clock)
    try:
        with ThreadPoolExecutor(1) as pool:  # the caller's thread may have a loop of its own
            return pool.submit(asyncio.run, _cancel(Shelf(state_folder), keys, clock)).result()
    finally:
        close_unless_default(keys)
        lock.release()


async def _cancel(shelf: Shelf, keys: APIKeyManager, clock: Clock) -> FolderCancelled:
    count, refused = 0, list[str]()
    async with AsyncExitStack() as opened:
        transport = HttpTransport(proxy=keys.settings.proxy)
        opened.push_async_callback(transport.close)
        desks = Desks(
            keys,
            transport,
            salt=shelf.salt,
            clock=clock,
            chance=Random(),
            pause=asyncio.sleep,
            patience_s=_PATIENCE_S,
        )
        for job in shelf.load():
            if job.stage not in {Stage.SENT, Stage.RUNNING}:
                continue
            try:
                count += await _cancel_one(job, shelf, desks.owner(job.last.fingerprint))
            except (ServiceRefusal, SendFault) as exc:
                refused.append(f"{job.path}: {exc}")
    return FolderCancelled(cancelled=count, refused=tuple(refused))


async def _cancel_one(job: Job, shelf: Shelf, desk: BatchService | None) -> int:
    """Cancel a job's batch, also one that was made just before a crash."""
    if desk is None:
        outcome = f"its key {job.last.key_name} cannot be used"
        raise SendFault("unsent", "request", outcome)
    batch_id = job.last.batch_id
    if batch_id is None:
        file_id = job.last.input_file_id or ""
        found = await find_batch(desk, token_of(job), file_id, since_wall_s=job.taken_wall_s)
        if found is None:
            return 0
        batch_id = found.id
        job = job.with_round(batch_id=batch_id).at(Stage.RUNNING)
    job = replace(job, is_cancelled=True)
    shelf.save(job)
    try:
        batch = await desk.cancel(batch_id)
    except ServiceRefusal as refusal:
        if refusal.outcome.kind is not OutcomeKind.NOT_HERE:
            raise
    else:
        shelf.save(job.with_round(status=batch.status))
    return 1
