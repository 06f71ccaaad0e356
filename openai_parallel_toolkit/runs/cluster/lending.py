"""Keep files under way in worker processes: lend them, take back what came of them."""

from __future__ import annotations

import heapq
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

from ...core.logs import logger_of
from ...core.records import FailureNote
from ...core.text import counted
from ...files.plan import DueFile
from ..file_task import FileRunner
from ..hook_failure import HookFailure
from ..hook_runner import FileTask
from ..workers import FileQueue, Workers
from .messages import Failed, Is, Lend, Resize, Staged, WhereIs
from .processes import Lent, WorkerPool, WorkerProcess

logger = logger_of(__name__)

#: Seconds that a worker has to tell where a hook is.
_TELL_S = 1.0
#: Times that a file may be there when its worker is killed with nothing else running: a kill may
#: be somebody's who wants the memory, or just kills.
_MOST_KILLS = 2


class Suspects:
    """Files that may have killed a worker, and those that did."""

    def __init__(self, runner: FileRunner) -> None:
        self._runner = runner
        self._kills: Counter[str] = Counter()
        #: To be run alone.
        self.found: list[DueFile] = []

    def add(self, task: FileTask) -> None:
        """Have a file run alone: it was in its own code when its worker died."""
        self._runner.suspect(task)
        self.found.append(DueFile(task.path, is_known=True))

    def judge(self, task: FileTask, how: str) -> None:
        """Put a file aside whose worker died while nothing else ran."""
        self._kills[task.path] += 1
        if how == signal.SIGKILL.name and self._kills[task.path] < _MOST_KILLS:
            self.add(task)
            return
        note = FailureNote(
            kind="ProcessDied",
            message=f"its worker process died ({how}) while this file's hooks ran, the last time "
            "with nothing else running; mend the hook or the file, then use retry_failed "
            "(--retry-failed)",
        )
        self._runner.put_aside(task, note)

    def take(self) -> list[DueFile]:
        """Return those that are to be run alone, once."""
        found, self.found = self.found, []
        return found


