"""Keep so many files under way at a time: on threads, or on an event loop for async hooks."""

from __future__ import annotations

import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

from ..core.errors import OutOfResources
from ..core.logs import logger_of
from ..core.text import counted
from ..core.threads import start_thread
from ..files.plan import DueFile
from .hook_runner import FileTask, HookRunner

logger = logger_of(__name__)


class Queue(Protocol):
    """Where workers take their files from."""

    @property
    def is_alone(self) -> bool:
        """Whether its files run one at a time."""

    def take(self) -> Any:
        """Return the next file; None: there is none, or nothing more may be started."""


class FileQueue:
    """The files that are still to be taken; one lock guards the iterator.

    `is_alone` says that its files run one at a time, because one may kill the process.
    """

    def __init__(
        self, files: Iterator[DueFile], is_closed: Callable[[], bool], *, is_alone: bool = False
    ) -> None:
        self._files = files
        self._is_closed = is_closed
        self.is_alone = is_alone
        self._lock = threading.Lock()

    def take(self) -> DueFile | None:
        """Return the next file; None: there is none, or nothing more may be started."""
        with self._lock:
            return None if self._is_closed() else next(self._files, None)


class Workers(ABC):
    """What keeps `count` files of a queue under way."""

    def __init__(
        self,
        queue: Queue,
        runner: HookRunner[Any],
        count: int,
        on_idle: Callable[[], None],
        on_trouble: Callable[[BaseException], None],
    ) -> None:
        """`on_trouble` is told what went wrong outside of hooks; whoever meets it takes no more."""
        self._queue = queue
        self._runner = runner
        self._count = count
        self._on_idle = on_idle
        self._on_trouble = on_trouble
        self._slots = itertools.count()
        #: Workers that are to end once their file has; guarded by its lock.
        self._surplus = 0
        self._surplus_lock = threading.Lock()

    @property
    def count(self) -> int:
        """How many files are to be under way at a time."""
        return self._count

    def resize(self, count: int) -> None:
        """Have so many files under way from now on; those too many are finished."""
        with self._surplus_lock:
            more, self._count = count - self._count, count
            kept = max(0, min(self._surplus, more))
            self._surplus += max(0, -more) - kept
        if more > kept:
            self._grow(more - kept)

    def _is_surplus(self) -> bool:
        """Return whether a worker between two files is one too many."""
        with self._surplus_lock:
            self._surplus -= (is_one := self._surplus > 0)
        return is_one

    @abstractmethod
    def start(self) -> None:
        """Begin to take files."""

    @abstractmethod
    def _grow(self, more: int) -> None:
        """Add so many workers, or as many of them as the system lets there be."""

    @abstractmethod
    def is_busy(self) -> bool:
        """Return whether a file is under way or still to be taken."""

    @abstractmethod
    def at_fault(self, idle: list[FileTask]) -> list[FileTask]:
        """Return those of the `idle` files that had a chance to go on and did not take it."""

    @abstractmethod
    def replace(self, task: FileTask) -> bool:
        """Let another worker go on in place of the one that hangs in `task`; False: none can."""

    @abstractmethod
    def close(self) -> None:
        """Let go of threads and loops; what hangs is left behind."""


class ThreadWorkers(Workers):
    """Runs blocking hooks, each worker on a thread of its own.

    Threads are daemons, so that a hook that hangs does not keep the process alive. One lock
    guards the set of live workers, which are known by their slots.
    """

    _lock: threading.Lock
    _live: set[int]

    def start(self) -> None:
        self._lock, self._live = threading.Lock(), set()
        for number in range(self._count):
            try:
                self._add()
            except OutOfResources:  # although as many were counted: others took them meanwhile
                if not number:
                    raise
                logger.warning("%s at a time: there are no more threads", counted(number, "file"))
                return

    def _grow(self, more: int) -> None:
        with suppress(OutOfResources):
            for _ in range(more):
                self._add()

    def is_busy(self) -> bool:
        return bool(self._live)

    def at_fault(self, idle: list[FileTask]) -> list[FileTask]:
        """All of them: no thread keeps others from running."""
        return idle

    def replace(self, task: FileTask) -> bool:
        with self._lock:
            self._live.discard(task.slot)
            is_last = not self._live
        try:
            self._add()
        except OutOfResources:
            if is_last:
                raise
        return True

    def close(self) -> None:
        """Nothing to do: workers end when the queue does."""

    def _add(self) -> None:
        with self._lock:
            slot = next(self._slots)
            self._live.add(slot)
        try:
            start_thread(self._work, slot, name=f"file-worker-{slot}")
        except OutOfResources:
            with self._lock:
                self._live.discard(slot)
            raise

    def _work(self, slot: int) -> None:
        try:
            with self._runner.turns.taken():
                while slot in self._live and not self._is_surplus():
                    if (due := self._queue.take()) is None:
                        break
                    self._runner.run(slot, due, alone=self._queue.is_alone)
        except BaseException as exc:  # noqa: BLE001 - the run is told, and raises it
            self._on_trouble(exc)
        with self._lock:
            self._live.discard(slot)
            is_last = not self._live
        if is_last:
            self._on_idle()
