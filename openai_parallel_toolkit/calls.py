"""Ask a model: inside a hook, where the answer is kept for the file, or anywhere else."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .errors import IncompleteAnswer, RequestFailed, UsageError
from .execution import Asked, Execution, Waiter, current_execution
from .keys import APIKeyManager, default_manager, manager_of
from .live import LiveLane
from .models import OpenAIModel, PayloadModel, request_of
from .own_generate import AskingThread, FreshThread
from .records import Reply, Request
from .replies import Answer
from .scope import Scope

logger = logging.getLogger(__name__)

OnError = Literal["raise", "none"]
_CUT_SHORT = frozenset({"length", "content_filter", "incomplete"})


def request_openai_api(
    openai_model: OpenAIModel,
    keys: APIKeyManager | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    *,
    allow_incomplete: bool = False,
    on_error: OnError = "raise",
) -> Any:
    """Ask a model and return the text of its first choice, stripped.

    Args:
        openai_model: what to ask; for an OpenAIModel of your own, what its `generate` returns
            is returned.
        keys: the keys to use; None: those of the running toolkit, else the first
            APIKeyManager that was made, else those of the environment.
        config_path: a config file to take keys from; None: as `keys` says.
        max_retries: re-sends after a server error; None: the toolkit's setting, or 5.
        allow_incomplete: return an answer that was cut by its length limit or a content filter.
        on_error: "none" returns None where RequestFailed would be raised.

    Raises:
        IncompleteAnswer: the answer was cut short or is empty; `text` holds what came.
        RequestFailed: there is no usable answer; see its kin RequestRejected, OutcomeUnknown.
        NoUsableKey: every key is dropped.
    """
    try:
        reply = request_reply(openai_model, keys, config_path, max_retries)
        return text_of(reply, allow_incomplete=allow_incomplete)
    except RequestFailed:
        if on_error == "none":
            return None
        raise


async def arequest_openai_api(
    openai_model: OpenAIModel,
    keys: APIKeyManager | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    *,
    allow_incomplete: bool = False,
    on_error: OnError = "raise",
) -> Any:
    """Do what `request_openai_api` does without blocking the event loop."""
    try:
        reply = await arequest_reply(openai_model, keys, config_path, max_retries)
        return text_of(reply, allow_incomplete=allow_incomplete)
    except RequestFailed:
        if on_error == "none":
            return None
        raise


def request_reply(
    openai_model: OpenAIModel,
    keys: APIKeyManager | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
) -> Reply:
    """Ask a model and return the whole Reply, finish reason, usage and cost included.

    Arguments and errors are those of `request_openai_api`; an answer that was cut short is
    returned, with the cause in `finish_reason`.
    """
    order = _order(openai_model, keys, config_path, max_retries)
    waiter: Waiter | None = None
    if not isinstance(openai_model, PayloadModel):
        waiter = AskingThread(openai_model, order.lane.openai_module)
    asked = order.execution.ask(order.request, order.scope, order.lane, waiter)
    return _reply(asked, order)


async def arequest_reply(
    openai_model: OpenAIModel,
    keys: APIKeyManager | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
) -> Reply:
    """Do what `request_reply` does without blocking the event loop."""
    order = _order(openai_model, keys, config_path, max_retries)
    transport: FreshThread | None = None
    if not isinstance(openai_model, PayloadModel):
        transport = FreshThread(openai_model, order.lane.openai_module)
    asked = await order.execution.ask_async(order.request, order.scope, order.lane, transport)
    return _reply(asked, order)


def text_of(reply: Reply, *, allow_incomplete: bool) -> Any:
    """Return a reply's text, stripped, or raise IncompleteAnswer when it was cut short."""
    if "generated" in reply.raw and reply.finish_reason == "generated":
        value = reply.raw["generated"]
        return value.strip() if isinstance(value, str) else value
    text = reply.text.strip()
    is_whole = reply.finish_reason not in _CUT_SHORT and (text or _calls_tools(reply.raw))
    if is_whole or allow_incomplete:
        return text
    cause = reply.finish_reason if reply.finish_reason in _CUT_SHORT else "empty"
    raise IncompleteAnswer(
        f"the answer was cut short ({cause}) after {reply.usage.completion_tokens} tokens; raise "
        "its length limit, or pass allow_incomplete=True",
        text=reply.text,
        finish_reason=reply.finish_reason,
    )


def _calls_tools(raw: Mapping[str, Any]) -> bool:
    choices = raw.get("choices") or [{}]
    message = choices[0].get("message") or {}
    return bool(message.get("tool_calls") or message.get("function_call"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """A request with all that is needed to carry it out."""

    request: Request
    execution: Execution
    scope: Scope
    lane: LiveLane


def _order(
    model: OpenAIModel,
    keys: APIKeyManager | None,
    config_path: str | None,
    max_retries: int | None,
) -> _Order:
    if not isinstance(model, OpenAIModel):
        raise UsageError(
            f"expected a model such as Gpt35Turbo(content=...), got {type(model).__name__}"
        )
    request = request_of(model)
    execution = current_execution.get()
    if keys is None and config_path is not None:
        keys = manager_of(config_path)
    if execution is None:
        lane = LiveLane.of(keys or default_manager())
        lane.warn_if_loose()
        execution = Execution(lane=lane, scope=lane.loose_scope)
    lane = execution.lane if keys is None else LiveLane.of(keys)
    scope = execution.scope
    if max_retries is not None and max_retries != scope.policy.max_retries:
        policy = dataclasses.replace(scope.policy, max_retries=max_retries)
        scope = dataclasses.replace(scope, policy=policy)
    return _Order(request=request, execution=execution, scope=scope, lane=lane)


def _reply(asked: Asked, order: _Order) -> Reply:
    answer: Answer = asked.answer
    return Reply(
        text=answer.text,
        finish_reason=answer.finish_reason,
        usage=answer.usage,
        cost_usd=order.scope.prices.cost_usd(order.request.model, answer.usage),
        model=answer.model or order.request.model,
        raw=answer.raw,
        is_replay=asked.is_replay,
    )
