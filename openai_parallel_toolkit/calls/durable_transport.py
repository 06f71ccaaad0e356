"""Transports that make whatever a client of a provider's API sends a durable call.

They serve clients of httpx2 and of httpx, such as those of the openai package.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import openai

from ..core.errors import RESPONSE_EXTENSION, RequestFailed, ToolkitError, error_behind
from ..core.records import AZURE_API_VERSION, OutcomeKind, RawReply, Request
from ..transport.base import HttpExchange, SendFault
from ..transport.openai_http import httpx, no_cookies
from .client_replies import given_back, refused
from .client_requests import read_client_request
from .pending_call import CallContext, Keys

PLACEHOLDER_KEY = "replaced-by-the-leased-key"
#: Every request goes to the address of its key instead.
_OPTIONS = {"base_url": "https://api.openai.com/v1"}
_AZURE_OPTIONS = {"azure_endpoint": "https://azure.invalid", "api_version": AZURE_API_VERSION}
#: What the last request of this thread or task ended in, where no reply came of it.
_raised: ContextVar[Exception | None] = ContextVar("raised", default=None)


class _Door:
    """What both transports have in common."""

    def __init__(
        self,
        keys: Keys | None = None,
        config_path: str | None = None,
        max_retries: int | None = None,
        *,
        journal: str | os.PathLike[str] | None = None,
    ) -> None:
        """Take arguments as those of `request_openai_api`."""
        self._where = (keys, config_path, max_retries, journal)

    def _asked(self, request: httpx.Request) -> tuple[CallContext, Request | HttpExchange]:
        url = request.url
        asked = read_client_request(
            request.method,
            url.path,
            url.params.multi_items() if url.query else (),
            _lower_names(request.headers),
            request.content,
        )
        return CallContext.find(*self._where), asked


def _lower_names(headers: httpx.Headers) -> dict[str, str]:
    """Return headers by their names; their own `items` tells the encoding anew for each."""
    encoding, found = headers.encoding, dict[str, str]()
    for raw_name, raw_value in headers.raw:
        name, value = raw_name.decode(encoding).lower(), raw_value.decode(encoding)
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


class DurableTransport(_Door, httpx.BaseTransport):
    """A transport for `httpx.Client(transport=...)`: what is posted is a durable call.

    In a hook the answer is kept for its file and replayed; elsewhere arguments say, as for
    `request_openai_api`, which keys are used and whether it is kept. The client's own key and
    address are not used. What is not posted goes out under a key, and is not kept.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the provider's answer or refusal."""
        request.read()
        with _sent_once(request):
            context, asked = self._asked(request)
            try:
                came = context.send(asked)
                return _response(given_back(came, asked, context.clean), request)
            except (RequestFailed, SendFault) as error:
                return _refused(error, request)


class AsyncDurableTransport(_Door, httpx.AsyncBaseTransport):
    """The same as DurableTransport for `httpx.AsyncClient(transport=...)`."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the provider's answer or refusal."""
        await request.aread()
        with _sent_once(request):
            context, asked = self._asked(request)
            try:
                came = await context.send_async(asked)
                return _response(given_back(came, asked, context.clean), request)
            except (RequestFailed, SendFault) as error:
                return _refused(error, request)


@contextmanager
def _sent_once(request: httpx.Request) -> Iterator[None]:
    """Give clients of the openai package that try again by themselves the error that they know."""
    known = _raised.get()
    if known is not None and request.headers.get("x-stainless-retry-count", "0") != "0":
        raise known
    _raised.set(None)
    try:
        yield
    except Exception as error:
        _raised.set(error)
        raise


class _Plain:
    """Raises errors of the toolkit as they are."""

    def request(self, *args: Any, **options: Any) -> Any:
        with _explained():
            return super().request(*args, **options)  # type: ignore[misc]


class _AsyncPlain:
    """Does so for async code."""

    async def request(self, *args: Any, **options: Any) -> Any:
        with _explained():
            return await super().request(*args, **options)  # type: ignore[misc]


_CLIENTS: dict[bool, Any] = {
    False: (_Plain, httpx.Client, openai.OpenAI, openai.AzureOpenAI),
    True: (_AsyncPlain, httpx.AsyncClient, openai.AsyncOpenAI, openai.AsyncAzureOpenAI),
}


def client_over(
    transport: DurableTransport | AsyncDurableTransport, *, azure: bool = False, **options: Any
) -> Any:
    """Return a client of the openai package that sends through `transport` and never retries."""
    plain, http, *kinds = _CLIENTS[isinstance(transport, AsyncDurableTransport)]
    given = {
        "api_key": PLACEHOLDER_KEY,
        "max_retries": 0,
        "http_client": http(transport=transport, trust_env=False, cookies=no_cookies()),
        **(_AZURE_OPTIONS if azure else _OPTIONS),
        **options,
    }
    return _class_of(plain, kinds[azure])(**given)


@functools.cache
def _class_of(plain: type, kind: type) -> type:
    return type(kind.__name__, (plain, kind), {})


@contextmanager
def _explained() -> Iterator[None]:
    """Raise errors of the toolkit, which openai 2 wraps, as they are; add our words to a refusal.

    Those say what to do, such as to mend api_base.
    """
    try:
        yield
    except openai.APIConnectionError as exc:
        if isinstance(exc.__cause__, ToolkitError):
            raise exc.__cause__ from exc.__cause__.__cause__
        raise
    except openai.APIStatusError as exc:
        ours = error_behind(exc)
        if ours is not None and sys.version_info >= (3, 11):
            exc.add_note(str(ours))
        raise


def _response(
    reply: RawReply, request: httpx.Request, error: Exception | None = None
) -> httpx.Response:
    response: httpx.Response = _library_of(request).Response(
        reply.status,
        headers=reply.headers,
        content=reply.body,
        request=request,
        extensions={} if error is None else {RESPONSE_EXTENSION: error},
    )
    return response


def _refused(error: RequestFailed | SendFault, request: httpx.Request) -> httpx.Response:
    """Return the provider's refusal, or raise what clients know of where no reply came."""
    reply = refused(error) if isinstance(error, RequestFailed) else None
    if reply is not None:
        return _response(reply, request, error)
    kinds = {getattr(error, "outcome", None), getattr(error, "kind", None)}
    library = _library_of(request)
    kind = library.ConnectError if kinds & {OutcomeKind.UNSENT, "unsent"} else library.ReadError
    raise kind(str(error), request=request) from error


def _library_of(request: httpx.Request) -> Any:
    """Return httpx2 or httpx, whichever the client is of."""
    return sys.modules[type(request).__module__.partition(".")[0]]
