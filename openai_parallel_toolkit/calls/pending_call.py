"""Where a call is asked, and its tries until the answer is good: what all ways of asking share."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..core.errors import (
    HookUnwound,
    IncompleteAnswer,
    InvalidAnswer,
    RunStopping,
    UsageError,
)
from ..core.records import CallId, RawReply, Reply, Request
from ..keys import APIKeyManager, default_manager, manager_of
from ..keys.config.keys import GivenKey
from ..transport.base import HttpExchange
from .call_cache import CallCache
from .file_calls import Came, FileCalls, current_file_calls
from .models import PayloadModel, request_of
from .open_runs import OpenRun, outside_files
from .refusals import Clean
from .responses import may_grow
from .run_context import Deliver, RunContext, SubmittedCall
from .sender import Sender
from .submitter import CallSubmitter
from .turns import Arrivals

Keys = APIKeyManager | Sequence[GivenKey]
_current: ContextVar[CallContext | None] = ContextVar("current_call_context", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPolicy:
    """Which answers are good."""

    allow_incomplete: bool = False
    #: How often an answer that is not valid is asked for again.
    max_validation_retries: int = 2


@dataclass
class PendingCall:
    """One call on its way to an answer."""

    request: Request
    #: Of the try that is to be asked now.
    id: CallId

    def next_try(self) -> None:
        """Turn to the next try of the same call."""
        self.id = dataclasses.replace(self.id, attempt_try=self.id.attempt_try + 1)


@dataclass
class ModelCall(PendingCall):
    """A call that a model describes, on its way to a good answer."""

    context: CallContext
    model: PayloadModel
    #: What the model makes of the answer that was accepted.
    value: Any = None
    #: Answers that were not valid.
    invalid: int = 0

    def ask(self) -> Reply:
        """Return the reply, blocking."""
        return self.context.ask(self)

    async def ask_async(self) -> Reply:
        """Return the reply without blocking the event loop."""
        return await self.context.ask_async(self)

    def start(self, deliver: Deliver) -> None:
        """Have `deliver` get what comes of it, now or later, and return."""
        self.context.start(self, deliver)

    def accepts(self, reply: Reply, policy: AnswerPolicy) -> bool:
        """Take an answer; False: another try is to be asked.

        That is where it is not valid, or was unusable already when an earlier run met it.
        """
        try:
            self.value = self.model._read(reply, allow_incomplete=policy.allow_incomplete)
        except InvalidAnswer:
            self.invalid += 1
            if self.invalid > policy.max_validation_retries:
                raise
        except IncompleteAnswer:
            if reply.is_whole or not reply.is_earlier:
                raise
        else:
            return True
        self.next_try()
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """Where calls are asked: for a file, for a journal of their own, or for neither."""

    file_calls: FileCalls
    run_context: RunContext
    sender: CallSubmitter

    @classmethod
    def find(
        cls,
        keys: Keys | None,
        config_path: str | None,
        max_retries: int | None,
        journal: str | os.PathLike[str] | None,
    ) -> CallContext:
        """Return where the code that runs now asks; see `request_openai_api`."""
        given = _current.get()
        if given is not None and (keys, config_path, max_retries, journal) == (None,) * 4:
            return given
        if not isinstance(keys, APIKeyManager):
            keys = None if keys is None and config_path is None else manager_of(config_path, keys)
        file_calls = current_file_calls.get()
        if file_calls is None:
            file_calls = _outside(keys, journal)
            run_context = outside_files(file_calls.context, file_calls.sender)
        else:
            run_context = file_calls.context
        if max_retries is not None and max_retries != run_context.policy.max_retries:
            policy = dataclasses.replace(run_context.policy, max_retries=max_retries)
            run_context = dataclasses.replace(run_context, policy=policy)
        sender = file_calls.sender if keys is None else Sender.of(keys)
        return cls(file_calls=file_calls, run_context=run_context, sender=sender)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Have what the block asks without naming keys or a journal be asked here."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    @property
    def clean(self) -> Clean:
        """Takes the keys out of a text."""
        return self.sender.keys.redactor.clean

    def pending(self, request: Request) -> PendingCall:
        """Return the call that a request makes, with its identity."""
        return PendingCall(request, self.file_calls.identify(request))

    def model_call(self, model: PayloadModel) -> ModelCall:
        """Return the call that a model describes, with its identity."""
        request = request_of(model)
        return ModelCall(request, self.file_calls.identify(request), self, model)

    def ask(self, call: PendingCall) -> Reply:
        """Return the reply to a call, blocking."""
        self.file_calls.refuse_on_own_loop("arequest_openai_api")
        return self._replay(call) or self._wait(partial(self._submit, call))

    async def ask_async(self, call: PendingCall) -> Reply:
        """Return the reply to a call without blocking the event loop."""
        return self._replay(call) or await self.wait_async(partial(self._submit, call))

    def start(self, call: PendingCall, deliver: Deliver) -> None:
        """Have `deliver` get what comes of a call, now or later, and return."""
        try:
            replayed = self._replay(call)
        except (Exception, HookUnwound) as exc:  # noqa: BLE001 - told like any other end
            deliver(exc)
            return
        if replayed is not None:
            deliver(replayed)
        else:
            self._submit(call, deliver)

    def send(self, asked: Request | HttpExchange) -> Reply | RawReply:
        """Return the reply to what a client of the user's own sends, blocking."""
        if isinstance(asked, Request):
            return self.ask(self.pending(asked))
        self.file_calls.refuse_on_own_loop("the async client")
        reply: RawReply = self._wait(partial(self._pass_on, asked))
        return reply

    async def send_async(self, asked: Request | HttpExchange) -> Reply | RawReply:
        """Do what `send` does without blocking the event loop."""
        if isinstance(asked, Request):
            return await self.ask_async(self.pending(asked))
        reply: RawReply = await self.wait_async(partial(self._pass_on, asked))
        return reply

    async def wait_async(self, begin: Callable[[Callable[[Any], object]], object]) -> Any:
        """Return what is delivered by what `begin` begins, without blocking the event loop."""
        future, deliver = self.sender.loop_calls_to(asyncio.get_running_loop()).future()
        with self.file_calls.in_call():
            begin(deliver)
            result = await future
        return self.received(result)

    def received(self, result: Came | BaseException) -> Came:
        """Hand on a reply, or raise what came instead; see `FileCalls.received`."""
        has_run = self.file_calls.path or self.run_context.stop.reason is not None
        if isinstance(result, RunStopping) and not has_run:
            raise UsageError(
                "the key manager was closed while an answer was on its way, which may be billed; "
                "make a new one"
            )
        return self.file_calls.received(result, self.run_context.budget)

    def _wait(self, begin: Callable[[Callable[[Any], object]], object]) -> Any:
        """Do what `wait_async` does, blocking."""
        ended: Arrivals[Any] = Arrivals(self.sender.turns)
        with self.file_calls.in_call():
            begin(ended.put)
            result = ended.get()
        return self.received(result)

    def _replay(self, call: PendingCall) -> Reply | None:
        """Return the kept answer to a call; one to be bought anew is passed over."""
        while True:
            reply = self.file_calls.replay(call.id, call.request)
            if reply is None or not reply.is_earlier or reply.is_whole:
                return reply
            bad, is_anew = call.id, self.file_calls.renews or may_grow(reply, call.request)
            call.next_try()
            if not (is_anew or self.file_calls.is_kept(call.id)):
                call.id = bad
                return reply

    def _pass_on(self, exchange: HttpExchange, deliver: Callable[[Any], object]) -> None:
        self.file_calls.admit_exchange()
        self.sender.pass_on(exchange, self.run_context, deliver)

    def _submit(self, call: PendingCall, deliver: Deliver) -> None:
        submitted = SubmittedCall(request=call.request, id=call.id, context=self.run_context)
        self.sender.submit(submitted, deliver)


def is_asked_here() -> bool:
    """Tell whether hooks, a run or a `generate` are at work that the code may ask for."""
    is_in_code = _current.get() is not None or current_file_calls.get() is not None
    return is_in_code or OpenRun.newest() is not None


def _outside(keys: APIKeyManager | None, journal: str | os.PathLike[str] | None) -> FileCalls:
    newest = OpenRun.newest()
    if newest is not None and newest.only_file is not None:
        return newest.only_file
    sender = newest.sender if newest and keys is None else Sender.of(keys or default_manager())
    if journal is not None:
        return CallCache.of(sender, journal).file_calls
    run = OpenRun.newest(sender)
    if run is not None and run.sender.keys is sender.keys:
        run.admit_untracked()
    return FileCalls(sender=sender, context=sender.untracked_context)
