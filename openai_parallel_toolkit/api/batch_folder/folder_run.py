"""One run over the input folder: `batch_size` jobs at a time, until nothing waits or it stops.

Everything here happens on one event loop, so there is no lock.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ...batch.options import Waiting
from ...batch.tracker import BatchTracker
from ...core.errors import NoUsableKey, RunStopping, StorageError, ToolkitError
from ...core.filesystem import is_disk_trouble
from ...core.logs import logger_of
from ...core.text import counted
from ...files.stores import StoredObject
from ...journal.batch_rows import BatchStage
from ...runs.progress import Display, ProgressFigures
from ...runs.session import RunSession
from .job import Job, JobStage, job_from_json, job_to_json
from .job_files import JobFiles
from .job_machine import JobStateMachine, Stop, in_thread
from .places import Inbox, Places
from .settings import FolderSettings
from .summary import BatchFolderSummary

logger = logger_of(__name__)

_SHOW_EVERY_S = 0.5
_ID_BYTES = 6


class BatchFolderRun:
    """Works through a folder; `work` is called once."""

    def __init__(
        self,
        settings: FolderSettings,
        places: Places,
        session: RunSession,
        display: Display,
    ) -> None:
        """Prepare; `session` is entered. The loop is the one that `work` runs on."""
        self.stop = Stop()
        self._settings = settings
        self._pace = settings.pace
        self._places = places
        self._session = session
        self._keys = session.keys
        self._store = session.journal.batches
        self._display = display
        self._clock = session.clock
        self._so_far = BatchFolderSummary()
        self._waiting: deque[tuple[Job, bool]] = deque()
        self._under_way: dict[asyncio.Task[None], JobStateMachine] = {}
        #: Jobs that cannot go on for now, and why, by their paths.
        self._left: dict[str, tuple[Job, ToolkitError]] = {}
        #: What was last said of each path.
        self._warned: dict[str, str] = {}
        self._finished = 0
        self._inbox = Inbox(places, settings.pattern, waits_for_whole=settings.continuous)
        self._files = JobFiles(
            places,
            settings,
            prices=session.prices,
            wall_s=session.clock.wall_s,
            clean=session.keys.redactor.clean,
        )
        self._tracker = BatchTracker(
            session.journal,
            session.keys,
            self._files,
            window=settings.completion_window,
            waiting=Waiting(
                patience=self._pace,
                clock=session.clock,
                pause=self.stop.pause,
            ),
        )

    async def work(self) -> None:
        """Work until all is done, or `stop` is asked.

        Raises:
            NoUsableKey: files are left because no key can be used.
            StorageError: the disk is full or broken.
        """
        shown = asyncio.ensure_future(self._keep_showing())
        try:
            await self._work()
        finally:
            shown.cancel()
            await self._wind_up()
            self._show()
            await self._tracker.clients.close()
        self._raise_what_ended_it()

    def drop(self) -> None:
        """End at once: a later run looks what the steps under way have done."""
        self.stop.ask()
        for task in self._under_way:
            task.cancel()

    def summary(self, **facts: Any) -> BatchFolderSummary:
        """Return how it stands."""
        jobs = [*self._jobs(), *(job for job, _ in self._left.values())]
        return replace(
            self._so_far,
            left=len(jobs),
            batches_left=sum(self._is_out(job) for job in jobs),
            seconds=self._session.seconds,
            reasons=tuple(error.message for _, error in self._left.values()),
            dropped_keys=dict(self._keys.dropped()),
            output_path=self._places.output.url(),
            error_path=self._places.error.url(),
            **facts,
        )

    def _is_out(self, job: Job) -> bool:
        rounds = self._store.rounds_of(job.id)
        is_running = job.stage is JobStage.RUNNING
        return is_running and bool(rounds) and rounds[-1].stage is BatchStage.CREATED

    # -- the loop ------------------------------------------------------------------------------

    async def _work(self) -> None:
        jobs = [job_from_json(id, facts) for id, facts in self._store.jobs()]
        jobs.sort(key=lambda job: (job.taken_wall_s, job.path))
        await in_thread(self._files.sweep, jobs)
        self._waiting.extend((job, True) for job in jobs)
        next_look_s = self._clock.now_s()
        while not self.stop.is_asked:
            if self._clock.now_s() >= next_look_s:
                next_look_s = await self._look()
            self._start()
            is_idle = not (self._under_way or self._waiting)
            if is_idle and not self._settings.continuous:
                return
            await self._wait(next_look_s)

    async def _look(self) -> float:
        """Take in what waits in the folder; return when to look again."""
        self._waiting.extend((job, True) for job, _ in self._left.values())
        self._left.clear()
        known = {job.path for job in self._jobs()}
        for found in await self._found(known):
            self._waiting.append((self._new_job(found), False))
        if not self._settings.continuous:
            return float("inf")
        soon = self._inbox.is_unsettled and self._pace.settle_s < self._pace.look_s
        return self._clock.now_s() + (self._pace.settle_s if soon else self._pace.look_s)

    async def _found(self, known: set[str]) -> list[StoredObject]:
        try:
            return await in_thread(self._inbox.look, known)
        except StorageError as exc:
            if not self._settings.continuous or _is_broken_disk(exc):
                raise
            self._warn("", str(exc))
            return []

    def _start(self) -> None:
        while self._waiting and len(self._under_way) < self._settings.batch_size:
            job, is_resumed = self._waiting.popleft()
            machine = JobStateMachine(job, self._tracker, self._files, self.stop, is_resumed)
            self._under_way[asyncio.ensure_future(machine.go())] = machine

    async def _wait(self, until_s: float) -> None:
        """Wait until a job ends, the run is to stop, or it is time to look again."""
        stopped = asyncio.ensure_future(self.stop.wait())
        timeout_s = max(0.0, until_s - self._clock.now_s())
        await asyncio.wait(
            {stopped, *self._under_way},
            timeout=None if timeout_s == float("inf") else timeout_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        stopped.cancel()
        self._take_ended(task for task in self._under_way if task.done())

    def _take_ended(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        for task in list(tasks):
            machine = self._under_way.pop(task)
            error = None if task.cancelled() else task.exception()
            if error is None and machine.job.stage is JobStage.GONE:
                if not machine.was_in_place:
                    self._finish(machine.job)
            elif isinstance(error, ToolkitError):
                self._leave(machine.job, error)
            elif error is None or isinstance(error, RunStopping):
                self._waiting.append((machine.job, True))
            else:
                raise error

    def _finish(self, job: Job) -> None:
        if job.lines or job.findings:  # else it was taken away before it was read
            self._finished += 1
            self._so_far = self._so_far.with_job(job)

    def _leave(self, job: Job, error: ToolkitError) -> None:
        self._left[job.path] = (job, error)
        if _is_broken_disk(error) or not self._keys.has_usable():
            self.stop.ask()  # what ends the run is told as its error
        else:
            self._warn(job.path, error.message)

    def _warn(self, path: str, why: str) -> None:
        """Say why a file, or the folder, has to wait; the same is said once."""
        if self._warned.get(path) != why:
            self._warned[path] = why
            logger.warning("%s", why, extra={"action": "file_left", "file": path})

    async def _wind_up(self) -> None:
        """Give steps under way a little time, then end them: a later run looks what they did."""
        self.stop.ask()
        if self._under_way:
            done, slow = await asyncio.wait(self._under_way, timeout=self._pace.grace_s)
            for task in slow:
                task.cancel()
            if slow:
                await asyncio.wait(slow)
            self._take_ended({*done, *slow})

    def _raise_what_ended_it(self) -> None:
        errors = [error for _, error in self._left.values()]
        for error in errors:
            if _is_broken_disk(error):
                raise error
        if errors and not self._keys.has_usable():
            raise next((e for e in errors if isinstance(e, NoUsableKey)), errors[0])

    # -- what is shown -------------------------------------------------------------------------

    async def _keep_showing(self) -> None:
        while True:
            self._show()
            await asyncio.sleep(_SHOW_EVERY_S)

    def _show(self) -> None:
        total = self._finished + len(self._left) + len(self._jobs())
        self._display.show(self._finished, total, self._standing())

    def _standing(self) -> ProgressFigures:
        if not self._under_way:
            return ProgressFigures(waiting="waiting for new files" * self._settings.continuous)
        tracker = self._tracker
        seen = [batch for batch in tracker.seen.values() if batch is not None]
        waits = next((one.waits for one in self._under_way.values() if one.waits), tracker.waits)
        answered = sum(batch.completed + batch.failed for batch in seen)
        words = [
            f"{counted(len(seen), 'batch', 'batches')} with the provider",
            f"{answered:,} of {counted(sum(batch.total for batch in seen), 'line')} there",
        ]
        dropped = len(self._keys.dropped())
        return ProgressFigures(
            waiting=f"waiting: {waits}" if waits else "",
            keys=", ".join(words + ([f"{counted(dropped, 'key')} dropped"] if dropped else [])),
            cost=self._so_far.cost.words("line"),
        )

    # ------------------------------------------------------------------------------------------

    def _jobs(self) -> list[Job]:
        return [one.job for one in self._under_way.values()] + [job for job, _ in self._waiting]

    def _new_job(self, found: StoredObject) -> Job:
        job = Job(
            id=0,
            token=f"optk-{secrets.token_hex(_ID_BYTES)}",
            path=found.path,
            signature=found.signature,
            size_bytes=found.size_bytes,
            folder="",
            taken_wall_s=self._clock.wall_s(),
        )
        return replace(job, id=self._store.add_job(job_to_json(job)))


def _is_broken_disk(error: BaseException) -> bool:
    """Whether this machine's disk is full or broken; a store elsewhere may work again soon."""
    return is_disk_trouble(error) and "://" not in str(getattr(error, "path", ""))
