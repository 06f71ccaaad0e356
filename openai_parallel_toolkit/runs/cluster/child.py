"""A worker: takes files from the head, runs their hooks, and has the head send what they ask."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from ...calls import openai_import
from ...calls.file_calls import FileCalls
from ...calls.open_runs import OpenRun
from ...calls.run_context import Deliver, RunContext, SubmittedCall
from ...calls.submitter import CallSubmitter
from ...calls.turns import Arrivals, Turns
from ...core.clock import SystemClock
from ...core.describe import is_a
from ...core.errors import HookUnwound, RunStopping, ToolkitError
from ...core.logs import logger_of
from ...core.records import RawReply
from ...core.redaction import Redactor
from ...core.threads import start_thread
from ...costs.figures import Tally
from ...costs.prices import PriceBook
from ...files.run_folders import open_copies
from ...files.staging import StagedFolder
from ...keys.config.load import KEYS_ELSEWHERE
from ...transport.base import HttpExchange
from ..async_workers import AsyncWorkers
from ..hook_failure import failure_of
from ..hook_runner import FileTask, HookRunner, stack_of
from ..hooks import Hooks
from ..workers import ThreadWorkers, Workers
from .link import Link
from .messages import (
    AllDone,
    CallAsked,
    Came,
    Failed,
    Is,
    Lend,
    Logged,
    Pass,
    Resize,
    Setup,
    Staged,
    Waits,
    WhereIs,
    WorkerReady,
    WorkerRefused,
)
from .packing import unpacked_hooks

logger = logger_of(__name__)

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
#: prctl's option that names the signal for the death of the parent.
#: Source: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html (read 2026-11).
_PR_SET_PDEATHSIG = 1
#: Attributes of log records that mean nothing elsewhere.
_LEFT_OUT = {"args", "exc_info"}
_PLAIN = (str, int, float, bool, type(None))


class HeadKeys:
    """The keys as a worker knows them: it has none."""

    def __init__(self, prices: PriceBook) -> None:
        self.prices = prices
        self.redactor = Redactor()

    def has_usable(self) -> bool:
        """Return True: the head tells where no key is left."""
        return True


class HeadSubmitter(CallSubmitter):
    """Has the head send; what it keeps is touched on its loop's thread alone."""

    def __init__(self, sock: socket.socket) -> None:
        """Begin to listen to the head."""
        self._keys = HeadKeys(PriceBook({}))
        super().__init__(self._keys)
        #: What came before anybody listened.
        self._early: list[Any] = []
        self._listener: Callable[[Any], object] = self._early.append
        self._numbers = itertools.count()
        self._waiting: dict[int, Callable[[Any], object]] = {}
        self.link = Link(self.calls, self._hear, _leave)
        self._sock = sock
        self._is_setup = threading.Event()
        self.setup: Setup
        start_thread(self._run, name="sender")
        self._is_setup.wait()
        self.untracked_context = RunContext(prices=self.setup.prices)
        self._keys.prices = self.setup.prices

    @property
    def keys(self) -> HeadKeys:
        return self._keys

    def begin_run(self) -> None:
        """Nothing is to be done: the head knows."""

    def submit(self, call: SubmittedCall, deliver: Deliver) -> None:
        policy = call.context.policy
        told = None if policy == self.setup.policy else policy
        make = partial(CallAsked, id=call.id, request=call.request, policy=told)
        self.calls.soon(self._ask, make, deliver)

    def pass_on(
        self,
        exchange: HttpExchange,
        context: RunContext,
        deliver: Callable[[RawReply | BaseException], object],
    ) -> None:
        del context
        self.calls.soon(self._ask, partial(Pass, exchange=exchange), deliver)

    def _ask(self, make: Callable[[int], Any], deliver: Callable[[Any], object]) -> None:
        number = next(self._numbers)
        self._waiting[number] = deliver
        self.link.tell(make(number))

    def _hear(self, message: Any) -> None:
        if isinstance(message, Came):
            self._waiting.pop(message.number)(message.came)
        elif isinstance(message, Setup):
            self.setup = message
            self._is_setup.set()
        else:
            self._listener(message)

    def listen(self, listener: Callable[[Any], object]) -> None:
        """Have a listener told what else the head says, from its first word on."""

        def begin() -> None:
            self._listener = listener
            for message in self._early:
                listener(message)

        self.calls.soon(begin)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        connected = self._loop.connect_accepted_socket(lambda: self.link, self._sock)
        self._loop.run_until_complete(connected)
        self._loop.run_forever()


def _leave() -> None:
    """End with the head, whatever hooks do."""
    os._exit(1)


class LentFiles:
    """Files that the head has lent and no thread has taken yet; one lock guards all.

    `take` waits for one, giving the turn to others.
    """

    is_alone = False

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._lock = threading.Lock()
        self._ready: deque[Lend] = deque()
        self._waiting: list[Callable[[Lend], object]] = []

    def put(self, lend: Lend) -> None:
        """Hand a file to who waits, or keep it."""
        with self._lock:
            tell = self._waiting.pop() if self._waiting else self._ready.append
        tell(lend)

    def next(self, tell: Callable[[Lend], object]) -> None:
        """Have `tell` get the next file, now or later."""
        with self._lock:
            lend = self._ready.popleft() if self._ready else None
            if lend is None:
                self._waiting.append(tell)
        if lend is not None:
            tell(lend)

    def take(self) -> Lend:
        """Return the next file, once there is one."""
        arrived: Arrivals[Lend] = Arrivals(self._turns)
        self.next(arrived.put)
        return arrived.get()


