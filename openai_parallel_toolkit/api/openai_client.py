"""Clients of the openai package whose requests are durable calls.

They are the package's own classes, so what is built on it takes them: instructor, pydantic-ai,
langchain-openai, the agents SDK.
"""

from __future__ import annotations

import os
from typing import Any

import openai

from ..calls.durable_transport import AsyncDurableTransport, DurableTransport, client_over
from ..calls.pending_call import Keys


def openai_client(
    keys: Keys | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    *,
    journal: str | os.PathLike[str] | None = None,
    azure: bool = False,
    **options: Any,
) -> openai.OpenAI:
    """Return an `openai.OpenAI` whose requests are sent under the toolkit's keys.

    In a hook each request is a durable call of its file: kept, replayed, priced, and put into
    batches in `mode="batch"`. Elsewhere it is what `request_openai_api` does. Where the provider
    refuses, the package raises its own errors.

    Args:
        keys, config_path, max_retries, journal: as for `request_openai_api`.
        azure: return an AzureOpenAI, for code that asks for one.
        options: of the client's class, such as `timeout`.
    """
    transport = DurableTransport(keys, config_path, max_retries, journal=journal)
    client: openai.OpenAI = client_over(transport, azure=azure, **options)
    return client


def async_openai_client(
    keys: Keys | None = None,
    config_path: str | None = None,
    max_retries: int | None = None,
    *,
    journal: str | os.PathLike[str] | None = None,
    azure: bool = False,
    **options: Any,
) -> openai.AsyncOpenAI:
    """Do what `openai_client` does for async code: return an `openai.AsyncOpenAI`."""
    transport = AsyncDurableTransport(keys, config_path, max_retries, journal=journal)
    client: openai.AsyncOpenAI = client_over(transport, azure=azure, **options)
    return client
