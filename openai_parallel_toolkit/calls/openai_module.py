"""Make the openai package's module-level calls durable, and read what its errors tell of."""

from __future__ import annotations

import atexit
import os
import threading
import traceback
from typing import Any

import openai

from ..core.errors import UsageError, error_behind
from ..transport.openai_http import httpx
from .durable_transport import PLACEHOLDER_KEY, DurableTransport
from .pending_call import is_asked_here

_INSTALLING = threading.Lock()
_CREDENTIALS = ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN")
_CHAT = "openai.chat.completions.create(model=..., messages=...).choices[0].message.content"
_REPLACEMENTS = {
    "ChatCompletion": _CHAT,
    "Completion": "openai.completions.create(model=..., prompt=...).choices[0].text",
    "Embedding": "openai.embeddings.create(model=..., input=...).data[0].embedding",
    "Moderation": "openai.moderations.create(input=...).results[0]",
}


class _ModuleTransport(DurableTransport):
    """Sends what hooks and a `generate` ask; all else goes out as the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self._direct = openai.DefaultHttpxClient()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, durably if it is asked for a file or under our keys."""
        _separate(request)
        if openai.api_key != PLACEHOLDER_KEY and not is_asked_here():
            return self._direct.send(request, stream=True)
        return super().handle_request(request)

    def close(self) -> None:
        """Close the connections of the user's own."""
        self._direct.close()


def _separate(request: httpx.Request) -> None:
    """Put in the slash that the package leaves out behind an openai.base_url without one."""
    if openai.base_url is None:
        return
    base, path = httpx.URL(str(openai.base_url)).raw_path, request.url.raw_path
    rest = path.removeprefix(base)
    if not base.endswith(b"/") and rest != path and not rest.startswith(b"/"):
        request.url = request.url.copy_with(raw_path=base + b"/" + rest)


class _ModuleClient(httpx.Client):
    """What is set as `openai.http_client`."""


def install() -> None:
    """Have module-level calls go through the door; does nothing when that is so already.

    Raises:
        UsageError: openai.http_client is a client of the user's own.
    """
    with _INSTALLING:
        # Each time: somebody may have set it back meanwhile.
        if openai.api_key is None and not any(map(os.environ.get, _CREDENTIALS)):
            openai.api_key = PLACEHOLDER_KEY
        if isinstance(openai.http_client, _ModuleClient):
            return
        if openai.http_client is not None:
            raise UsageError(
                "openai.http_client is set, so the leased key cannot be put on its requests; "
                "leave it unset, or write generate(self, client) and use that client"
            )
        openai.max_retries = 0
        openai.http_client = _ModuleClient(transport=_ModuleTransport(), trust_env=False)
        atexit.register(openai.http_client.close)


def answer_in(exc: Exception) -> Any:
    """Return the completion that openai's parser found too short to parse; None: it is none.

    Raises:
        ToolkitError: the error of ours that stands behind it, or what to write instead of a call
            that the package has removed.
    """
    if isinstance(exc, (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError)):
        return getattr(exc, "completion", None)
    is_theirs = isinstance(exc, openai.OpenAIError)
    # By its name: the class is private to the package.
    is_removed = is_theirs and type(exc).__name__ == "APIRemovedInV1"
    ours = _advice(exc) if is_removed else error_behind(exc) if is_theirs else None
    if ours is not None:
        raise ours from exc
    return None


def _advice(exc: Exception) -> UsageError:
    removed = _removed_name(exc)
    replacement = _REPLACEMENTS.get(removed, _CHAT)
    return UsageError(
        f"openai.{removed} is gone from the openai package. Write instead:\n    {replacement}",
        replacement=replacement,
    )


def _removed_name(exc: Exception) -> str:
    """The error says which name was called only in words; the frame that raised it knows."""
    for frame, _ in traceback.walk_tb(exc.__traceback__):
        name = getattr(frame.f_locals.get("self"), "_symbol", None)
        if isinstance(name, str):
            return name
    return "ChatCompletion"
