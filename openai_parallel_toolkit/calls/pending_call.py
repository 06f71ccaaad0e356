"""Where a call is asked, and its tries until the answer is good: what all ways of asking share."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import queue
from dataclasses import dataclass
from typing import Any

from ..core.errors import HookUnwound, IncompleteAnswer, InvalidAnswer, UsageError
from ..core.records import CallId, Reply, Request
from ..keys import APIKeyManager, default_manager, manager_of
from ..transport import Transport
from .call_cache import CallCache
from .file_calls import FileCalls, current_file_calls
from .models import OpenAIModel, PayloadModel, request_of
from .open_runs import OpenRun, outside_files
from .own_generate import AskingThread, FreshThread
from .run_context import Deliver, RunContext, SubmittedCall
from .sender import Sender


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPolicy:
    """Which answers are good."""

    allow_incomplete: bool = False
    #: How often an answer that is not valid is asked for again.
    max_validation_retries: int = 2


class PendingCall:
    """One call on its way to a good answer."""

    def __init__(self, model: OpenAIModel, request: Request, call_id: CallId) -> None:
        self.model = model
        self.request = request
        #: Of the try that is to be asked now.
        self.id = call_id
        #: What the model makes of the answer that was accepted.
        self.value: Any = None
        #: Answers that were not valid.
        self._invalid = 0

    def accepts(self, reply: Reply, policy: AnswerPolicy) -> bool:
        """Take an answer; False: another try is to be asked.

        That is where it is not valid, or was unusable already when an earlier run met it.
        """
        try:
            self.value = self.model._read(reply, allow_incomplete=policy.allow_incomplete)
        except InvalidAnswer:
            self._invalid += 1
            if self._invalid > policy.max_validation_retries:
                raise
        except IncompleteAnswer:
            if reply.is_whole or not reply.is_earlier:
                raise
        else:
            return True
        self.next_try()
        return False

    def next_try(self) -> None:
        """Turn to the next try of the same call."""
        self.id = dataclasses.replace(self.id, attempt_try=self.id.attempt_try + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """Where calls are asked: for a file, for a journal of their own, or for neither."""

    file_calls: FileCalls
    run_context: RunContext
    sender: Sender

    @classmethod
    def find(
        cls,
        keys: APIKeyManager | None,
        config_path: str | None,
        max_retries: int | None,
        journal: str | os.PathLike[str] | None,
    ) -> CallContext:
        """Return where the code that runs now asks; see `request_openai_api`."""
        if keys is None and config_path is not None:
            keys = manager_of(config_path)
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

    def pending(self, model: OpenAIModel) -> PendingCall:
        """Return the call that a model describes, with its identity."""
        request = request_of(model)
        return PendingCall(model, request, self.file_calls.identify(request))

    def ask(self, call: PendingCall) -> Reply:
        """Return the reply to a call, blocking; a `generate` runs on this thread."""
        self.file_calls.refuse_on_own_loop("arequest_openai_api")
        replayed = self._replay(call)
        if replayed is not None:
            return replayed
        transport = None
        if not isinstance(call.model, PayloadModel):
            transport = AskingThread(call.model, self.sender.openai_module)
        answered: queue.SimpleQueue[Reply | BaseException] = queue.SimpleQueue()
        with self.file_calls.in_call():
            self._submit(call, transport.deliver if transport else answered.put, transport)
            result = transport.wait() if transport else answered.get()
        return self.received(result)

    async def ask_async(self, call: PendingCall) -> Reply:
        """Return the reply to a call without blocking the event loop."""
        replayed = self._replay(call)
        if replayed is not None:
            return replayed
        future, deliver = self.sender.loop_calls_to(asyncio.get_running_loop()).future()
        with self.file_calls.in_call():
            self._submit(call, deliver, self._transport(call))
            result = await future
        return self.received(result)

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
            self._submit(call, deliver, self._transport(call))

    def received(self, result: Reply | BaseException) -> Reply:
        """Hand on the reply, or raise what came instead; see `FileCalls.received`."""
        return self.file_calls.received(result, self.run_context.budget)

    def _replay(self, call: PendingCall) -> Reply | None:
        """Return the kept answer to a call; one to be bought anew is passed over."""
        while True:
            reply = self.file_calls.replay(call.id, call.request)
            is_bad = reply is not None and reply.is_earlier and not reply.is_whole
            if not (is_bad and self.file_calls.renews):
                return reply
            call.next_try()

    def _submit(self, call: PendingCall, deliver: Deliver, transport: Transport | None) -> None:
        submitted = SubmittedCall(
            request=call.request, id=call.id, context=self.run_context, transport=transport
        )
        self.sender.submit(submitted, deliver)

    def _transport(self, call: PendingCall) -> FreshThread | None:
        """Return what sends a call while nobody waits; None: the sender's own transport."""
        if isinstance(call.model, PayloadModel):
            return None
        return FreshThread(call.model, self.sender.openai_module)


def pending_call(
    model: OpenAIModel,
    keys: APIKeyManager | None,
    config_path: str | None,
    max_retries: int | None,
    journal: str | os.PathLike[str] | None,
) -> tuple[CallContext, PendingCall]:
    """Return one call and where it is asked; see `request_openai_api`."""
    if not isinstance(model, OpenAIModel):
        raise UsageError(
            f"expected a model such as Gpt35Turbo(content=...), got {type(model).__name__}"
        )
    call_context = CallContext.find(keys, config_path, max_retries, journal)
    return call_context, call_context.pending(model)


def _outside(keys: APIKeyManager | None, journal: str | os.PathLike[str] | None) -> FileCalls:
    newest = OpenRun.newest()
    sender = newest.sender if newest and keys is None else Sender.of(keys or default_manager())
    if journal is not None:
        return CallCache.of(sender, journal).file_calls
    run = OpenRun.newest(sender)
    if run is not None and run.sender.keys is sender.keys:
        run.admit_untracked()
    return FileCalls(sender=sender, context=sender.untracked_context)
