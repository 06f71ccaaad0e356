"""Tell where a connection failed, in words without secrets.

What fails before there is a connection (name, connection, TLS, CONNECT to a proxy) fails before a
byte of the request is written and is "unsent"; whatever fails later is "unknown". The line is drawn
by where the error rises, not by its type: the same types are raised on both sides of it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextvars import ContextVar

from .base import Phase, SendFault
from .exchange_failures import ExchangeFailed, NotConnected, safe_text
from .kept_connection import KeptConnection


class SendProgress:
    """How far one exchange came; entered in the task that carries it out.

    The attempts of one call are made in one task, one after another.
    """

    __slots__ = ("close_idle", "connection", "is_connected", "is_kept", "is_whole", "wants_fresh")

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
        self.close_idle: Callable[[], None] = _nothing
        _PROGRESS.set(self)

    @staticmethod
    def current() -> SendProgress | None:
        """Return how far the exchange of this task came; None: it carries out none."""
        return _PROGRESS.get()


def _nothing() -> None:
    """Close no connection."""


_PROGRESS: ContextVar[SendProgress | None] = ContextVar(
    "openai_parallel_toolkit_send_progress", default=None
)


def fault_of(exc: Exception, progress: SendProgress, *, route: str, request_id: str) -> SendFault:
    """Return what an error says about a request."""
    if isinstance(exc, asyncio.TimeoutError) and not progress.is_connected:
        # The time for the whole ended first: it is raised further out, where no line is seen.
        exc = NotConnected(exc)
    if isinstance(exc, NotConnected):
        told = f"cannot reach {route}: {safe_text(exc.cause)}"
        return SendFault("unsent", _phase_before(exc.cause), told)
    if progress.connection is not None and progress.connection.is_unreached:
        told = f"{route} ended the kept connection before the request arrived"
        return SendFault("unsent", "idle", told)
    told = f"no whole reply from {route}: {safe_text(exc)} (request {request_id})"
    return SendFault("unknown", _phase_after(exc), told)


def _phase_before(cause: Exception) -> Phase:
    if isinstance(cause, ExchangeFailed):
        return cause.phase
    if isinstance(cause, socket.gaierror):
        return "dns"
    return "tls" if isinstance(cause, ssl.SSLError) else "connect"


def _phase_after(exc: Exception) -> Phase:
    if isinstance(exc, asyncio.TimeoutError):
        return "deadline"
    return exc.phase if isinstance(exc, ExchangeFailed) else "read"