class LentAsyncWorkers(AsyncWorkers):
    """Runs async hooks over lent files, which are waited for on the event loop."""

    async def _take_files(self, slot: int) -> None:
        calls = self._runner_calls()
        while not self._is_surplus():
            came, settle = calls.future()
            self._queue.next(settle)  # type: ignore[attr-defined]
            opened = await self._side.run(self._open, slot, await came)
            await self._side.run(self._close, *await self._through(*opened))

    def _runner_calls(self) -> Any:
        runner: Any = self._runner
        return runner.submitter.loop_calls_to(self._loop)


class LentRunner(HookRunner[Lend]):
    """Runs hooks over lent files, and tells the head what came of them."""

    def __init__(self, hooks: Hooks, submitter: HeadSubmitter, inputs: Any) -> None:
        super().__init__(hooks, submitter.turns, inputs)
        self.submitter = submitter
        self._tell = submitter.link.tell
        self._setup = submitter.setup
        self._clock = SystemClock()
        self._lent: dict[str, StagedFolder] = {}
        #: By file id, for who asks where they are.
        self.tasks: dict[int, FileTask] = {}

    def begin(self, slot: int, due: Lend, *, alone: bool = False) -> FileTask:
        del alone
        setup, tell, file_id = self._setup, self._tell, due.file_id
        context = replace(self.submitter.untracked_context, policy=setup.policy, tally=Tally())
        file_calls = FileCalls(
            sender=self.submitter,
            context=context,
            file_id=file_id,
            path=due.path,
            layout=setup.layout,
            answers=due.answers,
            is_earlier=due.earlier.__contains__,
            renews=setup.renews,
            on_call=lambda is_waiting: tell(Waits(file_id, is_waiting)),
            clock=self._clock,
        )
        task = FileTask(path=due.path, slot=slot, file_calls=file_calls, staged=due.staged)
        self.tasks[file_id] = task
        return task

    def _stage(self, task: FileTask) -> StagedFolder:
        assert task.staged is not None
        return task.staged

    def _hand_over(self, task: FileTask) -> None:
        if task.file_calls.is_unwound:
            raise RunStopping

    def finish(self, task: FileTask, error: BaseException | None) -> None:
        calls, staged = task.file_calls, task.staged
        calls.on_call = None
        replayed = calls.context.tally.figures().replayed
        self.tasks.pop(calls.file_id, None)
        if error is None and staged is not None:
            told = (task.signature, task.outputs, staged.is_flat, calls.appended, replayed)
            self._tell(Staged(calls.file_id, *told, is_unwound=calls.is_unwound))
            return
        failure = None
        if not (error is None or calls.is_unwound or is_a(error, HookUnwound)):
            clean = self.submitter.keys.redactor.clean
            failure = failure_of(error, clean, self._setup.layout.output_root)
        self._tell(Failed(calls.file_id, failure, replayed))


class HeadHandler(logging.Handler):
    """Has log records written where the head's are."""

    def __init__(self, tell: Callable[[Any], object]) -> None:
        super().__init__()
        self._told_to = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, its text and traceback made."""
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        told = {
            name: value
            for name, value in vars(record).items()
            if name not in _LEFT_OUT and isinstance(value, _PLAIN)
        }
        self._told_to(Logged({**told, "msg": record.getMessage(), "args": None}))


def main(fd: int) -> None:
    """Work for the head at the other end of an inherited socket, until it is done or gone."""
    _heed_the_head_alone()
    submitter = HeadSubmitter(socket.socket(fileno=fd))
    setup, tell = submitter.setup, submitter.link.tell
    ended = threading.Event()
    try:
        _take_over_logs(setup, tell)
        hooks = unpacked_hooks(setup.toolkit)
        openai_import.make_durable()
        with (
            open_copies(setup.layout, setup.state_folder) as inputs,
            OpenRun.opened(OpenRun(submitter, submitter.untracked_context)),
        ):
            runner = LentRunner(hooks, submitter, inputs)
            files = LentFiles(submitter.turns)
            kind = LentAsyncWorkers if hooks.is_async else ThreadWorkers
            # Files come no sooner than they are asked for, so nobody is idle for good.
            workers = kind(files, runner, setup.files_each, lambda: None, _break)
            workers.start()
            submitter.listen(partial(_hear, workers, files, runner, ended))
            tell(WorkerReady())
            ended.wait()
            _flush_prints()
    except ToolkitError as exc:
        tell(WorkerRefused(str(exc)))
        ended.wait(30)


def _hear(
    workers: Workers, files: LentFiles, runner: LentRunner, ended: threading.Event, message: Any
) -> None:
    if isinstance(message, Lend):
        files.put(message)
    elif isinstance(message, Resize):
        workers.resize(message.files_each)
    elif isinstance(message, WhereIs):
        task = runner.tasks.get(message.file_id)
        runner.submitter.link.tell(Is(message.file_id, "" if task is None else stack_of(task)))
    elif isinstance(message, AllDone):
        ended.set()


def _break(error: BaseException) -> None:
    """End: something went wrong outside of hooks."""
    logger.error("a worker ends", exc_info=error)
    os._exit(70)


def _heed_the_head_alone() -> None:
    """Leave stop signals, which may go to all processes of a terminal, to the head; end with it."""
    os.environ[KEYS_ELSEWHERE] = str(os.getpid())
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    for number in numbers:
        signal.signal(number, lambda *_: None)  # what hooks start does not ignore it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if sys.platform == "linux":
        import ctypes

        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            _leave()


def _take_over_logs(setup: Setup, tell: Callable[[Any], object]) -> None:
    for name, level in setup.log_levels.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger().addHandler(HeadHandler(tell))


def _flush_prints() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
