"""Ask one model a whole list of prompts: messages in, answers out, in the same order."""

from __future__ import annotations

import json
import logging
import os
import queue
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from types import TracebackType
from typing import Any

from ..calls.attempts import Policy
from ..calls.file_calls import Asked, FileCalls, current_file_calls
from ..calls.models import ChatModel, request_of
from ..calls.rate_limiter import RateLimitedSender
from ..calls.run_context import RunContext
from ..calls.sender import Call
from ..calls.stop_token import StopToken
from ..core.clock import Clock
from ..core.errors import (
    BudgetExceeded,
    ConfigError,
    InvalidAnswer,
    NoUsableKey,
    RequestFailed,
    RunStopping,
    ToolkitError,
)
from ..core.records import CallId, Request
from ..costs.budget import Budget
from ..keys import APIKeyManager, close_unless_default
from ..keys.config import load_settings
from ..keys.config.keys import GivenKey
from ..runs.progress import is_watched, open_bar
from ..transport import Transport

logger = logging.getLogger(__name__)

#: Connections that a process can have without touching its usual limit of open files.
_MOST_WORKERS = 500
_MOST_JSON_ANSWERS = 3
_LOOK_EVERY_S = 1.0

Messages = Sequence[Mapping[str, Any]]


class APIRequester:
    """Asks one model many prompts in parallel, on Azure unless told otherwise.

    One instance is one allowance: all its calls, from any thread, share `rate_limit`,
    `token_rate_limit` and `budget`. In the hooks of a toolkit its answers are kept for the file.
    """

    def __init__(
        self,
        model_name: str,
        temperature: float | None = None,
        max_tokens: int | None = None,
        rate_limit: float | None = None,
        *,
        burst: int | None = None,
        token_rate_limit: float | None = None,
        max_workers: int | None = None,
        budget: Decimal | float | str | None = None,
        json_output: bool = False,
        max_retries: int = 5,
        progress: bool = True,
        azure: bool = True,
        keys: APIKeyManager | Sequence[GivenKey] | None = None,
        config_path: str | os.PathLike[str] | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
        **parameters: Any,
    ) -> None:
        """Load the keys; nothing is sent yet.

        Args:
            model_name: the model; on Azure the deployment, where the key names none.
            temperature, max_tokens: None: the provider's default.
            rate_limit: requests a minute, over all keys together, re-sends included; the allowance
                refills evenly. None: no limit but those of the keys.
            burst: requests that may start at once; None: one minute's worth.
            token_rate_limit: tokens a minute, prompt and longest answer (4,096 without
                `max_tokens`); None: no limit.
            max_workers: requests under way at a time; None: `rate_limit`, and at most 500.
            budget: USD for this instance; then no more is sent. None: no limit.
            json_output: return the parsed answer; one that is not JSON is asked again, twice.
            max_retries: re-sends of a request after a server error.
            progress: draw a bar, on a terminal or in a notebook.
            azure: take Azure's key when the environment has one for Azure and one for OpenAI;
                False: OpenAI's.
            keys: the keys to use; None: those of the config or the environment.
            config_path: a config.json; None: the environment, `.env`, or ./config.json.
            transport: what sends; None: HTTP.
            clock: None: the system's.
            parameters: passed on as they are: top_p, stop, seed, response_format, ...

        Raises:
            ConfigError: a key is missing, a setting is wrong, or a budget has no price to go by.
        """
        positive = (rate_limit, burst, token_rate_limit, max_workers)
        if any(value is not None and value <= 0 for value in positive):
            raise ConfigError("rate_limit, burst, token_rate_limit, max_workers must be above 0")
        self.model_name = model_name
        self.parameters = {"temperature": temperature, "max_tokens": max_tokens, **parameters}
        self.max_workers = max_workers or min(_MOST_WORKERS, int(rate_limit or _MOST_WORKERS) or 1)
        self.json_output = json_output
        self.progress = progress
        self._policy = Policy(max_retries=max_retries)
        self._budget = None if budget is None else Budget(Decimal(str(budget)))
        self._owns_keys = not isinstance(keys, APIKeyManager)
        if not isinstance(keys, APIKeyManager):
            settings = load_settings(config_path, api_keys=keys, azure_first=azure)
            keys = APIKeyManager(settings=settings, clock=clock)
        self._keys = keys
        self._sender = RateLimitedSender(
            keys,
            rate_limit=rate_limit,
            burst=burst,
            token_rate_limit=token_rate_limit,
            transport=transport,
            clock=clock,
        )
        self._sender.untracked_context.prices.look_up(
            model_name
        )  # not while the first answers are awaited

    def get_responses_parallel(self, message_sequences: Sequence[Messages]) -> list[dict[str, Any]]:
        """Ask every list of messages; return {"input": ..., "content": ...} for each, in order.

        "input" is the text of the last user message. "content" is the answer's text, stripped;
        what `handle_retry_error` returned where there is none; None where the budget did not reach.

        Raises:
            UsageError: a list of messages cannot be sent; nothing was sent.
        """
        contents = self._answered(message_sequences)
        return [
            {"input": _last_user_text(messages), "content": content}
            for messages, content in zip(message_sequences, contents, strict=True)
        ]

    def get_response(self, messages: Messages) -> Any:
        """Ask one list of messages and return its "content", see `get_responses_parallel`."""
        return self._answered([messages])[0]

    def handle_retry_error(self, error: ToolkitError) -> Any:
        """Return the content for a prompt that failed for good; override it. Here: None.

        Args:
            error: a RequestFailed, or NoUsableKey. Raise it to stop the whole list.
        """
        del error

    def close(self) -> None:
        """Close the connections; the end of a `with` block does the same."""
        self._sender.close()
        if self._owns_keys:
            close_unless_default(self._keys)

    def __enter__(self) -> APIRequester:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answered(self, message_sequences: Sequence[Messages]) -> list[Any]:
        models = [ChatModel(self.model_name, m, **self.parameters) for m in message_sequences]
        requests = [request_of(model) for model in models]
        prices = self._sender.untracked_context.prices
        if self._budget and any(prices.max_cost_usd(request) is None for request in requests):
            raise ConfigError(f"budget: give the price of {self.model_name} in the config's prices")
        return _Round(self, requests).run()

    def _context(self, file_calls: FileCalls | None) -> RunContext:
        """Return what the calls of one list share: in hooks, the run's journal, gate and budget."""
        context = (
            replace(self._sender.untracked_context, stop=StopToken())
            if not file_calls
            else file_calls.context
        )
        return replace(context, policy=self._policy, budget=context.budget or self._budget)


