"""Ask a model: inside a hook, where the answer is kept for the file, or anywhere else."""

from __future__ import annotations

import os
from typing import Any, Literal

from ..calls.models import OpenAIModel
from ..calls.pending_call import AnswerPolicy, pending_call
from ..core.errors import RequestFailed
from ..core.records import Reply
from ..keys import APIKeyManager

OnError = Literal["raise", "none"]


def request_openai_api(
    openai_model: OpenAIModel,
    keys: APIKeyManager | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    *,
    allow_incomplete: bool = False,
    max_validation_retries: int = 2,
    on_error: OnError = "raise",
    journal: str | os.PathLike[str] | None = None,
) -> Any:
    """Ask a model and return the text of its first choice, stripped.

    An EmbeddingModel gives its vector, or a list of vectors; a model with a `response_format` the
    object or the parsed JSON; an OpenAIModel of your own what its `generate` returns.

    Args:
        openai_model: what to ask.
        keys: the keys to use; None: those of the running toolkit, else the first
            APIKeyManager that was made, else those of the environment.
        config_path: a config file to take keys from; None: as `keys` says.
        max_retries: re-sends after a server error; None: the toolkit's setting, or 5.
        allow_incomplete: return a text that was cut by its length limit or a content filter.
        max_validation_retries: how often to ask again, and pay again, when the answer does not
            fit `response_format`.
        on_error: "none" returns None where RequestFailed would be raised.
        journal: outside any toolkit, a folder to keep the answers in: when the script runs again,
            equal calls are replayed, the first one first. The folder is open, and locked against
            other processes, until the keys are closed or the process ends. Equal calls from
            several threads may swap their answers. None: nothing is kept. In a hook the answer is
            kept for its file, whatever this says.

    Raises:
        IncompleteAnswer: the answer was cut short, refused or is empty; `text` holds what came.
        InvalidAnswer: no answer fitted `response_format`; `text` holds the last.
        RequestFailed: there is no usable answer; see its kin RequestRejected, OutcomeUnknown.
        NoUsableKey: every key is dropped.
        RunLocked: another process has the journal open.
    """
    policy = _policy(allow_incomplete, max_validation_retries)
    try:
        call_context, call = pending_call(openai_model, keys, config_path, max_retries, journal)
        while not call.accepts(call_context.ask(call), policy):
            pass
    except RequestFailed:
        if on_error == "none":
            return None
        raise
    return call.value


async def arequest_openai_api(
    openai_model: OpenAIModel,
    keys: APIKeyManager | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    *,
    allow_incomplete: bool = False,
    max_validation_retries: int = 2,
    on_error: OnError = "raise",
    journal: str | os.PathLike[str] | None = None,
) -> Any:
    """Do what `request_openai_api` does without blocking the event loop."""
    policy = _policy(allow_incomplete, max_validation_retries)
    try:
        call_context, call = pending_call(openai_model, keys, config_path, max_retries, journal)
        while not call.accepts(await call_context.ask_async(call), policy):
            pass
    except RequestFailed:
        if on_error == "none":
            return None
        raise
    return call.value


def request_reply(
    openai_model: OpenAIModel,
    keys: APIKeyManager | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    *,
    journal: str | os.PathLike[str] | None = None,
) -> Reply:
    """Ask a model and return the whole Reply, finish reason, usage and cost included.

    Arguments and errors are those of `request_openai_api`, but the answer is returned as it is:
    one that was cut short has the cause in `finish_reason`, and none is held against a
    `response_format`.
    """
    call_context, call = pending_call(openai_model, keys, config_path, max_retries, journal)
    return call_context.ask(call)


async def arequest_reply(
    openai_model: OpenAIModel,
    keys: APIKeyManager | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    *,
    journal: str | os.PathLike[str] | None = None,
) -> Reply:
    """Do what `request_reply` does without blocking the event loop."""
    call_context, call = pending_call(openai_model, keys, config_path, max_retries, journal)
    return await call_context.ask_async(call)


def _policy(allow_incomplete: bool, max_validation_retries: int) -> AnswerPolicy:
    return AnswerPolicy(
        allow_incomplete=allow_incomplete, max_validation_retries=max_validation_retries
    )
