"""Send requests over HTTP with aiohttp.

What fails inside the connector (name, connection, TLS, CONNECT to a proxy) fails before a byte of
the request is written and is "unsent"; whatever fails later is "unknown". The line is drawn by
where the error rises, not by its type: aiohttp raises the same types on both sides of it.
A POST on a kept connection that the server just closed is not repeated by aiohttp: it is "unknown".
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import uuid
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

import aiohttp
import truststore
from aiohttp.tracing import Trace
from multidict import CIMultiDict

from ..records import Lease, RawReply, Request
from ..redact import Secret
from .base import Phase, SendFault
from .proxies import Proxy, parse_proxy, proxy_for
from .target import key_header, url_of

_CONNECT_TIMEOUT_S = 10.0


class _NotConnected(aiohttp.ClientError):
    """Carries whatever went wrong before a connection was ready."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class _Connector(aiohttp.TCPConnector):
    """Marks every failure to get a connection as one: from here on a request is being sent."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        try:
            return await super().connect(req, traces, timeout)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as exc:
            raise _NotConnected(exc) from exc


class HttpTransport:
    """A Transport over HTTP/1.1 with kept connections and no limit of their number.

    Belongs to the event loop that first sends on it.
    """

    def __init__(self, *, proxy: Secret | None = None, tls: ssl.SSLContext | None = None) -> None:
        """`proxy` as for `default_transport`; `tls` None: trust what the system trusts."""
        self._explicit_proxy = parse_proxy(proxy.reveal()) if proxy else None
        self._proxies: dict[str, Proxy | None] = {}
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._run_id = uuid.uuid4().hex

    async def send(self, request: Request, lease: Lease, *, timeout_s: float) -> RawReply:
        """Send as `Transport.send` says.

        Raises:
            SendFault: no whole reply came.
            ConfigError: the environment names a proxy that cannot be used.
        """
        ended = await self._attempt(request, lease, timeout_s)
        if isinstance(ended, SendFault):
            # Raised here, where no frame of the traceback holds the plain key.
            raise ended
        return ended

    async def close(self) -> None:
        """Close all connections; nothing can be sent afterwards."""
        if self._session is not None:
            await self._session.close()

    async def _attempt(
        self, request: Request, lease: Lease, timeout_s: float
    ) -> RawReply | SendFault:
        url, key_headers = self._target(request, lease)
        if not all(value.isascii() and value.isprintable() for value in key_headers.values()):
            return SendFault("unsent", "request", f"{lease.key_name} is no possible header value")
        request_id = f"{self._run_id}-{lease.id}"
        headers: CIMultiDict[str] = CIMultiDict(
            {
                "Content-Type": "application/json",
                # Providers find a request by this id when its reply was lost.
                "X-Client-Request-Id": request_id,
            }
        )
        headers.update(key_headers)
        proxy = self._proxy_for(lease.api_base)
        route = _route(url, proxy)
        credentials = _proxy_credentials(proxy)
        if not url.startswith("https:"):
            headers.update(credentials)  # there is no CONNECT that would carry them
        try:
            async with self._open_session().post(
                url,
                data=request.body,
                headers=headers,
                proxy=proxy.url if proxy is not None else None,
                proxy_headers=credentials or None,
                timeout=_timeout(timeout_s),
                allow_redirects=False,
            ) as reply:
                body = await reply.read()
        except _NotConnected as exc:
            phase = _phase_before(exc.cause)
            return SendFault("unsent", phase, f"cannot reach {route}: {_safe_text(exc.cause)}")
        except aiohttp.InvalidURL:
            return SendFault("unsent", "request", f"{route} is no possible address")
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as exc:
            told = f"no whole reply from {route}: {_safe_text(exc)} (request {request_id})"
            return SendFault("unknown", _phase_after(exc), told)
        if reply.status == 407 and proxy:
            return SendFault("unsent", "proxy", f"cannot reach {route}: the proxy answered 407")
        head = {name.lower(): value for name, value in reply.headers.items()}
        return RawReply(status=reply.status, headers=head, body=body)

    def _target(self, request: Request, lease: Lease) -> tuple[str, dict[str, str]]:
        """Return where a request goes, and the headers that carry its key."""
        name, value = key_header(lease)
        return url_of(lease, request.path), {name: value}

    def _proxy_for(self, api_base: str) -> Proxy | None:
        if self._explicit_proxy:
            return self._explicit_proxy
        if api_base not in self._proxies:
            self._proxies[api_base] = proxy_for(api_base)
        return self._proxies[api_base]

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            tls = self._tls or truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._session = aiohttp.ClientSession(
                connector=_Connector(limit=0, ssl=tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": _user_agent(), "Accept": "application/json"},
                # aiohttp would read ~/.netrc besides the proxies.
                trust_env=False,
            )
        return self._session


def _timeout(timeout_s: float) -> aiohttp.ClientTimeout:
    """The whole a little later than connecting, so that which of them ended is never in doubt."""
    return aiohttp.ClientTimeout(
        total=timeout_s,
        connect=min(_CONNECT_TIMEOUT_S, 0.95 * timeout_s),
        # No rounding to whole seconds: it could make the two meet.
        ceil_threshold=float("inf"),
    )


def _proxy_credentials(proxy: Proxy | None) -> dict[str, str]:
    if proxy is None or proxy.password is None:
        return {}
    value = aiohttp.encode_basic_auth(proxy.user, proxy.password.reveal())
    return {"Proxy-Authorization": value}


def _phase_before(cause: Exception) -> Phase:
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return "dns"
    if isinstance(cause, aiohttp.ClientSSLError):
        return "tls"
    if isinstance(cause, (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)):
        return "proxy"
    return "connect"


def _phase_after(exc: Exception) -> Phase:
    if isinstance(exc, asyncio.TimeoutError):
        return "deadline"
    if isinstance(exc, aiohttp.ClientPayloadError):
        return "body"
    return "read"


def _safe_text(exc: Exception) -> str:
    """Type and reason of an error, and never its text, which may hold URLs and headers."""
    if isinstance(exc, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {exc.status}"
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        cause = exc.certificate_error
        told = getattr(cause, "verify_message", "") or type(cause).__name__
        return f"its certificate is not trusted: {told}"
    if isinstance(exc, asyncio.TimeoutError):
        return "it took too long"
    errno = getattr(exc, "errno", None)
    # Name look-ups have numbers of their own, below zero.
    return os.strerror(errno) if isinstance(errno, int) and errno > 0 else type(exc).__name__


def _route(url: str, proxy: Proxy | None) -> str:
    address = urlsplit(url).netloc.rpartition("@")[2]
    return f"{address} through the proxy {proxy}" if proxy else address


def _user_agent() -> str:
    with contextlib.suppress(PackageNotFoundError):
        return f"openai-parallel-toolkit/{version('openai-parallel-toolkit')}"
    return "openai-parallel-toolkit"