class LendingWorkers(Workers):
    """Keeps `count` files under way in each worker of a pool.

    All state is changed on the pool's thread alone, in turn; others may look.
    """

    def __init__(
        self,
        queue: FileQueue,
        runner: FileRunner,
        count: int,
        on_idle: Callable[[], None],
        on_trouble: Callable[[BaseException], None],
        *,
        pool: WorkerPool,
        suspects: Suspects,
    ) -> None:
        super().__init__(queue, runner, count, on_idle, on_trouble)
        self._files = runner
        self._pool = pool
        self._suspects = suspects
        self._size = 1 if queue.is_alone else pool.size
        #: Files that were lent to workers which died, and are due again.
        self._again: deque[DueFile] = deque()
        #: Those that will be once their answers are in.
        self._settling = 0
        self._lent = 0
        self._is_exhausted = False
        self._slot_count = 0
        self._free_slots: list[int] = []
        #: By file id, who waits to hear where its hooks are.
        self._where: dict[int, Callable[[str], object]] = {}

    def start(self) -> None:
        pool = self._pool
        pool.hear, pool.on_change, pool.on_trouble = self._heard, self._changed, self._on_trouble
        pool.start(self._size, self._count)
        self._grow(0)

    def _grow(self, more: int) -> None:
        del more
        for worker in self._pool.workers:
            worker.link.tell(Resize(self._count))
        self._pool.do(self._fill)

    def resize(self, count: int) -> None:
        self._count = count
        self._grow(0)

    def is_busy(self) -> bool:
        self._pool.look()
        is_busy = self._has_work()
        if is_busy and any(worker.is_lost for worker in self._pool.workers):
            self._pool.start(self._size, self._count)
        return is_busy

    def at_fault(self, idle: list[FileTask]) -> list[FileTask]:
        """All of them: no thread keeps others from running."""
        return idle

    def replace(self, task: FileTask) -> bool:
        """End the worker whose hook hangs: what else it has in hand is due again."""
        worker = self._holder(task)
        if worker is not None:
            worker.kill()
        return True

    def close(self) -> None:
        for worker in self._pool.workers:
            if worker.lent:
                worker.kill()

    def stack_of(self, task: FileTask) -> str:
        """Return where the hooks of a file are; "": their worker does not tell."""
        worker, file_id = self._holder(task), task.file_calls.file_id
        if worker is None:
            return ""
        is_told, told = threading.Event(), list[str]()

        def take(stack: str) -> None:
            told.append(stack)
            is_told.set()

        self._where[file_id] = take
        worker.link.tell(WhereIs(file_id))
        is_told.wait(_TELL_S)
        self._where.pop(file_id, None)
        return "".join(told)

    def _holder(self, task: FileTask) -> WorkerProcess | None:
        file_id = task.file_calls.file_id
        return next((one for one in self._pool.workers if file_id in one.lent), None)

    # On the pool's thread

    def _fill(self) -> None:
        """Lend as many files as there is room for, where there is most of it first."""
        open_ones = [one for one in self._pool.workers if one.is_ready and not one.is_lost]
        room = [(len(one.lent), one.number, one) for one in open_ones[: self._size]]
        heapq.heapify(room)
        while room:
            lent, number, worker = heapq.heappop(room)
            if lent >= (1 if self._queue.is_alone else self._count):
                break
            due = self._next()
            if due is None:
                break
            self._lend(worker, due)
            heapq.heappush(room, (lent + 1, number, worker))
        if not self._has_work():
            self._on_idle()

    def _has_work(self) -> bool:
        return not self._is_exhausted or bool(self._again or self._settling or self._lent)

    def _next(self) -> DueFile | None:
        if self._again:
            if not self._files.is_stopped():
                return self._again.popleft()
            self._again.clear()
        due: DueFile | None = None if self._is_exhausted else self._queue.take()
        self._is_exhausted = due is None
        return due

    def _lend(self, worker: WorkerProcess, due: DueFile) -> None:
        if not self._free_slots:
            self._free_slots.append(self._slot_count)
            self._slot_count += 1
        task = self._files.begin(self._free_slots.pop(), due, alone=self._queue.is_alone)
        file_calls, staged = task.file_calls, self._files.stage(task)
        self._lent += 1
        worker.lent[file_calls.file_id] = Lent(task, due)
        worker.link.tell(
            Lend(
                file_id=file_calls.file_id,
                path=due.path,
                staged=staged.lent(),
                answers=file_calls.answers,
                earlier=frozenset(
                    kept.attempt_id
                    for kept in file_calls.answers.values()
                    if file_calls.is_earlier(kept.attempt_id)
                ),
            )
        )

    def _heard(self, worker: WorkerProcess, message: Any) -> None:
        if isinstance(message, Is):
            if message.file_id in self._where:
                self._where.pop(message.file_id)(message.stack)
            return
        lent = self._given_back(worker, message.file_id)
        if lent is not None:
            self._files.context.tally.replayed(message.replayed)
            if isinstance(message, Staged):
                self._publish(lent.task, message)
            elif isinstance(message, Failed):
                self._fail(lent.task, message.failure)
        self._fill()

    def _given_back(self, worker: WorkerProcess, file_id: int) -> Lent | None:
        lent = worker.lent.pop(file_id, None)
        if lent is not None:
            self._lent -= 1
            self._free_slots.append(lent.task.slot)
        return lent

    def _publish(self, task: FileTask, message: Staged) -> None:
        task.signature, task.outputs = message.signature, message.outputs
        task.file_calls.appended = message.appended
        task.file_calls.is_unwound |= message.is_unwound
        if task.staged is not None:
            task.staged.take_back(is_flat=message.is_flat)
        error: BaseException | None = None
        try:
            self._files.publish(task)
        except Exception as exc:  # noqa: BLE001 - it fails the file, or stops the run
            error = exc
        self._files.finish(task, error)

    def _fail(self, task: FileTask, failure: HookFailure | None) -> None:
        if task.file_calls.is_unwound:
            failure = None
        self._files.end(task, None if failure is None else failure.cleaned(self._files.clean))

    def _changed(self, worker: WorkerProcess) -> None:
        if worker.is_lost:
            self._take_back(worker)
        self._fill()
        self._on_idle()

    def _take_back(self, worker: WorkerProcess) -> None:
        """Have all that a dead worker had in hand done again, without what it may have died of."""
        lost, how, is_own = list(worker.lent), worker.how(), not worker.is_killed
        if is_own and not self._files.is_stopped():
            files = counted(len(lost), "file")
            logger.warning("a worker process died (%s); %s due again", how, files)
        for file_id in lost:
            lent = self._given_back(worker, file_id)
            if lent is None:
                continue
            in_own_code = lent.task.file_calls.idle_since_s is not None
            if not self._files.take_back(lent.task) or self._files.is_stopped():
                continue
            if is_own and self._queue.is_alone:
                self._suspects.judge(lent.task, how)
            elif is_own and in_own_code and not lent.gained:
                self._suspects.add(lent.task)
            else:
                self._settling += 1
                self._pool.when_settled(lent, partial(self._due_again, lent.task.path))

    def _due_again(self, path: str) -> None:
        self._settling -= 1
        self._again.append(DueFile(path, is_known=True))
        self._fill()
