"""Where a call goes, and its tries until the answer is good: what all ways of asking share."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from ..core.errors import InvalidAnswer, UsageError
from ..core.records import CallId, Reply, Request
from ..keys import APIKeyManager, default_manager, manager_of
from .call_cache import KeptCalls
from .file_calls import Asked, Execution, current_execution
from .models import OpenAIModel, PayloadModel, request_of
from .own_generate import AskingThread, FreshThread
from .run_context import Scope
from .sender import LiveLane


class Order:
    """One call on its way to a good answer."""

    def __init__(self, model: OpenAIModel, request: Request, call_id: CallId) -> None:
        self.model = model
        self.request = request
        #: Of the try that is to be asked now.
        self.id = call_id
        #: What the model makes of the answer that was accepted.
        self.value: Any = None

    def accepts(self, reply: Reply, rules: Rules) -> bool:
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
class Rules:
    """Which answers are good."""

    allow_incomplete: bool
    max_validation_retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where calls are asked: for a file, for a journal of their own, or for neither."""

    execution: Execution
    scope: Scope
    lane: LiveLane

    @classmethod
    def find(
        cls,
        keys: APIKeyManager | None,
        config_path: str | None,
        max_retries: int | None,
        journal: str | os.PathLike[str] | None,
    ) -> Place:
        """Return the place of the code that runs now; see `request_openai_api`."""
        if keys is None and config_path is not None:
            keys = manager_of(config_path)
        execution = current_execution.get() or _outside(keys, journal)
        scope = execution.scope
        if max_retries is not None and max_retries != scope.policy.max_retries:
            policy = dataclasses.replace(scope.policy, max_retries=max_retries)
            scope = dataclasses.replace(scope, policy=policy)
        lane = execution.lane if keys is None else LiveLane.of(keys)
        return cls(execution=execution, scope=scope, lane=lane)

    def order(self, model: OpenAIModel) -> Order:
        """Return the call that a model describes, with its identity.

        Raises:
            UsageError: it cannot be sent.
        """
        request = request_of(model)
        return Order(model, request, self.execution.identify(request))

    def ask(self, order: Order) -> Reply:
        """Return the reply to an order, blocking; a `generate` runs on this thread."""
        model, waiter = order.model, None
        if not isinstance(model, PayloadModel):
            waiter = AskingThread(model, self.lane.openai_module)
        return self.reply(
            order, self.execution.ask(order.id, order.request, self.scope, self.lane, waiter)
        )

    async def ask_async(self, order: Order) -> Reply:
        """Return the reply to an order without blocking the event loop."""
        asked = await self.execution.ask_async(
            order.id, order.request, self.scope, self.lane, self.transport(order)
        )
        return self.reply(order, asked)

    def transport(self, order: Order) -> FreshThread | None:
        """Return what sends an order while nobody waits; None: the lane's own transport."""
        if isinstance(order.model, PayloadModel):
            return None
        return FreshThread(order.model, self.lane.openai_module)

    def reply(self, order: Order, asked: Asked) -> Reply:
        """Return an answer as users see it."""
        answer, model = asked.answer, order.request.model
        return Reply(
            text=answer.text,
            finish_reason=answer.finish_reason,
            usage=answer.usage,
            cost_usd=self.scope.prices.cost_usd(model, answer.usage),
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
) -> tuple[Place, Order]:
    """Return one call and where it is asked; see `request_openai_api`."""
    if not isinstance(model, OpenAIModel):
        raise UsageError(
            f"expected a model such as Gpt35Turbo(content=...), got {type(model).__name__}"
        )
    place = Place.find(keys, config_path, max_retries, journal)
    return place, place.order(model)


def _outside(keys: APIKeyManager | None, journal: str | os.PathLike[str] | None) -> Execution:
    lane = LiveLane.of(keys or default_manager())
    if journal is not None:
        return KeptCalls.of(lane, journal).execution
    lane.warn_if_loose()
    return Execution(lane=lane, scope=lane.loose_scope)
