"""What aiohttp's errors say, in our own."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp.http_exceptions import BadStatusLine

from .exchange_failures import (
    ExchangeFailed,
    NotConnected,
    bad_head,
    cut_body,
    hung_up,
    safe_text,
)


def plain_error(exc: Exception) -> Exception:
    """Return what an error of aiohttp's says that is raised once a connection is ready."""
    if isinstance(exc, aiohttp.ClientPayloadError):
        return cut_body()
    if isinstance(exc, aiohttp.ServerDisconnectedError):
        return hung_up()
    if _has_bad_head(exc):
        return bad_head()
    is_plain = isinstance(exc, (OSError, asyncio.TimeoutError))
    return exc if is_plain else ExchangeFailed("read", safe_text(exc))


def not_connected(exc: Exception) -> NotConnected:
    """Return what an error says that is raised before a connection is ready."""
    if isinstance(exc, aiohttp.ClientHttpProxyError):
        return NotConnected(ExchangeFailed("proxy", f"the proxy answered {exc.status}"))
    if isinstance(exc, aiohttp.ClientProxyConnectionError):
        return NotConnected(ExchangeFailed("proxy", safe_text(exc.os_error)))
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return NotConnected(ExchangeFailed("dns", safe_text(exc.os_error)))
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return NotConnected(exc.certificate_error)
    return NotConnected(getattr(exc, "os_error", exc))


def _has_bad_head(exc: BaseException | None) -> bool:
    """Return whether a reply came that is HTTP and whose headers cannot be read."""
    if not isinstance(exc, aiohttp.ClientResponseError):
        return False
    while exc is not None and not isinstance(exc, BadStatusLine):
        exc = exc.__cause__
    return exc is None
