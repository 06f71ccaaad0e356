"""Tell where a connection failed, in words without secrets.

What fails inside the connector (name, connection, TLS, CONNECT to a proxy) fails before a byte of
the request is written and is "unsent"; whatever fails later is "unknown". The line is drawn by
where the error rises, not by its type: aiohttp raises the same types on both sides of it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextvars import ContextVar

import aiohttp
from aiohttp.http_exceptions import BadStatusLine

from ..core.describe import words_of
from ..core.open_file_limit import is_out_of_room
from .base import Phase, SendFault
from .kept_connection import KeptConnection
from .reply_body import ReplyTooLarge

#: The longest line of a reply's head that is read, and the most lines.
HEADER_BYTES, HEADERS = 262_144, 1_000


class NotConnected(aiohttp.ClientError):
    """Carries whatever went wrong before a connection was ready."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class SpokeFirst(aiohttp.ClientConnectionError):
    """A server spoke before it was asked."""


class SendProgress:
    """How far one exchange came; entered in the task that carries it out.

    The attempts of one call are made in one task, one after another.
    """

    def __init__(self) -> None:
        before = _PROGRESS.get()
        #: Whether it must not go out on a kept connection: the attempt before brought no reply.
        self.wants_fresh = before is not None and not before.is_whole
        self.is_connected = False
        #: What carries it; None: it has no connection yet.
        self.connection: KeptConnection | None = None
        #: Whether that connection has carried others before it.
        self.is_kept = False
        self.is_whole: bool = False
        #: Closes the other idle connections to its server.
        self.close_idle: Callable[[], None] = lambda: None
        _PROGRESS.set(self)

    @staticmethod
    def current() -> SendProgress | None:
        """Return how far the exchange of this task came; None: it carries out none."""
        return _PROGRESS.get()


_PROGRESS: ContextVar[SendProgress | None] = ContextVar(
    "openai_parallel_toolkit_send_progress", default=None
)


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
    if progress.connection is not None and progress.connection.is_unreached:
        told = f"{route} ended the kept connection before the request arrived"
        return SendFault("unsent", "idle", told)
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
    if isinstance(exc, ReplyTooLarge):
        return "size"
    if isinstance(exc, aiohttp.ClientPayloadError):
        return "body"
    return "head" if _has_bad_head(exc) else "read"


def _has_bad_head(exc: BaseException | None) -> bool:
    """Return whether a reply came that is HTTP and whose headers cannot be read."""
    if not isinstance(exc, aiohttp.ClientResponseError):
        return False
    while exc is not None and not isinstance(exc, BadStatusLine):
        exc = exc.__cause__
    return exc is None


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
    if isinstance(exc, ReplyTooLarge):
        return words_of(exc)
    if isinstance(exc, SpokeFirst):
        return "it speaks before it is asked, as HTTP servers do not"
    if _has_bad_head(exc):
        return f"its headers are malformed or longer than {HEADER_BYTES:,} bytes"
    if is_out_of_room(exc):
        return "this process has too many files and connections open (`ulimit -n`)"
    errno = getattr(exc, "errno", None)
    # Name look-ups have numbers of their own, below zero.
    return os.strerror(errno) if isinstance(errno, int) and errno > 0 else type(exc).__name__
