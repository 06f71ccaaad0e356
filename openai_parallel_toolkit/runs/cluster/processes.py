"""Start worker processes, listen to them and send what they ask for."""

from __future__ import annotations

import asyncio
import logging
import os
import queue as queues
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TextIO

from ...calls.open_runs import OpenRun, outside_files
from ...calls.run_context import RunContext, SubmittedCall
from ...calls.sender import Sender
from ...core.errors import UsageError
from ...core.filesystem import as_toolkit_error
from ...core.logs import logger_of
from ...core.threads import start_thread
from ...files.plan import DueFile
from ..folder_session import FolderSession
from ..hook_runner import FileTask
from ..hooks import Hooks
from ..options import RunOptions
from .link import Link
from .messages import (
    AllDone,
    CallAsked,
    Came,
    Logged,
    Pass,
    Setup,
    Waits,
    WorkerReady,
    WorkerRefused,
)
from .packing import packed_hooks

logger = logger_of(__name__)

_SIGNALS = {getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)}
#: How a worker begins; its arguments are the head's search path and the number of its socket.
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; "
    "from openai_parallel_toolkit.runs.cluster.child import main; main({fd})"
)
#: Workers that may die one after the other before any has come to work.
_MOST_FALSE_STARTS = 3
#: Seconds that a worker has to end in good order.
_END_S = 2.0


@dataclass(eq=False)
class Lent:
    """A file in the hands of a worker. What is in flight is counted on the loop's thread alone."""

    task: FileTask
    due: DueFile
    in_flight: int = 0
    #: Answers that its hooks have gained since it was lent.
    gained: int = 0
    #: Called when nothing is in flight any more; None: nobody waits for that.
    on_settled: Callable[[], object] | None = None


@dataclass(eq=False)
class WorkerProcess:
    """A worker as the head sees it."""

    number: int
    process: subprocess.Popen[str]
    link: Link
    #: By file id; changed by the thread alone that lends.
    lent: dict[int, Lent] = field(default_factory=dict)
    is_ready: bool = False
    is_lost: bool = False
    #: Whether the head has ended it itself.
    is_killed: bool = False
    #: Whether it was seen to be dead while something held its connection open: a fork of its own.
    is_seen_dead: bool = False
    #: That pass its prints on.
    threads: tuple[threading.Thread, ...] = ()

    def kill(self) -> None:
        """End it at once; what it has lent is due again."""
        self.is_killed = True
        self.process.kill()

    def how(self) -> str:
        """Return how it ended, in words; see to it that it has."""
        try:
            code = self.process.wait(_END_S)
        except subprocess.TimeoutExpired:  # it has closed its connection, and lives
            self.process.kill()
            code = self.process.wait()
        if code >= 0:
            return f"exit status {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"


