"""Tell where a connection failed, in words without secrets.

What fails inside the connector (name, connection, TLS, CONNECT to a proxy) fails before a byte of
the request is written and is "unsent"; whatever fails later is "unknown". The line is drawn by
where the error rises, not by its type: aiohttp raises the same types on both sides of it.
"""

from __future__ import annotations

import asyncio
import os
from contextvars import ContextVar

import aiohttp
from aiohttp.tracing import Trace

from ..core.open_file_limit import is_out_of_room
from .base import Phase, SendFault


class NotConnected(aiohttp.ClientError):
    """Carries whatever went wrong before a connection was ready."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class SendProgress:
    """How far one exchange came; entered in the task that carries it out."""

    def __init__(self) -> None:
        self.is_connected = False
        _PROGRESS.set(self)


_PROGRESS: ContextVar[SendProgress | None] = ContextVar(
    "openai_parallel_toolkit_send_progress", default=None
)


class Connector(aiohttp.TCPConnector):
    """Marks every failure to get a connection as one: from here on a request is being sent."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        try:
            connection = await super().connect(req, traces, timeout)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as exc:
            raise NotConnected(exc) from exc
        progress = _PROGRESS.get()
        if progress is not None:
            progress.is_connected = True
        return connection


def fault_of(exc: Exception, progress: SendProgress, *, route: str, request_id: str) -> SendFault:
    """Return what an error of aiohttp's says about a request."""
    if isinstance(exc, asyncio.TimeoutError) and not progress.is_connected:
        # The time for the whole ended first: it is raised further out, where no line is seen.
        exc = NotConnected(exc)
    if isinstance(exc, NotConnected):
        told = f"cannot reach {route}: {_safe_text(exc.cause)}"
        return SendFault("unsent", _phase_before(exc.cause), told)
    if isinstance(exc, aiohttp.InvalidURL):
        return SendFault("unsent", "request", f"{route} is no possible address")
    told = f"no whole reply from {route}: {_safe_text(exc)} (request {request_id})"
    return SendFault("unknown", _phase_after(exc), told)


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
    if is_out_of_room(exc):
        return "this process has too many files and connections open (`ulimit -n`)"
    errno = getattr(exc, "errno", None)
    # Name look-ups have numbers of their own, below zero.
    return os.strerror(errno) if isinstance(errno, int) and errno > 0 else type(exc).__name__
