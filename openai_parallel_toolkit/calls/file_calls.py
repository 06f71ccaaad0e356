"""One run of one file's hooks: counts its calls, replays what was answered, has the rest sent."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from ..core.clock import Clock, SystemClock
from ..core.errors import (
    BudgetExceeded,
    ConfigError,
    HookUnwound,
    NoUsableKey,
    RunStopping,
    StorageError,
    UsageError,
)
from ..core.records import CallId, Request
from ..transport import Transport
from .responses import Answer, parse_object, read_answer
from .run_context import RunContext
from .sender import Call, Sender


class StoredAnswer(Protocol):
    """An answer in the journal."""

    def body(self) -> bytes:
        """Return the reply's body as it came."""
        ...


#: What a file's calls were answered, by (hash, k, try).
Answers = Mapping[tuple[str, int, int], StoredAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An answer and where it came from."""

    answer: Answer
    is_replay: bool


#: The execution that the running code belongs to; None: it belongs to no file.
current_file_calls: ContextVar[FileCalls | None] = ContextVar("current_file_calls", default=None)


class FileCalls:
    """Gives a file's calls their identity and gets each answered once.

    One lock guards the counters; hooks may ask from several threads at a time.
    """

    def __init__(
        self,
        *,
        sender: Sender,
        context: RunContext,
        file_id: int = 0,
        path: str = "",
        answers: Answers | None = None,
        absent: Callable[[CallId, Request], BaseException] | None = None,
        on_call: Callable[[bool], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Start counting.

        Args:
            path: the input that the hooks work on; "": the calls belong to no file.
            answers: what the journal holds for the file, by (hash, k, try).
            absent: nothing is sent, and a call without an answer raises what this returns; None:
                such calls are sent.
            on_call: told True when the hooks start to wait in a call, False when none does.
        """
        self.sender = sender
        self.context = context
        self.file_id = file_id
        self.path = path
        #: Whether a call was taken down: then whatever the hooks return is thrown away.
        self.is_unwound = False
        #: Whether the run has given this execution up; it may ask for nothing more.
        self.is_abandoned = False
        #: The event loop that the async hooks run on; None: the hooks are blocking.
        self.loop: asyncio.AbstractEventLoop | None = None
        #: What the journal held for the file when this began.
        self.answers = answers or {}
        self._absent = absent
        self._on_call = on_call
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._open_calls = 0
        self._moved_s = self._clock.now_s()

    @property
    def idle_since_s(self) -> float | None:
        """Clock time since when the hooks work on their own; None: they wait in a call."""
        with self._lock:
            return None if self._open_calls else self._moved_s

    def identify(self, request: Request) -> CallId:
        """Give the next call for `request` its identity; order of asking decides k."""
        with self._lock:
            k = self._asked[request.hash]
            self._asked[request.hash] = k + 1
        return CallId(file_id=self.file_id, hash=request.hash, k=k)

    def replay(self, call_id: CallId, request: Request) -> Asked | None:
        """Return the journaled answer; None: there is none.

        Raises:
            NotAnsweredYet: there is none, and nothing may be sent now.
            RunStopping: this execution may ask for nothing more.
        """
        stored = self.answers.get((call_id.hash, call_id.k, call_id.attempt_try))
        raw = parse_object(stored.body()) if stored is not None else None
        answer = read_answer(request.path, raw) if raw is not None else None
        if answer is not None:
            self.context.tally.replayed()
            return Asked(answer=answer, is_replay=True)
        if self.is_abandoned:
            raise self._unwind(RunStopping())
        if self._absent is not None:
            error = self._absent(call_id, request)
            raise self._unwind(error) if isinstance(error, HookUnwound) else error
        return None

    def has_asked(self, mark: bytes) -> bool:
        """Return whether a request whose hash begins with these bytes was asked for."""
        beginning = mark.hex()
        with self._lock:
            return any(hash.startswith(beginning) for hash in self._asked)

    def ask(
        self,
        call_id: CallId,
        request: Request,
        context: RunContext,
        sender: Sender,
        waiter: Waiter | None = None,
    ) -> Asked:
        """Return the answer to `request`, blocking while it is sent and made durable."""
        self.refuse_on_own_loop("arequest_openai_api")
        replayed = self.replay(call_id, request)
        if replayed is not None:
            return replayed
        waiter = waiter or BlockingAnswer()
        call = Call(
            request=request,
            id=call_id,
            context=context,
            deliver=waiter.deliver,
            transport=waiter.transport,
        )
        with self.in_call():
            sender.submit(call)
            result = waiter.wait()
        return self.received(result)

    async def ask_async(
        self,
        call_id: CallId,
        request: Request,
        context: RunContext,
        sender: Sender,
        transport: Transport | None = None,
    ) -> Asked:
        """Return the answer to `request` without blocking the event loop.

        Args:
            transport: what sends it; None: the sender's own.
        """
        replayed = self.replay(call_id, request)
        if replayed is not None:
            return replayed
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer | BaseException] = loop.create_future()
        loop_calls = sender.loop_calls_to(loop)

        def deliver(result: Answer | BaseException) -> None:
            with contextlib.suppress(RuntimeError):  # the asker and its loop are gone
                loop_calls.post(_set_result, future, result)

        call = Call(
            request=request, id=call_id, context=context, deliver=deliver, transport=transport
        )
        with self.in_call():
            sender.submit(call)
            result = await future
        return self.received(result)

    def received(self, result: Answer | BaseException) -> Asked:
        """Hand on an answer, or raise what came instead of one.

        In a file's hooks, what stops the whole run closes its gate and unwinds the hooks, so that
        a hook which catches exceptions does not write an output without its answers.
        """
        if isinstance(result, BaseException):
            raise self._translated(result)
        if self.is_abandoned:
            raise self._unwind(RunStopping())
        return Asked(answer=result, is_replay=False)

    @contextmanager
    def in_call(self) -> Iterator[None]:
        """Mark that the hooks wait in a call, not in their own code."""
        self.rest()
        try:
            yield
        finally:
            self.go_on()

    def rest(self) -> None:
        """Mark that the hooks' own code does not run, until as many `go_on` have followed."""
        self._count_call(1)

    def go_on(self) -> None:
        """Mark that the hooks' own code runs again."""
        self._count_call(-1)

    def _count_call(self, change: int) -> None:
        with self._lock:
            self._open_calls += change
            self._moved_s = self._clock.now_s()
            is_edge = self._open_calls == (1 if change > 0 else 0)
        # Whoever is told may be gone when this execution was given up.
        if is_edge and self._on_call is not None and not self.is_abandoned:
            self._on_call(change > 0)

    def _translated(self, error: BaseException) -> BaseException:
        stops_run = isinstance(error, (BudgetExceeded, ConfigError, StorageError)) or (
            isinstance(error, NoUsableKey) and not self.sender.keys.has_usable()
        )
        if self.path and stops_run:
            self.context.stop.close(error)
            return self._unwind(RunStopping())
        return self._unwind(error) if isinstance(error, HookUnwound) else error

    def _unwind(self, error: BaseException) -> BaseException:
        self.is_unwound = True
        return error

    def refuse_on_own_loop(self, instead: str) -> None:
        """Raise UsageError where waiting would block the loop that the async hooks run on."""
        if self.loop is not None and _running_loop() is self.loop:
            raise UsageError(
                "a blocking call inside an async hook would stop every other hook; "
                f"use `await {instead}(...)` there"
            )


class Waiter(Protocol):
    """How a thread waits for its answer, and perhaps sends the request itself meanwhile."""

    @property
    def transport(self) -> Transport | None:
        """What sends the request; None: the sender's own."""
        ...

    def deliver(self, result: Answer | BaseException) -> None:
        """Hand over the result; once, from any thread."""
        ...

    def wait(self) -> Answer | BaseException:
        """Return the result when it is there."""
        ...


class BlockingAnswer:
    """Lets one thread wait for what another delivers, at the price of one lock."""

    __slots__ = ("_here", "_result")

    transport = None

    def __init__(self) -> None:
        self._here = threading.Lock()
        self._here.acquire()
        self._result: Any = None

    def deliver(self, result: Answer | BaseException) -> None:
        self._result = result
        self._here.release()

    def wait(self) -> Any:
        self._here.acquire()
        return self._result


def _set_result(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
