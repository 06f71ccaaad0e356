"""Make something at the provider once, although replies get lost and processes die."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from ...batch.service import BatchService, RemoteFile, ServiceRefusal
from ...core.clock import Clock
from ...core.records import OutcomeKind
from ...transport import SendFault
from .job import Job
from .pace import Backoff, Pace, Stop

logger = logging.getLogger(__name__)

_Made = TypeVar("_Made")

NOT_IMPORTED = (
    "Azure cannot read it from its storage, so it is sent from here; give the resource's managed "
    "identity the role Storage Blob Data Contributor"
)
#: Refusals that no waiting mends.
FINAL = {OutcomeKind.REJECTED, OutcomeKind.NOT_HERE}
_PASSING = {OutcomeKind.BUSY, OutcomeKind.UNSENT, OutcomeKind.UNKNOWN}
_NAME_CHARS = 60
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0


@dataclass(slots=True)
class Doubt:
    """Whether something may have been made of which nobody here knows."""

    is_open: bool


class Maker:
    """Repeats what may be repeated, and looks before whatever may have happened already."""

    def __init__(self, *, pace: Pace, stop: Stop, clock: Clock, chance: Random) -> None:
        self._pace = pace
        self._stop = stop
        self._clock = clock
        self._chance = chance

    async def make(
        self,
        attempt: Callable[[], Awaitable[_Made]],
        find: Callable[[], Awaitable[_Made | None]],
        doubt: Doubt,
    ) -> _Made:
        """Return what an attempt made, or what is found of an earlier one.

        Args:
            doubt: open: an earlier process may have made it; opened when an attempt may have.

        Raises:
            ServiceRefusal: the service will not have it, or was busy for `patience_s`.
            SendFault: it could not be reached for `patience_s`.
            RunStopping: the run is to stop.
        """
        until_s = self._clock.now_s() + self._pace.patience_s
        first_s = min(_FIRST_PAUSE_S, self._pace.first_poll_s)
        waits = Backoff(first_s, _LONGEST_PAUSE_S, self._chance)
        while True:
            if doubt.is_open:
                found = await find()
                if found is not None:
                    return found
            self._stop.check()
            try:
                return await attempt()
            except (ServiceRefusal, SendFault) as exc:
                wait_s = _asked_wait_s(exc) or waits.next_s()
                if not is_passing(exc) or self._clock.now_s() + wait_s > until_s:
                    raise
                doubt.is_open = doubt.is_open or _may_have_happened(exc)
            await self._stop.pause(wait_s)


async def find_file(desk: BatchService, name: str) -> RemoteFile | None:
    """Return the file of this name, which nobody else gives; None: none is there and in order."""
    for file in await desk.files():
        if file.name == name and file.status != "error":
            return file
    return None


async def import_file(desk: BatchService, name: str, url: str) -> RemoteFile | None:
    """Have the service read an input from its storage; None: it will not."""
    try:
        return await desk.import_file(name, url)
    except ServiceRefusal as refusal:
        if refusal.outcome.kind not in FINAL:
            raise
        logger.warning("%s: %s (%s)", name, NOT_IMPORTED, refusal)
        return None


def token_of(job: Job) -> str:
    """Return what tells a job's next batch from all others."""
    return f"{job.id}-{len(job.rounds)}-{job.last.refused}"


def remote_name(job: Job) -> str:
    """Return the name, which nobody else gives, of a job's next remote file."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", os.path.splitext(os.path.basename(job.path))[0])
    return f"{job.id}-{len(job.rounds)}-{stem[:_NAME_CHARS]}.jsonl"


def is_passing(exc: ServiceRefusal | SendFault) -> bool:
    """Whether the same may well work a little later."""
    return isinstance(exc, SendFault) or exc.outcome.kind in _PASSING


def _may_have_happened(exc: ServiceRefusal | SendFault) -> bool:
    if isinstance(exc, SendFault):
        return exc.kind == "unknown"
    return not exc.outcome.is_limit


def _asked_wait_s(exc: ServiceRefusal | SendFault) -> float | None:
    asked_s = exc.outcome.retry_after_s if isinstance(exc, ServiceRefusal) else None
    return None if asked_s is None else min(asked_s, 600.0)
