"""Choose the HTTP client and the event loop.

Ordinary requests go over connections of our own (httptools on asyncio), all else with aiohttp.
Measured on loopback at 100 in flight (benchmarks/clients.py): ours take a quarter of the CPU
that aiohttp took here, and less than half of what aiohttp takes bare. pyreqwest takes as little,
but its error types cannot say whether a request was sent: a connection reset after sending raises
its ConnectError, a reply that never comes its ConnectTimeoutError; only words tell some of them
apart. It needs Python 3.11 and 44 MB more at 1,000 connections.

uvloop saves a fifth of that CPU, and two thirds of the memory at 1,000 TLS connections (103 MB
against 351 MB): asyncio keeps a read buffer of 256 kB for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import socket

from ..core.records import MAX_REPLY_BYTES
from ..core.redaction import Secret
from .base import Transport

#: That uvloop looks names up with, unless UV_THREADPOOL_SIZE says otherwise.
#: Source: https://docs.libuv.org/en/v1.x/threadpool.html (read 2026-11)
LOOKUP_THREADS = 4


def default_transport(
    proxy: Secret | None = None, *, max_reply_bytes: int = MAX_REPLY_BYTES
) -> Transport:
    """Return the transport for real providers; `proxy` None: what the environment says."""
    from .http import HttpTransport

    return HttpTransport(proxy=proxy, max_reply_bytes=max_reply_bytes)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop: uvloop's where it is installed, asyncio's elsewhere."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


async def start_lookup_threads(loop: asyncio.AbstractEventLoop) -> None:
    """Have the threads started that look names up.

    uvloop starts all of them at the first name, and aborts the process where the system gives it
    one too few: so they are started here, by a look-up of nothing, when they are sure to be given.
    """
    with contextlib.suppress(OSError):  # no file can be opened: whoever sends is told
        await loop.getnameinfo(("127.0.0.1", 0), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
