"""Ask one model a whole list of prompts: messages in, answers out, in the same order."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ..calls.admission import RateLimiter
from ..calls.attempts import Policy
from ..calls.call_list import ModelCalls
from ..calls.file_calls import FileCalls, current_file_calls
from ..calls.open_runs import outside_files
from ..calls.pending_call import AnswerPolicy, CallContext, ModelCall
from ..calls.run_context import StopToken
from ..calls.sender import Sender
from ..core.clock import Clock
from ..core.errors import (
    BudgetExceeded,
    ConfigError,
    HookUnwound,
    NoUsableKey,
    RequestFailed,
    RunStopping,
)
from ..costs.budget import Budget
from ..keys import APIKeyManager, close_unless_default
from ..keys.config import load_settings
from ..keys.config.keys import GivenKey
from ..runs.progress import is_watched, open_bar
from ..transport import Transport
from .listed_prompt import MOST_JSON_ANSWERS, JsonOutput, Messages, Prompt, last_user_text
from .request import CarryingPool

logger = logging.getLogger(__name__)

#: Connections that a process can have without touching its usual limit of open files.
_MOST_WORKERS = 500


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
        json_output: JsonOutput = None,
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
                "content": of {"content": ...} the value. None: so where the system prompt says
                "json" and shows that form, and then the service is told to answer in JSON; else
                the text.
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
        self.temperature, self.max_tokens = temperature, max_tokens
        self.parameters = parameters
        self._rate_limit = rate_limit
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
        self._limiter = RateLimiter(
            rate_limit=rate_limit, burst=burst, token_rate_limit=token_rate_limit, clock=clock
        )
        self._sender = Sender(keys, transport=transport, limiter=self._limiter, clock=clock)
        # Not while the first answers are awaited.
        self._sender.untracked_context.prices.load(model_name)

    @property
    def rate_limit(self) -> float | None:
        """Requests a minute; None: no limit but those of the keys."""
        return self._rate_limit

    def get_responses_parallel(self, message_sequences: Sequence[Messages]) -> list[dict[str, Any]]:
        """Ask every list of messages; return {"input": ..., "content": ...} for each, in order.

        "input" is the text of the last user message. "content" is the answer's text, stripped;
        what `handle_retry_error` returned where there is none; None where the budget did not reach.
        A subclass's own `get_response` is called for each, on threads.

        Raises:
            UsageError: a list of messages cannot be sent; nothing was sent.
        """
        is_own = getattr(self.get_response, "__func__", None) is not APIRequester.get_response
        contents = (self._called if is_own else self._answered)(message_sequences)
        return [
            {"input": last_user_text(messages), "content": content}
            for messages, content in zip(message_sequences, contents, strict=True)
        ]

    def get_response(self, messages: Messages) -> Any:
        """Ask one list of messages and return its "content"; may be overridden."""
        return self._answered([messages])[0]

    def handle_retry_error(self, error: Exception) -> Any:
        """Return the content for a prompt that failed for good; override it. Here: None.

        Args:
            error: a RequestFailed, NoUsableKey, or what an overridden `get_response` raised. Raise
                it to stop the whole list.
        """
        del error

    def close(self) -> None:
        """Close the connections; the end of a `with` block does the same."""
        self._sender.close()
        if self._owns_keys:
            close_unless_default(self._keys)

    def __enter__(self) -> APIRequester:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _answered(self, message_sequences: Sequence[Messages]) -> list[Any]:
        context = self._call_context()
        calls = ModelCalls(
            context,
            AnswerPolicy(max_validation_retries=MOST_JSON_ANSWERS - 1),
            [self._prompt(messages) for messages in message_sequences],
            self.max_workers,
        )
        for error in calls.errors.values():
            raise error
        prices = context.run_context.prices
        asked = [call.request for _, call in calls.calls if isinstance(call, ModelCall)]
        if self._budget and any(prices.max_cost_usd(request) is None for request in asked):
            raise ConfigError(f"budget: give the price of {self.model_name} in the config's prices")
        file_calls, stop = context.file_calls, context.run_context.stop
        try:
            with self._bar(len(calls.values)) as bar:
                calls.run(
                    "asyncio.to_thread",
                    lambda n: self._ended(calls, n, bar, is_in_file=bool(file_calls.path)),
                    lambda: bar and bar.set_postfix_str(self._why_waiting()),
                )
        except BaseException:
            if not file_calls.path:
                stop.close(RunStopping())
            raise
        _tell(list(calls.errors.values()), len(calls.values))
        return calls.values

    def _called(self, message_sequences: Sequence[Messages]) -> list[Any]:
        """Have the subclass's `get_response` called for each, and return what it gives."""
        file_calls = current_file_calls.get()
        if file_calls is not None:
            file_calls.refuse_on_own_loop("asyncio.to_thread")
        contents: list[Any] = []
        errors: list[Exception] = []
        unwound: HookUnwound | None = None  # raised when all have asked
        with (
            self._bar(len(message_sequences)) as bar,
            CarryingPool(self.max_workers, thread_name_prefix="prompts") as pool,
        ):
            tasks = [pool.submit(self.get_response, messages) for messages in message_sequences]
            try:
                for task in tasks:
                    error = task.exception()
                    if isinstance(error, HookUnwound):
                        unwound = error
                    elif isinstance(error, Exception) and not (file_calls and _is_keyless(error)):
                        contents.append(self.handle_retry_error(error))
                        errors.append(error)
                    else:
                        contents.append(task.result())
                    if bar is not None:
                        bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if unwound is not None:
            raise unwound
        _tell(errors, len(tasks))
        return contents

    def _prompt(self, messages: Messages) -> Prompt:
        given = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return Prompt(self.model_name, messages, self.json_output, {**given, **self.parameters})

    def _bar(self, total: int) -> Any:
        if not (self.progress and total > 1 and is_watched()):
            return nullcontext()
        return closing(open_bar(self.model_name, total=total, unit="prompt"))

    def _ended(self, calls: ModelCalls, n: int, bar: Any, *, is_in_file: bool) -> None:
        error = calls.errors.get(n)
        fails_file = is_in_file and _is_keyless(error)
        if isinstance(error, (RequestFailed, NoUsableKey)) and not fails_file:
            calls.values[n] = self.handle_retry_error(error)
        elif error is not None and not isinstance(error, BudgetExceeded):
            raise error
        if bar is not None:
            bar.update()

    def _why_waiting(self) -> str:
        waits = self._keys.waiting_on()
        if waits is not None:
            return f"waiting: {waits.reason}"
        return "waiting: rate_limit" if self._limiter.holds_back() else "waiting: answers"

    def _call_context(self) -> CallContext:
        """Return what the calls of one list share: in hooks, the run's journal, stop and budget."""
        file_calls = current_file_calls.get() or FileCalls(
            sender=self._sender,
            context=replace(
                outside_files(self._sender.untracked_context, self._sender), stop=StopToken()
            ),
        )
        context = file_calls.context
        context = replace(context, policy=self._policy, budget=context.budget or self._budget)
        return CallContext(file_calls=file_calls, run_context=context, sender=self._sender)


#: Other names for the same.
APIRequestor = APIPlayer = APIRequester


def _is_keyless(error: BaseException | None) -> bool:
    """Tell whether a later run asks again for what failed: in a hook, it fails the file."""
    return isinstance(error, NoUsableKey)


def _tell(errors: Sequence[BaseException], total: int) -> None:
    if errors:
        logger.warning(
            "%d of %d prompts got no answer; the first: %s",
            len(errors),
            total,
            errors[0],
            extra={"action": "prompts_failed"},
        )
