"""Keep so many files with async hooks under way at a time, on one event loop."""

from __future__ import annotations

import asyncio
import queue as queues
import threading
from collections.abc import Callable
from typing import Any

from ..calls.file_calls import current_file_calls
from ..core.describe import kind_of
from ..core.errors import OutOfResources
from ..core.logs import logger_of
from ..core.loop_calls import LoopCalls
from ..core.threads import start_thread
from .hook_runner import FileTask
from .workers import Workers

logger = logger_of(__name__)

#: Threads for process_input and process_output.
_SIDE_THREADS = 8
#: Seconds in which the event loop must answer, or one of its hooks blocks it.
_BLOCKED_AFTER_S = 1.0

#: A file, what process_input made of it, and what went wrong.
_Opened = tuple[FileTask, Any, BaseException | None]


class AsyncWorkers(Workers):
    """Runs async hooks on one event loop; their blocking neighbours on a few side threads.

    One file costs one hop to a side thread: it writes a file's output and reads the next input.
    What changes the state happens on the loop, so there is no lock.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._loop = self._runner.hooks.take_loop()
        self._side = SideThreads(self._loop)
        self._thread: threading.Thread | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        #: Cancelled because their hooks hung; they may not even have noticed.
        self._left_behind: set[asyncio.Task[None]] = set()
        self._is_busy = False
        self._is_closing = False

    def start(self) -> None:
        self._is_busy = True
        try:
            self._side.add()
            self._thread = start_thread(self._run, self._count, name="hook-loop")
        except OutOfResources:
            self._is_busy = False
            self._loop.close()
            raise
        for _ in range(1, min(_SIDE_THREADS, self._count)):
            self._side.add()

    def _grow(self, more: int) -> None:
        for _ in range(more):
            self._loop.call_soon_threadsafe(self._add_if_busy)

    def is_busy(self) -> bool:
        return self._is_busy

    def at_fault(self, idle: list[FileTask]) -> list[FileTask]:
        """Those that are idle after a turn of the loop, or else the one that blocks it."""
        if not idle or self._do_in_loop(lambda: None):
            return idle
        running = asyncio.current_task(self._loop)
        return [task for task in idle if running is not None and task.hook_task is running]

    def replace(self, task: FileTask) -> bool:
        if task.hook_task is None:
            self._side.add()
        is_swapped = self._do_in_loop(lambda: self._swap(task.slot))
        self._is_busy = self._is_busy and is_swapped
        return is_swapped

    def close(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            self._is_closing = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=1)
        self._side.close()

    def _run(self, count: int) -> None:
        asyncio.set_event_loop(self._loop)
        for _ in range(count):
            self._add()
        while not self._is_closing:  # a hook may have stopped the loop
            self._see_through(self._loop.run_forever)
        tasks = asyncio.all_tasks(self._loop)  # those that hooks have left behind as well
        for task in tasks:
            task.cancel()
        ended = asyncio.gather(*tasks, return_exceptions=True)
        self._see_through(lambda: self._loop.run_until_complete(ended))
        self._loop.close()

    def _see_through(self, run: Callable[[], object]) -> None:
        """Run the loop to its end, whatever tasks of a hook's own raise through it.

        Those that raise SystemExit or KeyboardInterrupt do; whoever awaits them gets it as well.
        """
        while True:
            try:
                run()
            except BaseException as exc:  # noqa: BLE001 - of a task that a hook made
                logger.debug("a task of a hook's own raised %s through the loop", kind_of(exc))
            else:
                return

    def _add(self) -> None:
        slot = next(self._slots)
        self._tasks[slot] = self._loop.create_task(self._work(slot))

    def _add_if_busy(self) -> None:
        if self._tasks:
            self._add()

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
            await self._take_files(slot)
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # noqa: BLE001 - the run is told, and raises it
            self._on_trouble(exc)
        finally:
            self._tasks.pop(slot, None)
            if not self._tasks:
                self._is_busy = False
                self._on_idle()

    async def _take_files(self, slot: int) -> None:
        opened = await self._side.run(self._open_next, slot)
        while opened is not None:
            opened = await self._side.run(self._close_and_open_next, *await self._through(*opened))

    async def _through(
        self, task: FileTask, data: Any, error: BaseException | None
    ) -> tuple[FileTask, Any, BaseException | None]:
        """Run the hook of an open file, and return what came of it."""
        task.file_calls.go_on()
        result = None
        if error is None:
            result, error = await self._apart(task, data)
        task.file_calls.rest()
        return task, result, error

    async def _apart(self, task: FileTask, data: Any) -> tuple[Any, BaseException | None]:
        """Run the hook in a task of its own: one that cancels the task it runs in ends alone."""
        hook = self._loop.create_task(self._process(task, data))
        try:
            return await hook
        except asyncio.CancelledError as exc:
            if not hook.cancelled() or task.file_calls.is_abandoned:
                raise
            return None, exc

    async def _process(self, task: FileTask, data: Any) -> tuple[Any, BaseException | None]:
        current_file_calls.set(task.file_calls)
        task.file_calls.loop = self._loop
        task.thread_id, task.hook_task = threading.get_ident(), asyncio.current_task()
        try:
            return await self._runner.hooks.process_data(data), None
        except BaseException as exc:  # noqa: BLE001 - becomes the file's failure
            return None, exc
        finally:
            task.hook_task = None

    def _open_next(self, slot: int) -> _Opened | None:
        due = None if self._is_surplus() else self._queue.take()
        return None if due is None else self._open(slot, due)

    def _open(self, slot: int, due: Any) -> _Opened:
        task = self._runner.begin(slot, due, alone=self._queue.is_alone)
        token = current_file_calls.set(task.file_calls)
        try:
            return task, self._runner.read(task), None
        except BaseException as exc:  # noqa: BLE001 - becomes the file's failure
            return task, None, exc
        finally:
            current_file_calls.reset(token)
            task.file_calls.rest()

    def _close_and_open_next(
        self, task: FileTask, result: Any, error: BaseException | None
    ) -> _Opened | None:
        self._close(task, result, error)
        return None if task.file_calls.is_abandoned else self._open_next(task.slot)

    def _close(self, task: FileTask, result: Any, error: BaseException | None) -> None:
        task.thread_id = threading.get_ident()
        task.file_calls.go_on()
        token = current_file_calls.set(task.file_calls)
        try:
            if error is None and not task.file_calls.is_abandoned:
                self._runner.write(task, result)
        except BaseException as exc:  # noqa: BLE001 - becomes the file's failure
            error = exc
        finally:
            current_file_calls.reset(token)
            self._runner.finish(task, error)


class SideThreads:
    """Runs blocking work for one event loop on daemon threads, which a hung hook cannot keep.

    A thread ends when it takes None from the queue.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._calls = LoopCalls(loop)
        self._count = 0
        self._tasks: queues.SimpleQueue[Any] = queues.SimpleQueue()

    def add(self) -> None:
        """Start one more thread, because a hook holds another one perhaps; one there must be."""
        try:
            start_thread(self._work, name=f"file-side-{self._count}")
        except OutOfResources:
            if not self._count:
                raise
        else:
            self._count += 1

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
