"""One run of one file's hooks: gives its calls their identity and replays what was answered."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ..core.clock import Clock, SystemClock
from ..core.errors import (
    BudgetExceeded,
    ConfigError,
    HookUnwound,
    NotAnsweredYet,
    NoUsableKey,
    RunStopping,
    StorageError,
    UsageError,
)
from ..core.records import CallId, RawReply, Reply, Request
from ..costs.budget import Budget
from ..files.match import Layout
from ..journal import AnswerRecord
from .responses import read_answer, read_raw
from .run_context import RunContext
from .submitter import CallSubmitter
from .usage import served

#: What comes of what was asked: a reply, read or as it came.
Came = TypeVar("Came", Reply, RawReply)
#: What a file's calls were answered, by (hash, k, try).
Answers = Mapping[tuple[str, int, int], AnswerRecord]
#: The calls of the file that the running code works on; None: it works on no file.
current_file_calls: ContextVar[FileCalls | None] = ContextVar("current_file_calls", default=None)


@dataclass(kw_only=True, eq=False)
class FileCalls:
    """Gives a file's calls their identity, and its hooks what came of them.

    One lock guards the counters; hooks may ask from several threads at a time.
    """

    sender: CallSubmitter
    context: RunContext
    file_id: int = 0
    #: The input that the hooks work on; "": the calls belong to no file.
    path: str = ""
    #: Where inputs and outputs lie; None: it is no file of a folder.
    layout: Layout | None = None
    #: What the journal held for the file when this began.
    answers: Answers = field(default_factory=dict)
    #: Tells whether an earlier run met the answer of an attempt; all that have a number did.
    is_earlier: Callable[[int], bool] = bool
    #: Returns what a call without an answer raises, or None where it may be sent; None: it may.
    absent: Callable[[CallId, Request], BaseException | None] | None = None
    #: Whether nothing is sent, whatever it is.
    is_dry: bool = False
    #: Whether unusable answers of earlier runs are asked for again whoever would take them.
    renews: bool = False
    #: Told True when the hooks start to wait in a call, False when none does.
    on_call: Callable[[bool], None] | None = None
    clock: Clock = field(default_factory=SystemClock)
    #: Names of common files and the lines that the hooks add to them.
    appended: list[tuple[str, str]] = field(default_factory=list)
    #: Whether a call was taken down: then whatever the hooks return is thrown away.
    is_unwound: bool = False
    #: Whether the run has given these hooks up; they may ask for nothing more.
    is_abandoned: bool = False
    #: The event loop that the async hooks run on; None: the hooks are blocking.
    loop: asyncio.AbstractEventLoop | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._open_calls = 0
        self._moved_s = self.clock.now_s()

    @property
    def idle_since_s(self) -> float | None:
        """Clock time since when the hooks work on their own; None: they wait in a call."""
        with self._lock:
            return None if self._open_calls else self._moved_s

    def identify(self, request: Request) -> CallId:
        """Give the next call for `request` its identity; order of asking decides k."""
        former = None
        with self._lock:
            k = self._count(request.hash)
            if request.former_hash and self.answers:
                former = request.former_hash, self._count(request.former_hash)
        return CallId(file_id=self.file_id, hash=request.hash, k=k, former=former)

    def _count(self, hash: str) -> int:
        k = self._asked[hash]
        self._asked[hash] = k + 1
        return k

    def replay(self, call_id: CallId, request: Request) -> Reply | None:
        """Return the journaled answer as a reply; None: there is none, and it may be asked for."""
        reply = self._kept(call_id, request)
        if reply is not None:
            return reply
        if self.is_abandoned:
            raise self._unwind(RunStopping())
        if self.absent is not None:
            error = self.absent(call_id, request)
            if error is not None:
                raise self._unwind(error) if isinstance(error, HookUnwound) else error
        return None

    def is_kept(self, call_id: CallId) -> bool:
        """Return whether the journal held an answer to a call when this began."""
        return self._stored(call_id) is not None

    def admit_exchange(self) -> None:
        """Raise where what is no call may not be sent either."""
        if self.is_abandoned:
            raise self._unwind(RunStopping())
        if self.is_dry:
            raise self._unwind(NotAnsweredYet())

    def _stored(self, call_id: CallId) -> AnswerRecord | None:
        stored = self.answers.get((call_id.hash, call_id.k, call_id.attempt_try))
        if stored is None and call_id.former is not None:
            stored = self.answers.get((*call_id.former, call_id.attempt_try))
        return stored

    def _kept(self, call_id: CallId, request: Request) -> Reply | None:
        stored = self._stored(call_id)
        if stored is None:
            return None
        body = stored.body()
        raw = read_raw(request.path, body, stored.headers)
        if raw is None:
            return None
        reply = read_answer(request.path, raw, clean=self.sender.keys.redactor.clean)
        if reply is None:
            return None
        self.context.tally.replayed()
        usage = served(reply.usage if reply.usage.prompt_tokens else None, request.service_tier)
        return replace(
            reply,
            model=reply.model or request.model,
            cost_usd=self.context.prices.cost_usd(request.model, usage),
            body=body,
            headers=stored.headers,
            is_replay=True,
            is_earlier=self.is_earlier(stored.attempt_id),
        )

    def asked(self) -> Mapping[str, int]:
        """Return how often each request was asked for, by its hash."""
        with self._lock:
            return dict(self._asked)

    def has_asked(self, mark: bytes) -> bool:
        """Return whether a request whose hash begins with these bytes was asked for."""
        beginning = mark.hex()
        with self._lock:
            return any(hash.startswith(beginning) for hash in self._asked)

    def received(self, result: Came | BaseException, budget: Budget | None) -> Came:
        """Hand on a reply, or raise what came instead of one.

        In a file's hooks, what stops the whole run stops it now and unwinds the hooks, so that a
        hook which catches exceptions does not write an output without its answers.

        Args:
            budget: what it was asked under; another than the run's does not stop the run.
        """
        if isinstance(result, BaseException):
            raise self._translated(result, budget)
        if self.is_abandoned:
            raise self._unwind(RunStopping())
        return result

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
            self._moved_s = self.clock.now_s()
            is_edge = self._open_calls == (1 if change > 0 else 0)
        # Whoever is told may be gone when these hooks were given up.
        on_call = self.on_call
        if is_edge and on_call is not None and not self.is_abandoned:
            on_call(change > 0)

    def _translated(self, error: BaseException, budget: Budget | None) -> BaseException:
        stops_run = (
            isinstance(error, (ConfigError, StorageError))
            or (isinstance(error, BudgetExceeded) and budget is self.context.budget)
            or (isinstance(error, NoUsableKey) and not self.sender.keys.has_usable())
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
        if self.loop is None:
            return
        running = None
        with suppress(RuntimeError):  # no loop runs on this thread
            running = asyncio.get_running_loop()
        if running is self.loop:
            raise UsageError(
                "a blocking call inside an async hook would stop every other hook; "
                f"use `await {instead}(...)` there"
            )
