"""Send requests over HTTP.

Ordinary exchanges go over connections of our own, all else with aiohttp: through proxies, uploads,
replies that are saved as they come. A request on a kept connection that the server just closed is
sent again on a fresh one where it is sure that nothing of it had arrived; else it is "unknown".
"""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import uuid
from collections.abc import Coroutine, Hashable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import truststore
from yarl import URL

from ..core.open_file_limit import make_room
from ..core.records import MAX_REPLY_BYTES, Lease, RawReply, Request
from ..core.redaction import Secret
from .base import IDLE_S, HttpExchange, SendFault
from .exchange_failures import ExchangeFailed, NotConnected
from .http1_client import Http1Client
from .proxies import Proxy, parse_proxy, proxy_for
from .request_head import RequestHead, headers_of, is_possible
from .send_progress import SendProgress, fault_of
from .target import key_header, url_of

if TYPE_CHECKING:
    from .aiohttp_client import AiohttpClient

_CONNECT_TIMEOUT_S = 10.0
#: What can be answered as a stream; some gateways do so unless they are told not to.
_STREAMING = frozenset({"/chat/completions", "/completions", "/responses"})
_NO_STREAM = b'{"stream":false,'
#: For so many connections the limit of this process is raised, where the system lets it.
_CONNECTIONS = 4_096
#: Heads that are remembered: more are none that come again.
_MOST_HEADS = 1_000