class WorkerPool:
    """The worker processes of one run.

    What they say of files is done in turn on one thread, `do`; what they ask for is sent from the
    sender's loop, on whose thread their connections are.
    """

    def __init__(
        self, options: RunOptions, hooks: Hooks, session: FolderSession, sender: Sender, most: int
    ) -> None:
        """Prepare at most so many workers; none is started yet.

        Raises:
            UsageError: the hooks cannot reach another process.
        """
        self._session = session
        self._sender = sender
        self._run = OpenRun(sender, session.context)
        self.size = min(most, options.workers or os.cpu_count() or 1)
        self._setup = Setup(
            toolkit=packed_hooks(hooks, session.keys.redactor),
            version=hooks.version,
            layout=session.layout,
            state_folder=session.state_folder,
            prices=session.prices,
            policy=session.context.policy,
            renews=options.retry_failed,
            files_each=1,
            log_levels=_log_levels(),
        )
        self.workers: list[WorkerProcess] = []
        #: Gets what is said of files; set by who lends.
        self.hear: Callable[[WorkerProcess, Any], object] = lambda *_: None
        #: Told of each worker that is lost, and once it is ready.
        self.on_change: Callable[[WorkerProcess], object] = lambda _: None
        self.on_trouble: Callable[[BaseException], object] = lambda _: None
        self._numbers = iter(range(1, sys.maxsize))
        self._false_starts = 0
        self._connecting: set[asyncio.Task[Any]] = set()
        self._actions: queues.SimpleQueue[Callable[[], object] | None] = queues.SimpleQueue()
        self._thread = start_thread(self._act, name="lender")

    def do(self, action: Callable[[], object]) -> None:
        """Have something done in its turn; any thread may."""
        self._actions.put(action)

    def on_loop(self, action: Callable[..., object], *args: Any) -> None:
        """Have something done on the thread of the connections."""
        self._sender.calls.soon(action, *args)

    def _act(self) -> None:
        while (action := self._actions.get()) is not None:
            try:
                action()
            except BaseException as exc:  # noqa: BLE001 - the run is told, and raises it
                self.on_trouble(exc)

    # Starting and ending

    def start(self, count: int, files_each: int) -> None:
        """Have so many workers, by starting those that are missing; the thread of the run does."""
        self.workers = [one for one in self.workers if not one.is_lost]
        self._setup = self._setup._replace(files_each=files_each)
        while len(self.workers) < count:
            try:
                self.workers.append(self._start())
            except OSError as exc:
                if self.workers:
                    logger.warning("%d workers: no more could be started: %s", count, exc)
                    return
                raise as_toolkit_error(exc, sys.executable) from exc

    def look(self) -> None:
        """Find workers that died and left their connection to a process that they had forked."""
        for worker in self.workers:
            if not worker.is_lost and worker.process.poll() is not None:
                if worker.is_seen_dead:
                    self.on_loop(worker.link.close)
                worker.is_seen_dead = True

    def _start(self) -> WorkerProcess:
        ours, theirs = socket.socketpair()
        fd = theirs.fileno()
        program = _PROGRAM.format(path=[path or os.getcwd() for path in sys.path], fd=fd)
        with theirs, _signals_held():
            process = subprocess.Popen(  # noqa: S603 - this Python, and our own program
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="backslashreplace",
                env=self._environment(),
                pass_fds=[fd],
            )
        link = Link(
            self._sender.calls,
            lambda message: self._heard(worker, message),
            lambda: self.do(partial(self._lost, worker)),
        )
        worker = WorkerProcess(next(self._numbers), process, link)
        worker.threads = tuple(
            start_thread(self._pass_prints, worker, name, name=f"prints-{worker.number}")
            for name in ("stdout", "stderr")
        )
        link.tell(self._setup)
        self.on_loop(self._connect, link, ours)
        return worker

    def _connect(self, link: Link, sock: socket.socket) -> None:
        loop = self._sender.calls.loop
        connecting = loop.create_task(loop.connect_accepted_socket(lambda: link, sock))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)

    def _environment(self) -> dict[str, str]:
        """Return this process's environment without what holds a key."""
        finds = self._session.keys.redactor.finds_in
        kept = {name: value for name, value in os.environ.items() if not finds(value)}
        return {**kept, "PYTHONUNBUFFERED": "1"}

    def close(self) -> None:
        """End all workers, in good order those that have nothing in hand."""
        self.on_change = lambda _: None
        for worker in self.workers:
            if worker.lent or not worker.is_ready:
                worker.kill()
            worker.link.tell(AllDone())
        for worker in self.workers:
            try:
                worker.process.wait(_END_S)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.process.wait()
            self.on_loop(worker.link.close)
            for thread in worker.threads:  # what was printed last
                thread.join(_END_S)
        self._actions.put(None)
        self._thread.join()

    def _lost(self, worker: WorkerProcess) -> None:
        worker.is_lost = True
        if not (worker.is_ready or worker.is_killed):
            self._false_starts += 1
            if self._false_starts >= _MOST_FALSE_STARTS:
                self.on_trouble(
                    UsageError(f"workers die while they start ({worker.how()}); see what they said")
                )
        self.on_change(worker)

    # What workers say

    def _heard(self, worker: WorkerProcess, message: Any) -> None:
        if isinstance(message, CallAsked):
            self._ask(worker, message)
        elif isinstance(message, Pass):
            deliver = partial(self._answer, worker, message.number, None)
            context = self._session.context
            self._submit(deliver, self._sender.pass_on, message.exchange, context)
        elif isinstance(message, Waits):
            lent = worker.lent.get(message.file_id)
            if lent is not None:
                calls = lent.task.file_calls
                (calls.rest if message.is_waiting else calls.go_on)()
        elif isinstance(message, Logged):
            self.do(partial(_log, message))
        elif isinstance(message, WorkerRefused):
            self.on_trouble(UsageError(message.words))
        elif isinstance(message, WorkerReady):
            self._false_starts, worker.is_ready = 0, True
            self.do(lambda: self.on_change(worker))
        else:
            self.do(partial(self.hear, worker, message))

    def _ask(self, worker: WorkerProcess, ask: CallAsked) -> None:
        lent = worker.lent.get(ask.id.file_id)
        context = self._context_of(ask)
        if lent is not None:
            lent.in_flight += 1
        deliver = partial(self._answer, worker, ask.number, lent)
        call = SubmittedCall(request=ask.request, id=ask.id, context=context)
        self._submit(deliver, self._sender.submit, call)

    def _context_of(self, ask: CallAsked) -> RunContext:
        context = self._session.context
        if not ask.id.file_id:
            self._run.admit_untracked()
            context = outside_files(self._sender.untracked_context, self._sender)
        return context if ask.policy is None else replace(context, policy=ask.policy)

    def _submit(
        self, deliver: Callable[[Any], object], submit: Callable[..., object], *args: Any
    ) -> None:
        try:
            submit(*args, deliver)
        except Exception as exc:  # noqa: BLE001 - told to who asked
            deliver(exc)

    def _answer(self, worker: WorkerProcess, number: int, lent: Lent | None, came: Any) -> None:
        if lent is not None:
            lent.in_flight -= 1
            try:
                # What stops the run stops it here.
                lent.task.file_calls.received(came, self._session.context.budget)
                lent.gained += 1
            except BaseException as exc:  # noqa: BLE001 - raised where it was asked
                came = exc
            if not lent.in_flight and lent.on_settled is not None:
                lent.on_settled()
        if not worker.is_lost:
            worker.link.tell(Came(number, came))

    def when_settled(self, lent: Lent, act: Callable[[], object]) -> None:
        """Have something done in its turn once all is answered that was asked for a file."""

        def look() -> None:
            if lent.in_flight:
                lent.on_settled = lambda: self.do(act)
            else:
                self.do(act)

        self.on_loop(look)

    def _pass_prints(self, worker: WorkerProcess, name: str) -> None:
        pipe = getattr(worker.process, name)
        with pipe, suppress(ValueError):
            for line in pipe:
                self.do(partial(_print, name, line))


def _print(name: str, line: str) -> None:
    stream: TextIO | None = getattr(sys, name)
    if stream is not None:
        with suppress(OSError, ValueError):
            stream.write(line)
            stream.flush()


def _log(message: Logged) -> None:
    record = logging.makeLogRecord(dict(message.record))
    logging.getLogger(record.name).handle(record)


def _log_levels() -> dict[str, int]:
    loggers = logging.root.manager.loggerDict.items()
    own = {name: one.level for name, one in loggers if isinstance(one, logging.Logger)}
    return {"": logging.root.level, **{name: level for name, level in own.items() if level}}


@contextmanager
def _signals_held() -> Iterator[None]:
    """Have what is started in the block get no stop signal before it heeds none."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