#: Other names for the same.
APIRequestor = APIPlayer = APIRequester


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ask:
    """One prompt of a list."""

    position: int
    request: Request
    id: CallId


class _Round:
    """One list of prompts on its way; used by the thread that asks alone."""

    def __init__(self, owner: APIRequester, requests: Sequence[Request]) -> None:
        self._owner = owner
        self._sender = owner._sender
        file_calls = current_file_calls.get()
        self._context = owner._context(file_calls)
        self._file_calls = file_calls or FileCalls(sender=self._sender, context=self._context)
        self._todo = deque(
            _Ask(position=n, request=request, id=self._file_calls.identify(request))
            for n, request in enumerate(requests)
        )
        self._under_way = 0
        self._arrived: queue.SimpleQueue[tuple[_Ask, Any]] = queue.SimpleQueue()
        self._contents: list[Any] = [None] * len(requests)
        self._errors: list[ToolkitError] = []

    def run(self) -> list[Any]:
        """Return the contents in the order of the requests."""
        self._file_calls.refuse_on_own_loop("asyncio.to_thread")
        bar = self._open_bar()
        try:
            with self._file_calls.in_call():
                while self._todo or self._under_way:
                    self._send()
                    self._take(bar)
        except BaseException:
            if not self._file_calls.path:
                self._context.stop.close(RunStopping())
            raise
        finally:
            if bar is not None:
                bar.close()
        self._tell_errors()
        return self._contents

    def _open_bar(self) -> Any:
        if not (self._owner.progress and len(self._todo) > 1 and is_watched()):
            return None
        return open_bar(self._owner.model_name, total=len(self._todo), unit="prompt")

    def _send(self) -> None:
        while self._todo and self._under_way < self._owner.max_workers:
            ask = self._todo.popleft()
            self._under_way += 1
            replayed = self._file_calls.replay(ask.id, ask.request)
            if replayed is None:
                self._sender.submit(self._call(ask))
            else:
                self._arrived.put((ask, replayed))

    def _call(self, ask: _Ask) -> Call:
        def deliver(result: Any) -> None:
            self._arrived.put((ask, result))

        return Call(request=ask.request, id=ask.id, context=self._context, deliver=deliver)

    def _take(self, bar: Any) -> None:
        """Take in one answer, or what came instead."""
        try:
            ask, result = self._arrived.get(timeout=_LOOK_EVERY_S)
        except queue.Empty:
            if bar is not None:
                bar.set_postfix_str(self._why_waiting())
            return
        self._under_way -= 1
        try:
            text = self._text(result)
        except (RequestFailed, NoUsableKey, BudgetExceeded) as exc:
            if isinstance(exc, NoUsableKey) and self._file_calls.path:
                raise  # the file fails, and a later run asks again
            self._give_up(ask, exc)
        else:
            self._accept(ask, text)
        if bar is not None:
            bar.update(len(self._contents) - len(self._todo) - self._under_way - bar.n)

    def _accept(self, ask: _Ask, text: str) -> None:
        try:
            self._contents[ask.position] = json.loads(text) if self._owner.json_output else text
        except (ValueError, RecursionError) as exc:
            answers = ask.id.attempt_try + 1
            if answers < _MOST_JSON_ANSWERS:
                self._todo.appendleft(replace(ask, id=replace(ask.id, attempt_try=answers)))
            else:
                self._give_up(ask, _not_json(text, exc))

    def _text(self, result: Any) -> str:
        if isinstance(result, BudgetExceeded) and self._context.budget is self._owner._budget:
            raise result  # of this list alone: it does not stop a toolkit's run
        asked = result if isinstance(result, Asked) else self._file_calls.received(result)
        return asked.answer.text.strip()

    def _give_up(self, ask: _Ask, error: ToolkitError) -> None:
        self._errors.append(error)
        if not isinstance(error, BudgetExceeded):
            self._contents[ask.position] = self._owner.handle_retry_error(error)

    def _why_waiting(self) -> str:
        waits = self._sender.keys.waiting_on()
        if waits is not None:
            return f"waiting: {waits.reason}"
        return "waiting: rate_limit" if self._sender.holds_back() else "waiting: answers"

    def _tell_errors(self) -> None:
        if self._errors:
            logger.warning(
                "%d of %d prompts got no answer; the first: %s",
                len(self._errors),
                len(self._contents),
                self._errors[0],
                extra={"action": "prompts_failed"},
            )


def _not_json(text: str, cause: Exception) -> InvalidAnswer:
    return InvalidAnswer(
        f"no answer of {_MOST_JSON_ANSWERS} was JSON; ask for it in the prompt, or give "
        'response_format={"type": "json_object"}',
        text=text,
        reason=str(cause),
        attempts=_MOST_JSON_ANSWERS,
    )


def _last_user_text(messages: Messages) -> str:
    """Return the text of the last message of the user; "" when there is none."""
    said = [message.get("content") for message in messages if message.get("role") == "user"]
    content = said[-1] if said else ""
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))