class HttpTransport:
    """A Transport over HTTP/1.1 with kept connections and no limit of their number.

    Belongs to the event loop that first sends on it.
    """

    def __init__(
        self,
        *,
        proxy: Secret | None = None,
        tls: ssl.SSLContext | None = None,
        idle_s: float = IDLE_S,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> None:
        """Open no connection yet.

        Args:
            proxy: as for `default_transport`.
            tls: None: trust what the system trusts.
            idle_s: seconds without a request after which a kept connection is closed.
            max_reply_bytes: the largest reply that is taken, unpacked; what is saved as it comes
                has no limit.
        """
        self._explicit_proxy = parse_proxy(proxy.reveal()) if proxy else None
        self._proxies: dict[str, Proxy | None] = {}
        self._tls = tls
        self._idle_s = idle_s
        self._max_reply_bytes = max_reply_bytes
        self._heads: dict[Hashable, RequestHead] = {}
        self._http1: Http1Client | None = None
        self._aiohttp: AiohttpClient | None = None
        self._run_id = uuid.uuid4().hex
        self._exchange_ids = itertools.count(1)

    def send(
        self, request: Request, lease: Lease, *, timeout_s: float
    ) -> Coroutine[Any, Any, RawReply]:
        """Send as `Transport.send` says."""
        exchange = HttpExchange(
            method="POST",
            path=request.path,
            query=dict(request.query),
            body=self._body_of(request),
            content_type=request.content_type,
            headers=request.headers,
        )
        return self.run(exchange, lease, timeout_s=timeout_s, number=str(lease.id))

    async def run(
        self, exchange: HttpExchange, lease: Lease, *, timeout_s: float, number: str = ""
    ) -> RawReply:
        """Carry out one exchange under the lease's key and return the whole reply, of any status.

        Only the lease's key and address are used. A GET or DELETE on a kept connection that the
        server just closed is sent again.

        Args:
            timeout_s: seconds from connecting to the last byte of the reply; when the reply is
                saved as it comes, seconds of silence. An upload gets more, by its size.
            number: of the request, within this transport; "": the next of its own.

        Raises:
            SendFault: no whole reply came.
            StorageError: the file to send cannot be read, or the reply cannot be written.
            ConfigError: the environment names a proxy that cannot be used.
        """
        request_id = f"{self._run_id}-{number or f'e{next(self._exchange_ids)}'}"
        ended = await self._attempt(exchange, lease, timeout_s, request_id)
        if isinstance(ended, SendFault) and ended.phase == "idle":
            ended = await self._attempt(exchange, lease, timeout_s, request_id)
        if isinstance(ended, SendFault):
            # Raised here, where no frame of the traceback holds the plain key.
            raise ended
        return ended

    async def close(self) -> None:
        """Close all connections; nothing can be sent afterwards."""
        for client in (self._http1, self._aiohttp):
            if client is not None:
                await client.close()

    async def _attempt(
        self, exchange: HttpExchange, lease: Lease, timeout_s: float, request_id: str
    ) -> RawReply | SendFault:
        head = self._head(exchange, lease)
        if isinstance(head, SendFault):
            return head
        progress = SendProgress()
        try:
            reply = await self._carry(exchange, head, request_id, progress, timeout_s)
        except (OSError, asyncio.TimeoutError, ExchangeFailed, NotConnected) as exc:
            fault = fault_of(exc, progress, route=head.route, request_id=request_id)
            if progress.is_kept and fault.phase in {"idle", "read"}:
                progress.close_idle()
            return fault
        progress.is_whole = True
        if reply.status == 407 and head.proxy:
            told = f"cannot reach {head.route}: the proxy answered 407"
            return SendFault("unsent", "proxy", told)
        return reply

    def _carry(
        self,
        exchange: HttpExchange,
        head: RequestHead,
        request_id: str,
        progress: SendProgress,
        timeout_s: float,
    ) -> Coroutine[Any, Any, RawReply]:
        # So much earlier than the whole that which of them ended is never in doubt.
        connect_s = min(_CONNECT_TIMEOUT_S, 0.95 * timeout_s)
        if head.server is not None and exchange.upload is None and exchange.save_to is None:
            return self._ordinary_client().carry(
                head, request_id, exchange.body, progress, connect_s=connect_s, timeout_s=timeout_s
            )
        return self._other_client().carry(
            exchange, head, request_id, progress, connect_s=connect_s, timeout_s=timeout_s
        )

    def _body_of(self, request: Request) -> bytes:
        """Return the body as it goes out, which asks for no stream; its hash is without that."""
        body = request.body
        if request.path not in _STREAMING or (
            b'"stream":' in body and "stream" in json.loads(body)
        ):
            return body
        return _NO_STREAM + body[1:]

    def _head(self, exchange: HttpExchange, lease: Lease) -> RequestHead | SendFault:
        """Return the head of an exchange, made once for all of its kind."""
        kind = (
            exchange.method,
            exchange.path,
            tuple(exchange.query.items()),
            None if exchange.body is None else exchange.content_type,
            tuple(exchange.headers),
            lease.secret,
            lease.api_base,
            lease.azure_deployment,
            lease.api_version,
            lease.need.model,
        )
        head = self._heads.get(kind)
        if head is None:
            made = self._new_head(exchange, lease)
            if isinstance(made, SendFault):
                return made
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            head = self._heads[kind] = made
        return head

    def _new_head(self, exchange: HttpExchange, lease: Lease) -> RequestHead | SendFault:
        text, key_headers = self._target(exchange, lease)
        if not all(value.isascii() and value.isprintable() for value in key_headers.values()):
            return SendFault("unsent", "request", f"{lease.key_name} is no possible header value")
        headers = headers_of(exchange, key_headers)
        if not all(is_possible(name, value) for name, value in headers):
            return SendFault("unsent", "request", "a header of it is none that can be sent")
        proxy = self._proxy_for(lease.api_base)
        try:
            url = URL(text)
            is_possible_url = bool(url.raw_host) and url.scheme in {"http", "https"}
        except ValueError:
            is_possible_url = False
        if not is_possible_url:
            place = urlsplit(text).netloc.rpartition("@")[2]
            return SendFault("unsent", "request", f"{place} is no possible address")
        return RequestHead(exchange.method, url, headers, proxy)

    def _target(self, exchange: HttpExchange, lease: Lease) -> tuple[str, dict[str, str]]:
        """Return where an exchange goes, and the headers that carry its key."""
        name, value = key_header(lease)
        return url_of(lease, exchange.path, exchange.query), {name: value}

    def _proxy_for(self, api_base: str) -> Proxy | None:
        if self._explicit_proxy:
            return self._explicit_proxy
        if api_base not in self._proxies:
            self._proxies[api_base] = proxy_for(api_base)
        return self._proxies[api_base]

    def _ordinary_client(self) -> Http1Client:
        if self._http1 is None:
            self._http1 = Http1Client(**self._client_options())
        return self._http1

    def _other_client(self) -> AiohttpClient:
        if self._aiohttp is None:
            from .aiohttp_client import AiohttpClient

            self._aiohttp = AiohttpClient(**self._client_options())
        return self._aiohttp

    def _client_options(self) -> dict[str, Any]:
        make_room(_CONNECTIONS)
        self._tls = self._tls or truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return {"tls": self._tls, "idle_s": self._idle_s, "most_bytes": self._max_reply_bytes}


class EndpointTransport(HttpTransport):
    """A Transport that sends everything to `url` with `headers`, instead of under a lease's key.

    Bodies go out as they are.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, Secret],
        *,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> None:
        super().__init__(max_reply_bytes=max_reply_bytes)
        self._url = url
        self._headers = dict(headers)

    def _target(self, exchange: HttpExchange, lease: Lease) -> tuple[str, dict[str, str]]:
        del exchange, lease
        return self._url, {name: value.reveal() for name, value in self._headers.items()}

    def _body_of(self, request: Request) -> bytes:
        return request.body

    def _proxy_for(self, api_base: str) -> Proxy | None:
        del api_base
        return super()._proxy_for(self._url)
