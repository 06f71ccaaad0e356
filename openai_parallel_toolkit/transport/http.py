"""Send requests over HTTP with aiohttp.

A POST on a kept connection that the server just closed is not repeated by aiohttp. Where it is sure
that nothing of it had arrived, it is sent on a fresh connection; else it is "unknown".
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import ssl
import uuid
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import BinaryIO
from urllib.parse import urlsplit

import aiohttp
import truststore
from multidict import CIMultiDict

from ..core.filesystem import storage_error
from ..core.open_file_limit import make_room
from ..core.records import MAX_REPLY_BYTES, Lease, RawReply, Request
from ..core.redaction import Secret
from .base import IDLE_S, HttpExchange, SendFault, Upload
from .connector import Connector
from .proxies import Proxy, parse_proxy, proxy_for
from .reply_body import read_body
from .reply_deadline import ReplyDeadline
from .send_progress import HEADER_BYTES, HEADERS, SendProgress, fault_of
from .target import key_header, url_of

_CONNECT_TIMEOUT_S = 10.0
#: What can be answered as a stream; some gateways do so unless they are told not to.
_STREAMING = frozenset({"/chat/completions", "/completions", "/responses"})
_NO_STREAM = b'{"stream":false,'
#: For so many connections the limit of this process is raised, where the system lets it.
_CONNECTIONS = 4_096
#: Patience with a slow line: an upload may take this much longer than its timeout.
_SLOWEST_BYTES_PER_S = 50_000


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
        self._session: aiohttp.ClientSession | None = None
        self._run_id = uuid.uuid4().hex
        self._exchange_ids = itertools.count(1)

    async def send(self, request: Request, lease: Lease, *, timeout_s: float) -> RawReply:
        """Send as `Transport.send` says."""
        exchange = HttpExchange(
            method="POST",
            path=request.path,
            query=dict(request.query),
            body=self._body_of(request),
            content_type=request.content_type,
            headers=request.headers,
        )
        return await self.run(exchange, lease, timeout_s=timeout_s, number=str(lease.id))

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
        if self._session is not None:
            await self._session.close()

    async def _attempt(
        self, exchange: HttpExchange, lease: Lease, timeout_s: float, request_id: str
    ) -> RawReply | SendFault:
        url, key_headers = self._target(exchange, lease)
        if not all(value.isascii() and value.isprintable() for value in key_headers.values()):
            return SendFault("unsent", "request", f"{lease.key_name} is no possible header value")
        headers: CIMultiDict[str] = CIMultiDict(exchange.headers)
        # Providers find a request by this id when its reply was lost.
        headers["X-Client-Request-Id"] = request_id
        if exchange.body is not None:
            headers["Content-Type"] = exchange.content_type
        headers.update(key_headers)
        proxy = self._proxy_for(lease.api_base)
        route = _route(url, proxy)
        credentials = _proxy_credentials(proxy)
        if not url.startswith("https:"):
            headers.update(credentials)  # there is no CONNECT that would carry them
        progress = SendProgress()
        try:
            with _payload(exchange) as payload, _deadline(exchange, timeout_s, progress):
                async with self._open_session().request(
                    exchange.method,
                    url,
                    data=payload,
                    headers=headers,
                    proxy=proxy.url if proxy is not None else None,
                    proxy_headers=credentials or None,
                    timeout=_timeout(exchange, timeout_s),
                    allow_redirects=False,
                ) as reply:
                    told = reply.headers.get("Keep-Alive")
                    if told is not None and progress.connection is not None:
                        progress.connection.note_keep_alive(told)
                    body = await read_body(reply, exchange.save_to, self._max_reply_bytes)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as exc:
            fault = fault_of(exc, progress, route=route, request_id=request_id)
            if progress.is_kept and fault.phase in {"idle", "read"}:
                progress.close_idle()
            return fault
        progress.is_whole = True
        if reply.status == 407 and proxy:
            return SendFault("unsent", "proxy", f"cannot reach {route}: the proxy answered 407")
        head = {name.lower(): value for name, value in reply.headers.items()}
        return RawReply(status=reply.status, headers=head, body=body)

    def _body_of(self, request: Request) -> bytes:
        """Return the body as it goes out, which asks for no stream; its hash is without that."""
        body = request.body
        if request.path not in _STREAMING or (
            b'"stream":' in body and "stream" in json.loads(body)
        ):
            return body
        return _NO_STREAM + body[1:]

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

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            make_room(_CONNECTIONS)
            tls = self._tls or truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._session = aiohttp.ClientSession(
                connector=Connector(idle_s=self._idle_s, limit=0, ssl=tls),
                max_line_size=HEADER_BYTES,
                max_field_size=HEADER_BYTES,
                max_headers=HEADERS,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": _user_agent(), "Accept": "application/json"},
                # aiohttp would read ~/.netrc besides the proxies.
                trust_env=False,
            )
        return self._session


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


@contextlib.contextmanager
def _payload(exchange: HttpExchange) -> Iterator[bytes | aiohttp.FormData | None]:
    upload = exchange.upload
    if upload is None:
        yield exchange.body
        return
    try:
        file = open(upload.path, "rb")  # noqa: SIM115 - the next line closes it
    except OSError as exc:
        raise storage_error(exc, upload.path) from exc
    with file:
        yield _form(upload, file)


def _form(upload: Upload, file: BinaryIO) -> aiohttp.FormData:
    form = aiohttp.FormData(quote_fields=False)
    for name, value in upload.fields.items():
        form.add_field(name, value)
    form.add_field("file", file, filename=upload.name, content_type="application/jsonl")
    return form


def _deadline(
    exchange: HttpExchange, timeout_s: float, progress: SendProgress
) -> ReplyDeadline | contextlib.nullcontext[None]:
    """Return what bounds the whole exchange; of one that is saved, the silences are bounded."""
    if exchange.save_to is not None:
        return contextlib.nullcontext()
    if exchange.upload is not None:
        timeout_s += os.path.getsize(exchange.upload.path) / _SLOWEST_BYTES_PER_S
    return ReplyDeadline(progress, timeout_s)


def _timeout(exchange: HttpExchange, timeout_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None,
        sock_read=timeout_s if exchange.save_to is not None else None,
        # So much earlier than the whole that which of them ended is never in doubt.
        connect=min(_CONNECT_TIMEOUT_S, 0.95 * timeout_s),
        # No rounding to whole seconds: it could make the two meet.
        ceil_threshold=float("inf"),
    )


def _proxy_credentials(proxy: Proxy | None) -> dict[str, str]:
    if proxy is None or proxy.password is None:
        return {}
    value = aiohttp.encode_basic_auth(proxy.user, proxy.password.reveal())
    return {"Proxy-Authorization": value}


def _route(url: str, proxy: Proxy | None) -> str:
    address = urlsplit(url).netloc.rpartition("@")[2]
    return f"{address} through the proxy {proxy}" if proxy else address


def _user_agent() -> str:
    with contextlib.suppress(PackageNotFoundError):
        return f"openai-parallel-toolkit/{version('openai-parallel-toolkit')}"
    return "openai-parallel-toolkit"
