"""Transports that make whatever a client of a provider's API sends a durable call.

They serve clients of httpx2 and of httpx, such as those of the openai package.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import openai

from ..core.errors import RESPONSE_EXTENSION, RequestFailed, ToolkitError
from ..core.records import AZURE_API_VERSION, OutcomeKind, RawReply, Request
from ..transport.base import HttpExchange, SendFault
from ..transport.openai_http import httpx
from .client_replies import answered, passed_on, refused
from .client_requests import read_client_request
from .pending_call import CallContext, Keys

#: Every request goes to the address of its key instead.
_BASE_URL = "https://api.openai.com/v1"
PLACEHOLDER_KEY = "replaced-by-the-leased-key"
_OPTIONS: dict[str, Any] = {"api_key": PLACEHOLDER_KEY, "base_url": _BASE_URL, "max_retries": 0}
_AZURE_OPTIONS: dict[str, Any] = {
    "api_key": PLACEHOLDER_KEY,
    "azure_endpoint": "https://azure.invalid",
    "api_version": AZURE_API_VERSION,
    "max_retries": 0,
}


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

    def _asked(self, request: Any) -> tuple[CallContext, Request | HttpExchange]:
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
                if isinstance(asked, HttpExchange):
                    return _passed_on(context, context.exchange(asked), request)
                return _response(answered(context.ask(context.pending(asked)), asked), request)
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
                if isinstance(asked, HttpExchange):
                    return _passed_on(context, await context.exchange_async(asked), request)
                reply = await context.ask_async(context.pending(asked))
                return _response(answered(reply, asked), request)
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
    """Raises errors of ours as they are, which openai 2 wraps into its own."""

    def request(self, *args: Any, **options: Any) -> Any:
        try:
            return super().request(*args, **options)  # type: ignore[misc]
        except openai.APIConnectionError as exc:
            raise _plain(exc) from exc.__cause__


class _AsyncPlain:
    async def request(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().request(*args, **options)  # type: ignore[misc]
        except openai.APIConnectionError as exc:
            raise _plain(exc) from exc.__cause__


class _OpenAI(_Plain, openai.OpenAI):
    pass


class _AzureOpenAI(_Plain, openai.AzureOpenAI):
    pass


class _AsyncOpenAI(_AsyncPlain, openai.AsyncOpenAI):
    pass


class _AsyncAzureOpenAI(_AsyncPlain, openai.AsyncAzureOpenAI):
    pass


def _plain(exc: openai.APIConnectionError) -> Exception:
    cause = exc.__cause__
    return cause if isinstance(cause, ToolkitError) else exc


def client_over(
    transport: DurableTransport, *, azure: bool = False, **options: Any
) -> openai.OpenAI:
    """Return a client of the openai package that sends through `transport` and never retries."""
    http = httpx.Client(transport=transport, trust_env=False)
    if azure:
        return _AzureOpenAI(http_client=http, **{**_AZURE_OPTIONS, **options})
    return _OpenAI(http_client=http, **{**_OPTIONS, **options})


def async_client_over(
    transport: AsyncDurableTransport, *, azure: bool = False, **options: Any
) -> openai.AsyncOpenAI:
    """Do what `client_over` does for async code."""
    http = httpx.AsyncClient(transport=transport, trust_env=False)
    if azure:
        return _AsyncAzureOpenAI(http_client=http, **{**_AZURE_OPTIONS, **options})
    return _AsyncOpenAI(http_client=http, **{**_OPTIONS, **options})


def _response(
    reply: RawReply, request: httpx.Request, error: Exception | None = None
) -> httpx.Response:
    made: httpx.Response = _library_of(request).Response(
        reply.status,
        headers=reply.headers,
        content=reply.body,
        request=request,
        extensions={RESPONSE_EXTENSION: error} if error is not None else {},
    )
    return made


def _passed_on(context: CallContext, reply: RawReply, request: httpx.Request) -> httpx.Response:
    return _response(passed_on(reply, context.clean), request)


def _refused(error: RequestFailed | SendFault, request: httpx.Request) -> httpx.Response:
    """Return the provider's refusal, or raise what clients know of where no reply came."""
    reply = refused(error) if isinstance(error, RequestFailed) else None
    if reply is not None:
        return _response(reply, request, error)
    is_unsent = getattr(error, "outcome", None) is OutcomeKind.UNSENT
    is_unsent |= getattr(error, "kind", None) == "unsent"
    library = _library_of(request)
    kind = library.ConnectError if is_unsent else library.ReadError
    raise kind(str(error), request=request) from error


def _library_of(request: httpx.Request) -> Any:
    """Return httpx2 or httpx, whichever the client is of."""
    return sys.modules[type(request).__module__.partition(".")[0]]
