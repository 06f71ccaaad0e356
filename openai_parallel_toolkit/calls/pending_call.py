"""Where a call goes, and its tries until the answer is good: what all ways of asking share."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from ..core.errors import InvalidAnswer, UsageError
from ..core.records import CallId, Reply, Request
from ..keys import APIKeyManager, default_manager, manager_of
from .call_cache import CallCache
from .file_calls import Asked, FileCalls, current_file_calls
from .models import OpenAIModel, PayloadModel, request_of
from .own_generate import AskingThread, FreshThread
from .run_context import RunContext
from .sender import Sender


class PendingCall:
    """One call on its way to a good answer."""

    def __init__(self, model: OpenAIModel, request: Request, call_id: CallId) -> None:
        self.model = model
        self.request = request
        #: Of the try that is to be asked now.
        self.id = call_id
        #: What the model makes of the answer that was accepted.
        self.value: Any = None

    def accepts(self, reply: Reply, rules: AnswerPolicy) -> bool:
        """Take an answer; False: it is not valid, and another try is to be asked.

        Raises:
            IncompleteAnswer: it was cut short, filtered, refused or is empty.
            InvalidAnswer: it is not valid, and neither were those before it.
        """
        try:
            self.value = self.model._read(reply, allow_incomplete=rules.allow_incomplete)
        except InvalidAnswer:
            if self.id.attempt_try >= rules.max_validation_retries:
                raise
            self.id = dataclasses.replace(self.id, attempt_try=self.id.attempt_try + 1)
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPolicy:
    """Which answers are good."""

    allow_incomplete: bool
    max_validation_retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """Where calls are asked: for a file, for a journal of their own, or for neither."""

    file_calls: FileCalls
    context: RunContext
    sender: Sender

    @classmethod
    def find(
        cls,
        keys: APIKeyManager | None,
        config_path: str | None,
        max_retries: int | None,
        journal: str | os.PathLike[str] | None,
    ) -> CallContext:
        """Return the place of the code that runs now; see `request_openai_api`."""
        if keys is None and config_path is not None:
            keys = manager_of(config_path)
        file_calls = current_file_calls.get() or _outside(keys, journal)
        context = file_calls.context
        if max_retries is not None and max_retries != context.policy.max_retries:
            policy = dataclasses.replace(context.policy, max_retries=max_retries)
            context = dataclasses.replace(context, policy=policy)
        sender = file_calls.sender if keys is None else Sender.of(keys)
        return cls(file_calls=file_calls, context=context, sender=sender)

    def order(self, model: OpenAIModel) -> PendingCall:
        """Return the call that a model describes, with its identity.

        Raises:
            UsageError: it cannot be sent.
        """
        request = request_of(model)
        return PendingCall(model, request, self.file_calls.identify(request))

    def ask(self, order: PendingCall) -> Reply:
        """Return the reply to an order, blocking; a `generate` runs on this thread."""
        model, waiter = order.model, None
        if not isinstance(model, PayloadModel):
            waiter = AskingThread(model, self.sender.openai_module)
        return self.reply(
            order, self.file_calls.ask(order.id, order.request, self.context, self.sender, waiter)
        )

    async def ask_async(self, order: PendingCall) -> Reply:
        """Return the reply to an order without blocking the event loop."""
        asked = await self.file_calls.ask_async(
            order.id, order.request, self.context, self.sender, self.transport(order)
        )
        return self.reply(order, asked)

    def transport(self, order: PendingCall) -> FreshThread | None:
        """Return what sends an order while nobody waits; None: the sender's own transport."""
        if isinstance(order.model, PayloadModel):
            return None
        return FreshThread(order.model, self.sender.openai_module)

    def reply(self, order: PendingCall, asked: Asked) -> Reply:
        """Return an answer as users see it."""
        answer, model = asked.answer, order.request.model
        return Reply(
            text=answer.text,
            finish_reason=answer.finish_reason,
            usage=answer.usage,
            cost_usd=self.context.prices.cost_usd(model, answer.usage),
            model=answer.model or model,
            raw=answer.raw,
            is_replay=asked.is_replay,
        )


def take_order(
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
    place = CallContext.find(keys, config_path, max_retries, journal)
    return place, place.order(model)


def _outside(keys: APIKeyManager | None, journal: str | os.PathLike[str] | None) -> FileCalls:
    sender = Sender.of(keys or default_manager())
    if journal is not None:
        return CallCache.of(sender, journal).file_calls
    sender.warn_if_untracked()
    return FileCalls(sender=sender, context=sender.untracked_context)
