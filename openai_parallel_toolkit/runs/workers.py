"""Keep so many files under way at a time: on threads, or on an event loop for async hooks."""

from __future__ import annotations

import asyncio
import itertools
import queue as queues
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ..calls.file_calls import current_file_calls
from ..core.loop_calls import LoopCalls
from ..files.plan import DueFile
from ..transport import new_event_loop
from .file_task import FileRunner, Job

#: Threads for process_input and process_output of async hooks.
_SIDE_THREADS = 8
#: Seconds in which an event loop must answer, or one of its hooks blocks it.
_BLOCKED_AFTER_S = 1.0


class Queue:
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


class Workers(Protocol):
    """What keeps files under way."""

    def start(self, queue: Queue) -> None:
        """Begin to take files."""
        ...

    def is_busy(self) -> bool:
        """Return whether a file is under way or still to be taken."""
        ...

    def at_fault(self, idle: list[Job]) -> list[Job]:
        """Return those of the `idle` jobs that had a chance to go on and did not take it."""
        ...

    def replace(self, job: Job) -> bool:
        """Let another worker go on in place of the one that hangs in `job`; False: none can."""
        ...

    def close(self) -> None:
        """Let go of threads and loops; what hangs is left behind."""
        ...


class ThreadWorkers:
    """Runs blocking hooks, each worker on a thread of its own.

    Threads are daemons, so that a hook that hangs does not keep the process alive. One lock
    guards the set of live workers.
    """

    def __init__(
        self,
        runner: FileRunner,
        count: int,
        on_idle: Callable[[], None],
        on_trouble: Callable[[BaseException], None],
    ) -> None:
        """`on_trouble` is told what went wrong outside of hooks; whoever meets it takes no more."""
        self._runner = runner
        self._count = count
        self._on_idle = on_idle
        self._on_trouble = on_trouble
        self._slots = itertools.count()
        self._lock = threading.Lock()
        self._live: set[int] = set()
        self._queue: Queue | None = None

    def start(self, queue: Queue) -> None:
        self._queue = queue
        for _ in range(self._count):
            self._add()

    def is_busy(self) -> bool:
        return bool(self._live)

    def at_fault(self, idle: list[Job]) -> list[Job]:
        """All of them: no thread keeps others from running."""
        return idle

    def replace(self, job: Job) -> bool:
        with self._lock:
            self._live.discard(job.slot)
        self._add()
        return True

    def close(self) -> None:
        """Nothing to do: workers end when the queue does."""

    def _add(self) -> None:
        with self._lock:
            slot = next(self._slots)
            self._live.add(slot)
        threading.Thread(
            target=self._work, args=(slot,), name=f"file-worker-{slot}", daemon=True
        ).start()

    def _work(self, slot: int) -> None:
        queue = self._queue
        assert queue is not None
        try:
            while slot in self._live:
                due = queue.take()
                if due is None:
                    break
                self._runner.run(slot, due, alone=queue.is_alone)
        except BaseException as exc:  # noqa: BLE001 - the run is told, and raises it
            self._on_trouble(exc)
        with self._lock:
            self._live.discard(slot)
            is_last = not self._live
        if is_last:
            self._on_idle()


