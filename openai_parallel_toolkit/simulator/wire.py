"""Read requests with aiohttp, and put each reply on the wire, well or badly."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http import HttpProcessingError

from .faults import DELIVERIES, SILENT, Fault, kept_bytes
from .http_messages import (
    HttpReply,
    HttpRequest,
    UploadForm,
    chunk_bytes,
    head_bytes,
    reply_bytes,
)
from .keys import key_value_of
from .service import Service

logger = logging.getLogger(__name__)

#: SO_LINGER on, zero seconds: closing sends RST instead of FIN.
_LINGER = struct.pack("ii", 1, 0)
_RESET = frozenset({"reset_before", "reset_during"})
_CLOSED = frozenset({"cut_body", "cut_chunked", "close_before", "close_idle"})


class _Written(web.StreamResponse):
    """Tells aiohttp that a reply stands on the wire already.

    Headers of aiohttp's making cannot be spoilt, and cost more than the reply.
    """

    def __init__(self, *, keeps_alive: bool) -> None:
        super().__init__()
        self._keep_alive = keeps_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        pass

    async def write_eof(self, data: bytes = b"") -> None:
        pass


def _tells_of_a_bug(record: logging.LogRecord) -> bool:
    """Return False for what is no HTTP, which gets a 400: it may hold a key."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


logger.addFilter(_tells_of_a_bug)


class Wire:
    """The server's end of all connections. Lives in the event loop's thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._kept, self._last = _Written(keeps_alive=True), _Written(keeps_alive=False)
        self._is_stopping = False
        #: What closes a connection as idle.
        self._closers: dict[asyncio.Transport, asyncio.TimerHandle] = {}
        #: Makes the protocol of each connection.
        self.server = web.Server(
            self._serve,
            handler_cancellation=True,
            logger=logger,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=86_400.0,
        )

    async def stop(self) -> None:
        """Break off all connections."""
        self._is_stopping = True
        # Some tasks accept clients: a server that is closed under them leaves sockets open.
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for connection in self.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await asyncio.wait(tasks)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        if transport is not None:
            if closer := self._closers.pop(transport, None):
                closer.cancel()
            out = _Out(request, transport)
            try:
                await self._answer(request, out)
            except (ConnectionError, web.RequestPayloadError):
                transport.close()  # the client is gone already
        is_open = transport is not None and not transport.is_closing()
        return self._kept if request.keep_alive and is_open else self._last

    async def _answer(self, request: web.BaseRequest, out: _Out) -> None:
        if "Expect" in request.headers:
            out.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        decision, row = self._service.handle(await _read(request))
        fault = decision.fault
        is_left = True
        try:
            if decision.delay_s > 0:
                await asyncio.sleep(decision.delay_s)
            await _deliver(out, decision.reply, fault)
            is_left = False
        finally:
            if row is not None:
                client_closed = is_left and not self._is_stopping
                self._service.ledger.leave(
                    row, bytes_sent=out.bytes_sent, client_closed=client_closed
                )
        if fault is not None and fault.kind == "close_idle" and fault.seconds:
            loop = asyncio.get_running_loop()
            closer = loop.call_later(fault.seconds, self._close_idle, out.transport)
            self._closers[out.transport] = closer

    def _close_idle(self, transport: asyncio.Transport) -> None:
        del self._closers[transport]
        transport.close()


class _Out:
    """Puts one reply on a connection, as bytes."""

    def __init__(self, request: web.BaseRequest, transport: asyncio.Transport) -> None:
        self._writer = request.writer
        self.transport = transport
        self.bytes_sent = 0
        # Any byte that the kernel does not take at once pauses, so that `finish` knows of it.
        transport.set_write_buffer_limits(high=0)

    def send(self, data: bytes) -> None:
        """Write bytes."""
        self.bytes_sent += len(data)
        self.transport.write(data)

    async def finish(self) -> None:
        """Wait until the kernel has taken all bytes."""
        if self.transport.get_write_buffer_size():
            await self._writer.drain()

    def reset(self) -> None:
        """Break the connection with an RST."""
        peer = self.transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        self.transport.abort()


async def _read(request: web.BaseRequest) -> HttpRequest:
    form = None
    if request.headers.get("Content-Type", "").lower().startswith("multipart/form-data"):
        form = await _form(request)
    content = request.content
    return HttpRequest(
        method=request.method,
        path=request.path,
        query=request.query if request.query_string else {},
        key_value=key_value_of(request.headers),
        body=content.read_nowait() if content.is_eof() else await content.read(),
        form=form,
    )


async def _form(request: web.BaseRequest) -> UploadForm | None:
    """Return the form that a body holds; None: it cannot be read."""
    fields: dict[str, str] = {}
    file_name, content = None, b""
    try:
        reader = MultipartReader(request.headers, request.content)
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                return None
            data = bytes(await part.read())
            if part.filename is not None:
                file_name, content = part.filename, data
            elif part.name is not None:
                fields[part.name] = data.decode("utf-8")
    except (ValueError, RuntimeWarning, HttpProcessingError):
        return None  # aiohttp only warns of some, which -W error makes errors
    return UploadForm(fields=fields, file_name=file_name, content=content)


async def _deliver(out: _Out, reply: HttpReply, fault: Fault | None) -> None:
    """Deliver a reply as the fault says; kinds that are none of DELIVERIES are sent whole."""
    kind = fault.kind if fault is not None and fault.kind in DELIVERIES else ""
    if fault is None or not kind:
        out.send(reply_bytes(reply))
        await out.finish()
        return
    seconds = 1.0 if fault.seconds is None else fault.seconds
    if kind == "never":
        await asyncio.get_running_loop().create_future()  # until the client hangs up
    if kind == "slow":
        await asyncio.sleep(seconds)
    if kind == "drip":
        await _drip(out, reply, seconds)
    elif kind not in SILENT:
        out.send(_sent_part(reply, fault))
    if kind in _RESET:
        out.reset()
    elif kind in _CLOSED and not (kind == "close_idle" and fault.seconds):
        out.transport.close()
    else:
        await out.finish()


def _sent_part(reply: HttpReply, fault: Fault) -> bytes:
    if fault.kind in ("close_idle", "slow"):
        return reply_bytes(reply)
    body = reply.body
    part = body[: kept_bytes(reply, fault)]
    if fault.kind == "cut_chunked":
        return head_bytes(reply, length_bytes=None) + (chunk_bytes(part) if part else b"")
    return head_bytes(reply, length_bytes=len(body)) + part


async def _drip(out: _Out, reply: HttpReply, interval_s: float) -> None:
    body = reply.body
    out.send(head_bytes(reply, length_bytes=len(body)))
    for position in range(len(body)):
        out.send(body[position : position + 1])
        await asyncio.sleep(interval_s)