class AsyncWorkers:
    """Runs async hooks on one event loop; their blocking neighbours on a few side threads.

    One file costs one hop to a side thread: it writes a file's output and reads the next input.
    What changes the state happens on the loop, so there is no lock.
    """

    def __init__(
        self,
        runner: FileRunner,
        count: int,
        on_idle: Callable[[], None],
        on_trouble: Callable[[BaseException], None],
    ) -> None:
        """`on_trouble` is told what went wrong outside of hooks; whoever meets it takes no more."""
        self._runner = runner
        self._count = count
        self._on_idle = on_idle
        self._on_trouble = on_trouble
        self._loop = new_event_loop()
        self._side = SideThreads(self._loop, min(_SIDE_THREADS, count))
        self._thread = threading.Thread(target=self._run, name="hook-loop", daemon=True)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        #: Cancelled because their hooks hung; they may not even have noticed.
        self._left_behind: set[asyncio.Task[None]] = set()
        self._slots = itertools.count()
        self._queue: Queue | None = None
        self._is_busy = True

    def start(self, queue: Queue) -> None:
        self._queue = queue
        self._thread.start()

    def is_busy(self) -> bool:
        return self._is_busy

    def at_fault(self, idle: list[Job]) -> list[Job]:
        """Those that are idle after a turn of the loop, or else the one that blocks it."""
        if not idle or self._do_in_loop(lambda: None):
            return idle
        running = asyncio.current_task(self._loop)
        return [job for job in idle if running is not None and job.task is running]

    def replace(self, job: Job) -> bool:
        if job.task is None:
            self._side.add()
        is_swapped = self._do_in_loop(lambda: self._swap(job.slot))
        self._is_busy = self._is_busy and is_swapped
        return is_swapped

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=1)
        self._side.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        for _ in range(self._count):
            self._add()
        self._loop.run_forever()
        tasks = [*self._tasks.values(), *self._left_behind]
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    def _add(self) -> None:
        slot = next(self._slots)
        self._tasks[slot] = self._loop.create_task(self._work(slot))

    def _do_in_loop(self, action: Callable[[], None]) -> bool:
        """Return whether the loop came round to `action` in time."""
        is_done = threading.Event()

        def act() -> None:
            action()
            is_done.set()

        self._loop.call_soon_threadsafe(act)
        return is_done.wait(_BLOCKED_AFTER_S)

    def _swap(self, slot: int) -> None:
        task = self._tasks.pop(slot, None)
        if task is not None:
            self._left_behind.add(task)
            task.add_done_callback(self._left_behind.discard)
            task.cancel()
        self._add()

    async def _work(self, slot: int) -> None:
        try:
            opened = await self._side.run(self._open_next, slot)
            while opened is not None:
                job, data, error = opened
                job.file_calls.go_on()
                result = None
                if error is None:
                    result, error = await self._process(job, data)
                job.file_calls.rest()
                opened = await self._side.run(self._close_and_open_next, job, result, error)
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # noqa: BLE001 - the run is told, and raises it
            self._on_trouble(exc)
        finally:
            self._tasks.pop(slot, None)
            if not self._tasks:
                self._is_busy = False
                self._on_idle()

    async def _process(self, job: Job, data: Any) -> tuple[Any, BaseException | None]:
        current_file_calls.set(job.file_calls)
        job.file_calls.loop = self._loop
        job.thread_id, job.task = threading.get_ident(), asyncio.current_task()
        try:
            return await self._runner.hooks.process_data(data), None
        except asyncio.CancelledError:
            if job.file_calls.is_abandoned:
                return None, None
            raise
        except BaseException as exc:  # noqa: BLE001 - becomes the file's failure
            return None, exc
        finally:
            job.task = None

    def _open_next(self, slot: int) -> tuple[Job, Any, BaseException | None] | None:
        assert self._queue is not None
        due = self._queue.take()
        if due is None:
            return None
        job = self._runner.begin(slot, due, alone=self._queue.is_alone)
        token = current_file_calls.set(job.file_calls)
        try:
            return job, self._runner.read(job), None
        except BaseException as exc:  # noqa: BLE001 - becomes the file's failure
            return job, None, exc
        finally:
            current_file_calls.reset(token)
            job.file_calls.rest()

    def _close_and_open_next(
        self, job: Job, result: Any, error: BaseException | None
    ) -> tuple[Job, Any, BaseException | None] | None:
        job.thread_id = threading.get_ident()
        job.file_calls.go_on()
        token = current_file_calls.set(job.file_calls)
        try:
            if error is None and not job.file_calls.is_abandoned:
                self._runner.write(job, result)
        except BaseException as exc:  # noqa: BLE001 - becomes the file's failure
            error = exc
        finally:
            current_file_calls.reset(token)
            self._runner.finish(job, error)
        return None if job.file_calls.is_abandoned else self._open_next(job.slot)


class SideThreads:
    """Runs blocking work for one event loop on daemon threads, which a hung hook cannot keep.

    A thread ends when it takes None from the queue.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int) -> None:
        self._calls = LoopCalls(loop)
        self._count = 0
        self._tasks: queues.SimpleQueue[Any] = queues.SimpleQueue()
        for _ in range(count):
            self.add()

    def add(self) -> None:
        """Start one more thread, at first or because a hook holds another one."""
        name = f"file-side-{self._count}"
        self._count += 1
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, action: Callable[..., Any], *args: Any) -> Any:
        """Return what `action(*args)` returns, called on one of the threads."""
        future, settle = self._calls.future()
        self._tasks.put((settle, action, args))
        return await future

    def close(self) -> None:
        """Let every thread end once it is free."""
        for _ in range(self._count):
            self._tasks.put(None)

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            if task is None:
                return
            settle, action, args = task
            value, error = None, None
            try:
                value = action(*args)
            except BaseException as exc:  # noqa: BLE001 - raised where it is awaited
                error = exc
            settle(value, error)
